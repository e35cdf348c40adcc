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
        self.write_sums(rows, before.shape[1], compute_sums(before, after))

    def write_sums(self, rows: np.ndarray, width: int, sums: np.ndarray) -> None:
        """Fill in the given row numbers (R,) of width d from their sums (R, 7), laid out as `compute_sums` does."""
        square_before, square_after, product, sum_shift, square_shift, spread_before, spread_after = sums.T
        self.l2_shift[rows] = np.sqrt(square_shift)
        self.mean_shift[rows] = sum_shift / width
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            cosine = product / (np.sqrt(square_before) * np.sqrt(square_after))
            ratio = np.sqrt(spread_after / spread_before)
        self.cosine[rows] = np.where((square_before > 0) & (square_after > 0), np.clip(cosine, -1, 1), np.nan)
        # A constant row's spread is zero up to the rounding of its mean; a ratio of such would be a made-up number.
        is_constant = spread_before <= 1e-24 * square_before
        self.spread_ratio[rows] = np.where(is_constant, np.nan, ratio)


def compute_sums(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Sums over each row pair (R, d), float64 (R, 7).

    In this order: b^2, a^2, a*b, a - b, (a - b)^2, (b - mean of b)^2, (a - mean of a)^2.
    """
    before, after = before.astype(np.float64, copy=False), after.astype(np.float64, copy=False)
    shift = after - before
    factors = (
        (before, before),
        (after, after),
        (before, after),
        (shift, np.ones_like(shift)),
        (shift, shift),
        *((centred, centred) for centred in (x - x.mean(axis=1, keepdims=True) for x in (before, after))),
    )
    return np.stack([np.einsum("ij,ij->i", x, y) for x, y in factors], axis=1)
