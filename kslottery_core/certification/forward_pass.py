"""Forward passes over a batch: one of the embedding-tuned model, and one for every set of rows left behind.

Both models are one network here. The partial model is made by replacing the rows of the tokens that were left behind by
BEFORE's, for the duration of a pass; a batch therefore has the same shape and neighbours on both sides, and where
nothing of it was left behind the results are equal to the last bit.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kslottery_core.certification.sequences import InputSequence
from kslottery_core.errors import CertificationError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from kslottery_core.ks import KSResult

LOGIT_BYTES = 256 * 2**20
"""A batch is made no larger than this many bytes of float32 logits, (B, T, V); a single sequence may need more."""

TOP = 3
"""How many of a model's most probable tokens are kept for each prediction."""

ROUNDING_STEPS = 4096
"""A margin counts as positive above this many rounding steps (machine epsilon) of the largest logit, because another
batch size, machine or number of threads rounds differently. On the bundled demo float32 and float64 differ by less
than a hundredth of it; it is chosen, not derived."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Sequences that go through the model together; P predictions in all, sequence after sequence.

    `rows` and `columns` (P,) say where in the (B, T - 1, V) logits each prediction is; `offsets` (B + 1,) where
    the predictions of each sequence begin among the P.
    """

    sequences: tuple[InputSequence, ...]
    rows: np.ndarray
    columns: np.ndarray
    offsets: np.ndarray


@dataclass(frozen=True, eq=False)
class Predictions:
    """The most probable tokens at P positions: ids and probabilities (P, `TOP`), largest first, and the logits
    (P, V) they come from. Of equal logits the smaller id comes first. NaN where logits are not numbers."""

    top_ids: np.ndarray
    top_probabilities: np.ndarray
    logits: "torch.Tensor"


def make_batches(sequences: Sequence[InputSequence], batch_size: int, vocabulary_size: int) -> list[Batch]:
    """Sequences of similar length together, at most `batch_size` and `LOGIT_BYTES` of logits at once."""
    batches: list[list[InputSequence]] = []
    for sequence in sorted(sequences, key=lambda one: len(one.token_ids)):
        logit_bytes = len(sequence.token_ids) * vocabulary_size * 4
        if not batches or len(batches[-1]) >= batch_size or (len(batches[-1]) + 1) * logit_bytes > LOGIT_BYTES:
            batches.append([])
        batches[-1].append(sequence)
    return [_build_batch(batch) for batch in batches]


def _build_batch(sequences: list[InputSequence]) -> Batch:
    lengths = [len(sequence.token_ids) - sequence.start for sequence in sequences]
    columns = [np.arange(sequence.start - 1, len(sequence.token_ids) - 1) for sequence in sequences]
    return Batch(
        tuple(sequences),
        np.repeat(np.arange(len(sequences)), lengths),
        np.concatenate(columns),
        np.cumsum([0, *lengths]),
    )


def check_causal(model: Any, ids: "torch.Tensor") -> None:
    """Raise CertificationError for a model whose predictions on `ids` (T,) change when later tokens are cut off."""
    import torch

    ids = ids.to(model.get_input_embeddings().weight.device)[None]
    half = (ids.shape[1] + 1) // 2
    with torch.inference_mode():
        whole, part = (
            model(input_ids=some, attention_mask=torch.ones_like(some), use_cache=False).logits[0, :half]
            for some in (ids, ids[:, :half])
        )
    difference = torch.where(whole == part, 0.0, (whole - part).abs())
    if bool((difference.amax(dim=-1) > get_rounding_allowance(part)).any()):
        raise CertificationError(
            f"model: expected a causal language model, which reads only earlier tokens, found that the predictions of "
            f"{type(model).__name__} change when later tokens are cut off; choose a causal language model."
        )


def get_rounding_allowance(logits: "torch.Tensor") -> "torch.Tensor":
    """What a margin of these logits (T, V) must exceed, (T,). Masked tokens, at -inf, have no rounding."""
    import torch

    largest = torch.where(logits.isfinite(), logits, 0.0).abs().amax(dim=-1)
    return ROUNDING_STEPS * torch.finfo(logits.dtype).eps * largest


