"""Predictions that no larger ticket can change: shown by running every one of them, under no assumption.

Let N(x) be the tokens of an input x whose rows changed and that a ticket T leaves behind. A ticket that contains T
leaves a subset of N(x) behind, and on x its partial model is settled by that subset: the 2^|N(x)| subsets stand for all
of them, however large the vocabulary is. Where N(x) is small, all of them are run. The result is neither an
estimate nor a bound that could be loose: one of these models attains the least margin. The price: a prediction whose
input leaves more than `limit` tokens behind is not tried, and not certified.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kslottery_core.certification.forward_pass import (
    Batch,
    PairedPredictions,
    check_causal,
    get_rounding_allowance,
    pad_batch,
)
from kslottery_core.certification.task import MOST_LEFT_BEHIND
from kslottery_core.errors import CertificationError
from kslottery_core.progress import ShouldStop, never_stop

if TYPE_CHECKING:
    import torch

LIMIT = 6
"""Up to this many left-behind tokens are tried in every combination by default: 64 passes."""

LOGIT_BYTES = 64 * 2**20
"""Combinations run together as long as their logits, (combinations, T, V), take no more bytes than this."""


@dataclass(frozen=True, eq=False)
class LargerTicketCheck:
    """One entry for every position (B, T): the prediction of the token after it, from the tokens up to it.

    certified          bool     the reference's top token stays on top for this ticket and for every one containing it
    left_behind        int64    |N(x)|: distinct tokens up to here whose rows changed and that the ticket leaves behind
    reference_margins  float64  logit of the reference's top token minus the largest other one; NaN where not run
    least_margins      float64  the least value of that difference over all these models; NaN where not run
    worst_choices      int64    the combination that attains it (`list_worst_tokens` names its tokens); -1 where not run
    tokens             per sequence, the ids of N(x) in the order of their first occurrence
    passes             how many sequences went through the model
    """

    certified: np.ndarray
    left_behind: np.ndarray
    reference_margins: np.ndarray
    least_margins: np.ndarray
    worst_choices: np.ndarray
    tokens: tuple[tuple[int, ...], ...]
    passes: int

    def list_worst_tokens(self, sequence: int, position: int) -> tuple[int, ...] | None:
        """Which tokens keep BEFORE's rows in the model of the least margin; None where no model was run."""
        choice = int(self.worst_choices[sequence, position])
        if choice < 0:
            return None
        seen = self.tokens[sequence][: int(self.left_behind[sequence, position])]
        return tuple(token_id for number, token_id in enumerate(seen) if choice >> number & 1)


def certify_larger_tickets(
    model: Any,
    before_rows: "torch.Tensor",
    ticket_ids: Sequence[int],
    input_ids: "torch.Tensor",
    attention_mask: "torch.Tensor | None" = None,
    *,
    wanted: np.ndarray | None = None,
    limit: int = LIMIT,
    should_stop: ShouldStop = never_stop,
) -> LargerTicketCheck | None:
    """Run the partial models of every ticket that contains `ticket_ids`; None when stopped.

    `model` is the reference: a causal language model in evaluation mode, float32 or float64, on any device, with
    AFTER's rows. `before_rows` (V, d) are BEFORE's, which has no other difference (not checked here). `input_ids`
    (B, T) and `attention_mask` (B, T) are padded on the right. `wanted`, bool (B, T), says which predictions matter:
    tokens after the last one are not run. At most 2^`limit` passes per sequence. The model is left as it was.

    A position without left-behind tokens is certified directly: both models compute the same thing. Elsewhere the
    least margin must exceed `ROUNDING_STEPS` rounding steps. NaN certifies nothing. Raises CertificationError.
    """
    import torch

    lengths = _check(model, before_rows, ticket_ids, input_ids, attention_mask, wanted, limit)
    weight = model.get_input_embeddings().weight
    in_ticket = torch.zeros(len(weight), dtype=torch.bool)
    in_ticket[torch.as_tensor(list(ticket_ids), dtype=torch.int64)] = True
    shape = tuple(input_ids.shape)
    certified, left_behind = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=np.int64)
    reference, least = np.full(shape, np.nan), np.full(shape, np.nan)
    worst, tokens, passes = np.full(shape, -1, dtype=np.int64), [], 0
    with torch.inference_mode():
        check_causal(model, input_ids[int(np.argmax(lengths)), : int(lengths.max())])
        for number, length in enumerate(lengths):
            ids = input_ids[number, :length].cpu()
            slots, found = _find_left_behind(ids, weight, before_rows, in_ticket)
            left_behind[number, :length] = np.maximum.accumulate(slots) + 1
            tokens.append(found)
            within = left_behind[number, :length] <= limit
            if wanted is not None:
                within &= wanted[number, :length]
            if not within.any():
                continue
            end = int(np.flatnonzero(within)[-1]) + 1
            swept = _sweep(model, before_rows, ids[:end], slots[:end], should_stop)
            if swept is None:
                return None
            reference[number, :end], least[number, :end], worst[number, :end], allowance = swept
            passes += 1 << int(left_behind[number, end - 1])
            exact = (left_behind[number, :end] == 0) & ~np.isnan(reference[number, :end])
            certified[number, :end] = exact | (least[number, :end] > allowance)
    return LargerTicketCheck(certified, left_behind, reference, least, worst, tuple(tokens), passes)


