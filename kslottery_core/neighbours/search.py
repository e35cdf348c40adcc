"""The nearest rows by cosine, for several tokens in one pass over a matrix that may be larger than memory.

The pass is made in float32 and only narrows the rows down, with the rounding error of a dot product allowed for
(Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1: |error| <= n u / (1 - n u) * |x| |y|).
What is left is ranked by cosines in float64, so the ids are those that float64 throughout would give.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from kslottery_core.errors import KSInputError
from kslottery_core.progress import OnProgress, ProgressEvent, ignore_progress

if TYPE_CHECKING:
    import torch

READ_BYTES = 16 << 20
"""How much of the matrix is read at a time, counted as float32; with scores and copies it stays under 100 MB."""

_INNER_BYTES = 2 << 20  # of float32 rows multiplied at once: about what a processor core's cache holds
_SMALL_GAP = 4  # rows between two that are wanted: cheaper to read than another opening of the file
_UNIT_ROUNDOFF = 2.0**-24  # of float32
_SAFE_SQUARES = (1e-30, 1e30)  # squared norms between which float32 has neither lost digits nor overflowed


class RowSource(Protocol):
    """Anything that hands out rows of a (V, d) matrix; `EmbeddingMatrix` of the checkpoints room is one."""

    @property
    def shape(self) -> tuple[int, int]: ...

    def read_rows(self, start: int, stop: int) -> "torch.Tensor": ...


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The rows nearest to that of `token_id`: ids (n,) int64 and cosines (n,) float64, largest cosine first.

    Equal cosines are ordered by the smaller id. Both are empty where the token's own row is zero: it has no direction.
    """

    token_id: int
    token_ids: np.ndarray
    cosines: np.ndarray


def compute_neighbours(
    matrix: RowSource, token_ids: Sequence[int], count: int = 10, progress: OnProgress = ignore_progress
) -> tuple[Neighbours, ...]:
    """For each token the `count` other rows of largest cosine with its row; fewer where there are fewer.

    `matrix` (V, d) of float16, bfloat16, float32 or float64 is read once for all tokens, in blocks of READ_BYTES;
    beside a block, Q * V float32 scores of the Q tokens are held. Rows of zeros, and rows with NaN or infinite entries,
    have no cosine and are nobody's neighbours. `progress` hears of rows read; what it raises ends the work.
    Raises KSInputError for an id outside 0 .. V - 1 or a `count` below 1, and what reading raises.
    """
    rows, width = matrix.shape
    if count < 1:
        raise KSInputError(f"neighbours: expected a number of at least 1, found {count}.")
    for token_id in token_ids:
        if not 0 <= token_id < rows:
            raise KSInputError(f"neighbours: expected token ids from 0 to {rows - 1}, found {token_id}.")
    if not token_ids:
        return ()
    directions = np.stack([_normalise(_read(matrix, token_id, token_id + 1))[0] for token_id in token_ids])  # (Q, d)
    scores = _score(matrix, directions.astype(np.float32), progress)
    found = []
    for token_id, direction, row in zip(token_ids, directions, scores, strict=True):
        row[token_id] = -np.inf
        candidates = _narrow(row, count, width)
        found.append(_rank(matrix, int(token_id), direction, candidates, count))
    return tuple(found)


def compute_cosines(matrix: RowSource, token_id: int, others: Sequence[int]) -> np.ndarray:
    """The cosines (n,) float64 of a token's row with the rows of `others` (n), NaN where either has no direction."""
    direction = _normalise(_read(matrix, token_id, token_id + 1))[0]
    rows = [_normalise(_read(matrix, other, other + 1))[0] for other in others]
    return np.clip(np.einsum("ij,j->i", np.array(rows).reshape(-1, len(direction)), direction), -1.0, 1.0)


def _read(matrix: RowSource, start: int, stop: int) -> np.ndarray:
    """Rows start..stop-1 in float64, exactly."""
    return matrix.read_rows(start, stop).double().numpy()


def _group(token_ids: np.ndarray) -> list[np.ndarray]:
    """Ascending ids in runs without large gaps: one reading each, and little is read in vain."""
    return np.split(token_ids, np.flatnonzero(np.diff(token_ids) > _SMALL_GAP) + 1)


def _normalise(rows: np.ndarray) -> np.ndarray:
    """Rows (R, d) float64 of length 1; NaN where a row has no direction."""
    # The largest entry first: squares of very small or large numbers would be lost.
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = rows / np.abs(rows).max(axis=1, keepdims=True)
        return scaled / np.sqrt(np.einsum("ij,ij->i", scaled, scaled))[:, None]


def _score(matrix: RowSource, directions: np.ndarray, progress: OnProgress) -> np.ndarray:
    """Cosines (Q, V) float32 of directions (Q, d) with every row; -inf where a row has no direction."""
    rows, width = matrix.shape
    scores = np.empty((len(directions), rows), dtype=np.float32)
    block, inner = (max(1, size // (4 * width)) for size in (READ_BYTES, _INNER_BYTES))
    for start in range(0, rows, block):
        stop = min(start + block, rows)
        stored = matrix.read_rows(start, stop)
        values = stored.float().numpy()
        for at in range(0, stop - start, inner):
            part = slice(at, min(at + inner, stop - start))
            scores[:, start + part.start : start + part.stop] = _score_block(values[part], stored[part], directions)
        progress(ProgressEvent("neighbours", stop, rows))
    return scores


def _score_block(values: np.ndarray, stored: "torch.Tensor", directions: np.ndarray) -> np.ndarray:
    # Not a matrix product: for so few directions its threads would cost more time than they save.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        squares = np.einsum("ij,ij->i", values, values)
        scores = np.einsum("ij,qj->qi", values, directions) / np.sqrt(squares)
    unsafe = ~((squares > _SAFE_SQUARES[0]) & (squares < _SAFE_SQUARES[1]))
    if unsafe.any():
        exact = _normalise(stored.double().numpy()[unsafe])
        scores[:, unsafe] = np.einsum("ij,qj->qi", exact, directions)
    return np.where(np.isnan(scores), -np.inf, scores)


def _narrow(scores: np.ndarray, count: int, width: int) -> np.ndarray:
    """Ascending ids of every row that may be among the `count` nearest, however the scores (V,) were rounded."""
    defined = np.flatnonzero(scores > -np.inf)
    if len(defined) <= count:
        return defined
    last = np.partition(scores[defined], len(defined) - count)[len(defined) - count]
    # A dot product and a norm each of `width` terms, and roundings of the direction, the root and the quotient.
    slack = 1.05 * (2 * width + 8) * _UNIT_ROUNDOFF
    return np.flatnonzero(scores >= last - 2 * slack)


def _rank(matrix: RowSource, token_id: int, direction: np.ndarray, candidates: np.ndarray, count: int) -> Neighbours:
    ids, cosines = np.empty(0, dtype=np.int64), np.empty(0)
    block = max(1, READ_BYTES // (8 * matrix.shape[1]))
    for start in range(0, len(candidates), block):
        more = candidates[start : start + block].astype(np.int64)
        rows = np.concatenate([_read(matrix, int(run[0]), int(run[-1]) + 1)[run - run[0]] for run in _group(more)])
        # Row by row, so that equal rows have equal cosines wherever they stand: a matrix product does not promise that.
        ids = np.concatenate([ids, more])
        cosines = np.concatenate([cosines, np.einsum("ij,j->i", _normalise(rows), direction)])
        kept = np.lexsort((ids, -cosines))[:count]
        ids, cosines = ids[kept], cosines[kept]
    return Neighbours(token_id, ids, np.clip(cosines, -1.0, 1.0))
