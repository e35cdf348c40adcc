"""The two empirical distribution functions of one token, as exact steps, and where their gap is largest."""

from dataclasses import dataclass

import numpy as np

from kslottery_core.errors import KSInputError


@dataclass(frozen=True, eq=False)
class CDFGap:
    """Exact steps of both CDFs on the n distinct values of either row, and the largest gap.

    values       float64 (n,)  distinct coordinate values, ascending
    before       float64 (n,)  share of before coordinates <= value
    after        float64 (n,)  share of after coordinates <= value
    gap_value    the first value at which |after - before| is largest
    count        k = d * D, equal to `KSResult.counts` of the token
    """

    values: np.ndarray
    before: np.ndarray
    after: np.ndarray
    gap_value: float
    gap_before: float
    gap_after: float
    count: int
    width: int

    @property
    def statistic(self) -> float:
        """D = k/d."""
        return self.count / self.width


def compute_cdf_gap(before_row: np.ndarray, after_row: np.ndarray) -> CDFGap:
    """Compare two rows of width d, (d,) arrays or anything NumPy reads as numbers. Raises KSInputError."""
    before = np.sort(np.asarray(before_row, dtype=np.float64).ravel())
    after = np.sort(np.asarray(after_row, dtype=np.float64).ravel())
    if before.size == 0 or before.size != after.size:
        raise KSInputError(
            f"rows: expected two of the same width above 0, found widths {before.size} and {after.size}."
        )
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        raise KSInputError("rows: expected finite numbers, found NaN or infinite entries.")
    values = np.unique(np.concatenate((before, after)))
    below_before = np.searchsorted(before, values, side="right")
    below_after = np.searchsorted(after, values, side="right")
    gaps = np.abs(below_after - below_before)
    largest = int(gaps.argmax())
    width = before.size
    return CDFGap(
        values=values,
        before=below_before / width,
        after=below_after / width,
        gap_value=float(values[largest]),
        gap_before=float(below_before[largest] / width),
        gap_after=float(below_after[largest] / width),
        count=int(gaps[largest]),
        width=width,
    )