def _find_left_behind(
    ids: "torch.Tensor", weight: "torch.Tensor", before_rows: "torch.Tensor", in_ticket: "torch.Tensor"
) -> tuple[np.ndarray, tuple[int, ...]]:
    """For each of (T,) tokens its number among the left-behind ones, -1 for the others; and their ids in that order."""
    occurring = ids.unique()
    after = weight.detach()[occurring.to(weight.device)]
    before = before_rows[occurring.to(before_rows.device)].to(after.device, after.dtype)
    left = set(occurring[(before != after).any(dim=1).cpu() & ~in_ticket[occurring]].tolist())
    numbers: dict[int, int] = {}
    slots = [numbers.setdefault(token_id, len(numbers)) if token_id in left else -1 for token_id in ids.tolist()]
    return np.array(slots, dtype=np.int64), tuple(numbers)


def _sweep(
    model: Any, before_rows: "torch.Tensor", ids: "torch.Tensor", slots: np.ndarray, should_stop: ShouldStop
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """All combinations on one sequence (T,): the reference's margins, the least ones, the combinations that attain
    them, and the allowance for rounding, each (T,). Combination 0 is the reference; bit j gives token j its old row."""
    import torch

    embedding = model.get_input_embeddings()
    device = embedding.weight.device
    ids = ids.to(device)[None]
    before_embeddings = torch.func.functional_call(
        embedding, {"weight": before_rows.to(device, embedding.weight.dtype)}, (ids,)
    )
    numbers = torch.from_numpy(slots).to(device)
    # Only tokens that have been read affect a prediction: combinations with later ones repeat it.
    seen = torch.from_numpy(np.maximum.accumulate(slots) + 1).to(device)
    total = 1 << (int(slots.max()) + 1)
    together = max(1, LOGIT_BYTES // (ids.shape[1] * len(embedding.weight) * embedding.weight.element_size()))
    logits = _run(model, ids, before_embeddings, torch.zeros(1, len(numbers), dtype=torch.bool, device=device))
    top = logits[0].argmax(dim=-1)  # (T,)
    allowance = get_rounding_allowance(logits[0])
    reference = _compute_margins(logits, top)[0]
    least, worst = reference.clone(), torch.zeros_like(numbers)
    for first in range(1, total, together):
        if should_stop():
            return None
        choices = torch.arange(first, min(first + together, total), device=device)
        replaced = ((choices[:, None] >> numbers.clamp(min=0)) & 1).bool() & (numbers >= 0)  # (combinations, T)
        margins = _compute_margins(_run(model, ids.expand(len(choices), -1), before_embeddings, replaced), top)
        margins[(choices[:, None] >> seen) > 0] = torch.inf
        smallest, at = margins.min(dim=0)  # a NaN wins, and then certifies nothing
        better = (smallest < least) | smallest.isnan()
        least, worst = torch.where(better, smallest, least), torch.where(better, choices[at], worst)
    return (
        reference.double().cpu().numpy(),
        least.double().cpu().numpy(),
        worst.cpu().numpy(),
        allowance.double().cpu().numpy(),
    )


def _run(
    model: Any, ids: "torch.Tensor", before_embeddings: "torch.Tensor", replaced: "torch.Tensor"
) -> "torch.Tensor":
    """Logits (combinations, T, V) with `before_embeddings` (1, T, d) at `replaced` (combinations, T)."""
    import torch

    # A hook and not `inputs_embeds`: whatever a model does with ids or around its embedding, it does here too.
    hook = model.get_input_embeddings().register_forward_hook(
        lambda _module, _inputs, output: torch.where(replaced[..., None], before_embeddings, output)
    )
    try:
        return model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    finally:
        hook.remove()


def _compute_margins(logits: "torch.Tensor", top: "torch.Tensor") -> "torch.Tensor":
    """Logit of `top` (T,) minus the largest other logit, (combinations, T)."""
    import torch

    at = top[None, :, None].expand(len(logits), -1, 1)
    chosen = logits.gather(-1, at)[..., 0]
    return chosen - logits.scatter(-1, at, -torch.inf).amax(dim=-1)


def _check(
    model: Any,
    before_rows: Any,
    ticket_ids: Sequence[int],
    input_ids: Any,
    attention_mask: Any,
    wanted: np.ndarray | None,
    limit: int,
) -> np.ndarray:
    """The lengths of the sequences, (B,). Raises CertificationError for what cannot be checked."""
    import torch

    weight = model.get_input_embeddings().weight
    if model.training:
        raise CertificationError("model: expected one in evaluation mode, found training mode; call model.eval().")
    if weight.dtype not in (torch.float32, torch.float64):
        raise CertificationError(
            f"model: expected float32 or float64, found {weight.dtype}, whose rounding is as large as margins are; "
            "load the model in float32."
        )
    if tuple(before_rows.shape) != tuple(weight.shape):
        raise CertificationError(
            f"before: expected rows of shape {tuple(weight.shape)} as in the model, found {tuple(before_rows.shape)}; "
            "certify against the checkpoint that the model was tuned from."
        )
    outside = [token_id for token_id in ticket_ids if not 0 <= token_id < len(weight)]
    if outside:
        raise CertificationError(
            f"ticket: expected token ids from 0 to {len(weight) - 1}, found {outside[0]}; it belongs to another model."
        )
    if input_ids.ndim != 2 or input_ids.shape[0] == 0 or input_ids.shape[1] == 0:
        raise CertificationError(f"input_ids: expected at least one token, (B, T), found {tuple(input_ids.shape)}.")
    if int(input_ids.min()) < 0 or int(input_ids.max()) >= len(weight):
        raise CertificationError(
            f"input_ids: expected ids from 0 to {len(weight) - 1}, found {int(input_ids.min())} to "
            f"{int(input_ids.max())}; use the tokenizer of this model."
        )
    if not 0 <= limit <= MOST_LEFT_BEHIND:
        raise CertificationError(f"limit: expected 0 to {MOST_LEFT_BEHIND} left-behind tokens, found {limit}.")
    shape = tuple(input_ids.shape)
    for name, mask in (("attention_mask", attention_mask), ("wanted", wanted)):
        if mask is not None and tuple(mask.shape) != shape:
            raise CertificationError(f"{name}: expected the shape of input_ids, {shape}, found {tuple(mask.shape)}.")
    if attention_mask is None:
        return np.full(shape[0], shape[1])
    mask = attention_mask.cpu().numpy().astype(bool)
    lengths = mask.sum(axis=1)
    if not np.array_equal(mask, np.arange(shape[1])[None, :] < lengths[:, None]) or (lengths == 0).any():
        raise CertificationError(
            "attention_mask: expected sequences of at least one token with their padding on the right, found padding "
            "elsewhere; pad on the right."
        )
    return lengths


@dataclass(frozen=True, eq=False)
class LargerTicketOutcome:
    """One entry for each of P predictions.

    kept           bool     every larger ticket was run, for this ticket or a smaller one, and keeps the prediction
    lost           bool     all of them were run, and at least one changes it
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

    def select(self, at: slice) -> "LargerTicketOutcome":
        """The entries `at`, without `passes`."""
        return LargerTicketOutcome(
            self.kept[at],
            self.lost[at],
            self.not_tried[at],
            self.margins[at],
            self.least_margins[at],
            self.kept_before[at],
        )


class BatchLargerTickets:
    """Every larger ticket on one batch with P predictions. Call `run` with the smaller tickets first.

    `before_rows` (V, d) should be on the model's device. At most `limit` left-behind tokens are tried.
    """

    def __init__(self, model: Any, batch: Batch, before_rows: "torch.Tensor", limit: int) -> None:
        self._model, self._batch, self._before_rows, self._limit = model, batch, before_rows, limit
        self._input_ids, self._mask = pad_batch(batch, model.device)
        self._occurring = np.unique(self._input_ids.cpu().numpy())
        self._known: dict[bytes, tuple[np.ndarray, LargerTicketOutcome]] = {}

    def run(self, left: np.ndarray, compared: PairedPredictions, should_stop: ShouldStop) -> LargerTicketOutcome | None:
        """Try the ticket that leaves `left`, bool (V,), behind; `compared` is its comparison. None when stopped.
        Raises CertificationError for a model that is not causal."""
        left_ids = self._occurring[left[self._occurring]]
        key = left_ids.tobytes()
        if key in self._known:
            return self._known[key][1].select(slice(None))  # it has cost its passes before
        settled = np.zeros(len(self._batch.rows), dtype=bool)
        for smaller_left_ids, outcome in self._known.values():
            if np.isin(left_ids, smaller_left_ids).all():
                settled |= outcome.kept
        found = self._run_unsettled(left, compared, settled, should_stop)
        if found is not None:
            self._known[key] = (left_ids, found)
        return found

    def _run_unsettled(
        self, left: np.ndarray, compared: PairedPredictions, settled: np.ndarray, should_stop: ShouldStop
    ) -> LargerTicketOutcome | None:
        defined = ~np.isnan(compared.reference[1][:, 0])
        within = defined & (compared.left_behind > 0) & (compared.left_behind <= self._limit)
        wanted = within & ~settled
        not_tried = defined & (compared.left_behind > self._limit)
        nan = np.full(len(wanted), np.nan)
        if not wanted.any():
            nothing = np.zeros(len(wanted), dtype=bool)
            return LargerTicketOutcome(within, nothing, not_tried, nan, nan, ((),) * len(wanted))
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
        return LargerTicketOutcome(
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
