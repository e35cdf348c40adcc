"""One batch: the embedding-tuned model's predictions held against those of every partial model.

Why one pass for each partial model is enough, also for whole outputs: the reference's greedy output y is generated
once. A greedy decoder's next token is a function of what it has written so far. So if the partial model, fed with the
prompt and y, has y's token as its top token at every step, it writes y by itself, by induction over the steps; and if
it has another top token at some step, its own output leaves y at the first such step. Teacher-forced agreement at
every step is therefore the same as equal greedy outputs. (Up to ties that rounding breaks: a pass over the whole
sequence need not give the same last bits as a generation step by step.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from kslottery_core.certification.certificate import OUTPUT
from kslottery_core.certification.inputs import InputSequence, Use
from kslottery_core.certification.levels import Evidence, decide_levels
from kslottery_core.certification.passes import Batch, Predictions, compute_largest_difference, lay_rows, predict

if TYPE_CHECKING:
    import torch

    from kslottery_core.certification.trying import LargerTrial
    from kslottery_core.ks import KSResult


@dataclass(frozen=True, eq=False)
class Compared:
    """Both models at P predictions of a batch. `reference` and `partial` are top ids and probabilities (P, TOP)."""

    left_behind: np.ndarray
    counts: np.ndarray
    reference: tuple[np.ndarray, np.ndarray]
    partial: tuple[np.ndarray, np.ndarray]
    largest_exact_difference: float | None


@dataclass(frozen=True, eq=False)
class ComparedUse:
    """One use of a sequence, with what both models predict at its n positions.

    `wanted` (n,) are the sequence's own tokens; `levels` says which predictions each level certifies, bool (n,);
    `agreed` (n,) whether both models have the same top token; `undefined` (n,) where the reference has none.
    `larger` is what every larger ticket gave; None where they were not asked for.
    """

    use: Use
    sequence: InputSequence
    wanted: np.ndarray
    left_behind: np.ndarray
    counts: np.ndarray
    reference: tuple[np.ndarray, np.ndarray]
    partial: tuple[np.ndarray, np.ndarray]
    levels: dict[str, np.ndarray]
    larger: "LargerTrial | None" = None

    @cached_property
    def undefined(self) -> np.ndarray:
        return np.isnan(self.reference[1][:, 0])

    @cached_property
    def agreed(self) -> np.ndarray:
        return (self.reference[0][:, 0] == self.partial[0][:, 0]) & ~self.undefined & ~np.isnan(self.partial[1][:, 0])

    @property
    def reference_correct(self) -> np.ndarray:
        """Whether the reference's top token is the sequence's own, bool (n,)."""
        return (self.reference[0][:, 0] == self.wanted) & ~self.undefined

    @property
    def partial_correct(self) -> np.ndarray:
        """The same of the partial model, bool (n,)."""
        return (self.partial[0][:, 0] == self.wanted) & ~np.isnan(self.partial[1][:, 0])


class BatchComparison:
    """The reference's predictions on one batch, and the partial model's for any set of tokens left behind.

    `left` below are bool (V,): tokens outside the ticket whose rows changed. Tickets that leave the same tokens of the
    batch behind share one pass.
    """

    def __init__(self, model: Any, batch: Batch, before_rows: "torch.Tensor", result: "KSResult") -> None:
        self._model, self._before_rows, self._result = model, before_rows, result
        self.batch = batch
        read = [np.array(sequence.token_ids[:-1]) for sequence in batch.sequences]
        self._token_ids = np.concatenate(read)
        self._first = np.concatenate([_find_first_occurrences(ids) for ids in read])
        begins = np.cumsum([0, *map(len, read)])[:-1]
        self._begins = begins[batch.rows]  # (P,)
        self._ends = self._begins + batch.columns  # (P,) the last token that a prediction reads
        self._occurring = np.unique(self._token_ids)
        self._reference: Predictions = predict(model, batch)
        self._known: dict[bytes, Compared] = {}

    def compare(self, left: np.ndarray) -> Compared:
        """Both models at every prediction of the batch."""
        left_ids = self._occurring[left[self._occurring]]
        key = left_ids.tobytes()
        if key not in self._known:
            self._known[key] = self._pass(left_ids, left)
        return self._known[key]

    def _pass(self, left_ids: np.ndarray, left: np.ndarray) -> Compared:
        with lay_rows(self._model, left_ids, self._before_rows):
            partial = predict(self._model, self.batch)
        new = self._first & left[self._token_ids]
        left_behind = self._sum_inputs(new.astype(np.int64))
        counts = self._sum_inputs(np.where(new, self._result.counts[self._token_ids].astype(np.int64), 0))
        defined = ~np.isnan(self._reference.top_probabilities[:, 0])
        difference = compute_largest_difference(self._reference, partial, (left_behind == 0) & defined)
        return Compared(
            left_behind,
            counts,
            (self._reference.top_ids, self._reference.top_probabilities),
            (partial.top_ids, partial.top_probabilities),
            difference,
        )

    def _sum_inputs(self, values: np.ndarray) -> np.ndarray:
        """Sum of `values` over what each prediction reads, (P,)."""
        running = np.concatenate([[0], np.cumsum(values)])
        return running[self._ends + 1] - running[self._begins]

    def list_uses(self, compared: Compared, larger: "LargerTrial | None" = None) -> list[ComparedUse]:
        """The comparison cut up into the uses of each sequence, with the levels decided."""
        uses = []
        for number, sequence in enumerate(self.batch.sequences):
            end = int(self.batch.offsets[number + 1])
            for use in sequence.uses:
                at = slice(int(self.batch.offsets[number]) + use.start - sequence.start, end)
                cut = None if larger is None else larger.cut(at)
                uses.append(_cut_use(use, sequence, compared, at, self._result.width, cut))
        return uses


def _cut_use(
    use: Use, sequence: InputSequence, compared: Compared, at: slice, width: int, larger: "LargerTrial | None"
) -> ComparedUse:
    reference = (compared.reference[0][at], compared.reference[1][at])
    wanted = np.array(sequence.token_ids[use.start :])
    margins = reference[1][:, 0] - reference[1][:, 1]
    kept = None if larger is None else larger.kept
    if use.text == OUTPUT:
        # Rounding may break a near tie otherwise here than it did in the generation. What was written is then not what
        # this pass predicts, and no margin speaks for it, nor does any larger ticket.
        repeated = reference[0][:, 0] == wanted
        margins = np.where(repeated, margins, -np.abs(margins))
        kept = None if kept is None else kept & repeated
    left_behind, counts = compared.left_behind[at], compared.counts[at]
    return ComparedUse(
        use,
        sequence,
        wanted,
        left_behind,
        counts,
        reference,
        (compared.partial[0][at], compared.partial[1][at]),
        decide_levels(Evidence(margins, left_behind, counts, width, kept)),
        larger,
    )


def _find_first_occurrences(token_ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """Whether each of (T,) token ids stands there for the first time, bool (T,)."""
    first = np.zeros(len(token_ids), dtype=bool)
    first[np.unique(token_ids, return_index=True)[1]] = True
    return first
