"""How far and in which direction each row moved: what the KS statistic, blind to pairing, does not say."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class ShiftArrays:
    """Shifts of V rows, each float64 (V,); see `KSResult` for their meaning. Starts as "nothing moved"."""

    l2_shift: np.ndarray
    cosine: np.ndarray
    mean_shift: np.ndarray
    spread_ratio: np.ndarray

    @classmethod
    def create(cls, vocabulary_size: int) -> "ShiftArrays":
        return cls(
            l2_shift=np.zeros(vocabulary_size),
            cosine=np.ones(vocabulary_size),
            mean_shift=np.zeros(vocabulary_size),
            spread_ratio=np.ones(vocabulary_size),
        )

    def write(self, rows: np.ndarray, before: np.ndarray, after: np.ndarray) -> None:
        """Fill in the given row numbers (R,) from float32 or float64 values (R, d)."""
        width = before.shape[1]
        before, after = before.astype(np.float64, copy=False), after.astype(np.float64, copy=False)
        shift = after - before
        self.l2_shift[rows] = np.sqrt(np.einsum("ij,ij->i", shift, shift))
        mean_before, mean_after = before.mean(axis=1), after.mean(axis=1)
        self.mean_shift[rows] = shift.mean(axis=1)
        square_before = np.einsum("ij,ij->i", before, before)
        square_after = np.einsum("ij,ij->i", after, after)
        with np.errstate(divide="ignore", invalid="ignore"):
            cosine = np.einsum("ij,ij->i", before, after) / np.sqrt(square_before * square_after)
            variance_before = square_before / width - mean_before**2
            variance_after = square_after / width - mean_after**2
            # A constant row's variance is zero up to rounding; a ratio of rounding errors would be a made-up number.
            ratio = np.sqrt(np.maximum(variance_after, 0) / variance_before)
        self.cosine[rows] = np.where((square_before > 0) & (square_after > 0), np.clip(cosine, -1, 1), np.nan)
        is_constant = variance_before <= 1e-12 * np.maximum(mean_before**2, np.finfo(np.float64).tiny)
        self.spread_ratio[rows] = np.where(is_constant, np.nan, ratio)