def pad_batch(batch: Batch, device: Any) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Ids that the model reads and their mask, both int64 (B, T - 1).

    A sequence's last token is predicted and never read. Padding is on the right, where causal attention does not
    see it.
    """
    import torch

    longest = max(len(sequence.token_ids) for sequence in batch.sequences) - 1
    read = [sequence.token_ids[:-1] for sequence in batch.sequences]
    padded = torch.tensor([[*ids, *[ids[-1]] * (longest - len(ids))] for ids in read], device=device)
    lengths = torch.tensor([[len(ids)] for ids in read], device=device)
    return padded, (torch.arange(longest, device=device)[None, :] < lengths).long()


def predict(model: "PreTrainedModel", batch: Batch) -> Predictions:
    """One teacher-forced forward pass: the model's predictions at every predicted position of the batch."""
    import torch

    padded, mask = pad_batch(batch, model.device)
    with torch.inference_mode():
        logits = model(input_ids=padded, attention_mask=mask, use_cache=False).logits  # (B, T - 1, V)
        rows, columns = (torch.from_numpy(at).to(logits.device) for at in (batch.rows, batch.columns))
        chosen = logits[rows, columns].float()  # (P, V)
        return _rank(chosen)


def _rank(logits: "torch.Tensor") -> Predictions:
    import torch

    normaliser = logits.logsumexp(dim=1, keepdim=True)
    remaining, ids, values = logits.clone(), [], []
    # argmax takes the first of equal logits, which topk does not promise; a NaN would win, and its row is NaN anyway.
    for _ in range(min(TOP, logits.shape[1])):
        best = remaining.argmax(dim=1, keepdim=True)
        ids.append(best)
        values.append(logits.gather(1, best))
        remaining.scatter_(1, best, -torch.inf)
    exponents = torch.cat(values, dim=1).double() - normaliser.double()
    return Predictions(torch.cat(ids, dim=1).cpu().numpy(), exponents.exp().cpu().numpy(), logits)


@contextlib.contextmanager
def replace_rows(model: Any, token_ids: np.ndarray, before_rows: "torch.Tensor") -> Iterator[None]:
    """Inside the block the model's input embedding has `before_rows` (V, d) at `token_ids` (n,)."""
    import torch

    weight = model.get_input_embeddings().weight
    at = torch.from_numpy(token_ids)
    kept = weight.data[at.to(weight.device)].clone()
    weight.data[at.to(weight.device)] = before_rows[at].to(weight.device, weight.dtype)
    try:
        yield
    finally:
        weight.data[at.to(weight.device)] = kept


def compute_largest_difference(one: Predictions, other: Predictions, at: np.ndarray) -> float | None:
    """The largest absolute difference of a logit at the positions `at`, bool (P,); None when there are none."""
    import torch

    if not at.any():
        return None
    chosen = torch.from_numpy(np.flatnonzero(at)).to(one.logits.device)
    first, second = one.logits[chosen], other.logits[chosen]
    # Two logits of -inf, as masked tokens have, are equal; their difference is not a number.
    return float(torch.where(first == second, 0.0, (first - second).abs()).max())


@dataclass(frozen=True, eq=False)
class PairedPredictions:
    """Both models at P predictions of a batch. `reference` and `partial` are top ids and probabilities (P, TOP)."""

    left_behind: np.ndarray
    counts: np.ndarray
    reference: tuple[np.ndarray, np.ndarray]
    partial: tuple[np.ndarray, np.ndarray]
    largest_exact_difference: float | None


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
        self._known: dict[bytes, PairedPredictions] = {}

    def compare(self, left: np.ndarray) -> PairedPredictions:
        """Both models at every prediction of the batch."""
        left_ids = self._occurring[left[self._occurring]]
        key = left_ids.tobytes()
        if key not in self._known:
            self._known[key] = self._pass(left_ids, left)
        return self._known[key]

    def _pass(self, left_ids: np.ndarray, left: np.ndarray) -> PairedPredictions:
        with replace_rows(self._model, left_ids, self._before_rows):
            partial = predict(self._model, self.batch)
        new = self._first & left[self._token_ids]
        left_behind = self._sum_inputs(new.astype(np.int64))
        counts = self._sum_inputs(np.where(new, self._result.counts[self._token_ids].astype(np.int64), 0))
        defined = ~np.isnan(self._reference.top_probabilities[:, 0])
        difference = compute_largest_difference(self._reference, partial, (left_behind == 0) & defined)
        return PairedPredictions(
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


def _find_first_occurrences(token_ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """Whether each of (T,) token ids occurs for the first time, bool (T,)."""
    first = np.zeros(len(token_ids), dtype=bool)
    first[np.unique(token_ids, return_index=True)[1]] = True
    return first
