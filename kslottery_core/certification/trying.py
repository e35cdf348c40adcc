"""Every larger ticket on one batch, ticket after ticket from small to large, so that nothing is run that is known.

What a ticket T certifies in this way holds for every ticket that contains T: the tickets that contain the larger one
contain T too. Only predictions that no smaller ticket has settled are therefore run again, with the fewer combinations
of what the larger ticket leaves behind.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kslottery_core.certification.comparing import Compared
from kslottery_core.certification.larger_tickets import certify_larger_tickets
from kslottery_core.certification.passes import Batch, pad_batch
from kslottery_core.progress import ShouldStop

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class LargerTrial:
    """One entry for each of P predictions.

    kept           bool     every larger ticket was run, for this ticket or a smaller one, and keeps the prediction
    lost           bool     all of them were run, and one does not keep it
    not_tried      bool     more tokens are left behind than the limit
    margins        float64  the reference's margin in logits, and the least one; NaN where nothing was run here
    least_margins  float64
    kept_before    for a lost prediction the tokens that keep BEFORE's rows in the model of the least margin
    passes         how many sequences went through the model for it
    """

    kept: np.ndarray
    lost: np.ndarray
    not_tried: np.ndarray
    margins: np.ndarray
    least_margins: np.ndarray
    kept_before: tuple[tuple[int, ...], ...]
    passes: int = 0

    def cut(self, at: slice) -> "LargerTrial":
        """The entries `at`, without the passes."""
        return LargerTrial(
            self.kept[at],
            self.lost[at],
            self.not_tried[at],
            self.margins[at],
            self.least_margins[at],
            self.kept_before[at],
        )


class BatchTrials:
    """Every larger ticket on one batch; P predictions. Give the smaller tickets first.

    `before_rows` (V, d) best lie on the model's device. At most `limit` left-behind tokens are tried.
    """

    def __init__(self, model: Any, batch: Batch, before_rows: "torch.Tensor", limit: int) -> None:
        self._model, self._batch, self._before_rows, self._limit = model, batch, before_rows, limit
        self._input_ids, self._mask = pad_batch(batch, model.device)
        self._occurring = np.unique(self._input_ids.cpu().numpy())
        self._known: dict[bytes, tuple[np.ndarray, LargerTrial]] = {}

    def run(self, left: np.ndarray, compared: Compared, should_stop: ShouldStop) -> LargerTrial | None:
        """Try the ticket that leaves `left`, bool (V,), behind; `compared` is its comparison. None when stopped.
        Raises CertificationError for a model that is not causal."""
        left_ids = self._occurring[left[self._occurring]]
        key = left_ids.tobytes()
        if key in self._known:
            return self._known[key][1].cut(slice(None))  # it has cost its passes before
        settled = np.zeros(len(self._batch.rows), dtype=bool)
        for smaller_left_ids, trial in self._known.values():
            if np.isin(left_ids, smaller_left_ids).all():
                settled |= trial.kept
        found = self._try(left, compared, settled, should_stop)
        if found is not None:
            self._known[key] = (left_ids, found)
        return found

    def _try(
        self, left: np.ndarray, compared: Compared, settled: np.ndarray, should_stop: ShouldStop
    ) -> LargerTrial | None:
        defined = ~np.isnan(compared.reference[1][:, 0])
        within = defined & (compared.left_behind > 0) & (compared.left_behind <= self._limit)
        wanted = within & ~settled
        not_tried = defined & (compared.left_behind > self._limit)
        nan = np.full(len(wanted), np.nan)
        if not wanted.any():
            nothing = np.zeros(len(wanted), dtype=bool)
            return LargerTrial(within, nothing, not_tried, nan, nan, ((),) * len(wanted))
        rows, columns = self._batch.rows, self._batch.columns
        asked = np.zeros(tuple(self._input_ids.shape), dtype=bool)
        asked[rows[wanted], columns[wanted]] = True
        check = certify_larger_tickets(
            self._model,
            self._before_rows,
            self._occurring[~left[self._occurring]].tolist(),
            self._input_ids,
            self._mask,
            wanted=asked,
            limit=self._limit,
            should_stop=should_stop,
        )
        if check is None:
            return None
        kept = (within & settled) | (wanted & check.certified[rows, columns])
        lost = within & ~kept
        return LargerTrial(
            kept,
            lost,
            not_tried,
            np.where(wanted, check.reference_margins[rows, columns], nan),
            np.where(wanted, check.least_margins[rows, columns], nan),
            tuple(
                (check.list_worst_tokens(row, column) or ()) if is_lost else ()
                for row, column, is_lost in zip(rows.tolist(), columns.tolist(), lost.tolist(), strict=True)
            ),
            check.passes,
        )
