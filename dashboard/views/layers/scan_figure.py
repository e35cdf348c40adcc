"""What a whole-model scan says in numbers at one alpha: computed here from sparse histograms, shown elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kslottery_core.tickets import compute_adjusted_p_values

if TYPE_CHECKING:
    from kslottery_core.scans import ScanEntry


@dataclass(frozen=True)
class MatrixNumbers:
    """One compared matrix at one alpha. Units are its rows or columns; `least_count` is None when no count wins.
    `least_level` is the least alpha at which a unit wins.

    `median_l2_shift` is None when it was not measured.
    """

    parameter: str
    layer: int | None
    matrix: str
    units: int
    width: int
    changed: int
    winners: int
    least_count: int | None
    least_level: float
    largest_statistic: float
    median_statistic: float
    median_l2_shift: float | None
    seconds: float | None

    def get_measure(self, measure: str) -> float | None:
        """The value of one of `MEASURE_NAMES`; None when it was not measured."""
        return {
            "share": self.winners / self.units,
            "largest": self.largest_statistic,
            "median": self.median_statistic,
            "shift": self.median_l2_shift,
        }[measure]


@dataclass(frozen=True)
class ScanNumbers:
    """What a scan found, in four numbers."""

    compared: int
    changed: int
    units: int
    winners: int


def summarise_entry(
    entry: ScanEntry, significance_level: float, correction: str = "none", p_value_method: str = "exact"
) -> MatrixNumbers:
    """One matrix judged at alpha; a correction is for the tests of this matrix alone. Raises TicketError."""
    histogram = entry.histogram
    adjusted = compute_adjusted_p_values(histogram, correction, p_value_method)
    winning = np.flatnonzero(adjusted <= significance_level)
    return MatrixNumbers(
        parameter=entry.parameter,
        layer=entry.layer,
        matrix=entry.matrix,
        units=entry.units,
        width=entry.width,
        changed=entry.changed,
        winners=int(histogram[winning].sum()),
        least_count=int(winning[0]) if winning.size else None,
        least_level=float(adjusted[entry.largest_count]),
        largest_statistic=entry.largest_statistic,
        median_statistic=entry.median_statistic,
        median_l2_shift=entry.median_l2_shift,
        seconds=entry.seconds,
    )


def summarise_scan(matrices: Sequence[MatrixNumbers]) -> ScanNumbers:
    """Add up all compared matrices."""
    return ScanNumbers(
        compared=len(matrices),
        changed=sum(numbers.changed > 0 for numbers in matrices),
        units=sum(numbers.units for numbers in matrices),
        winners=sum(numbers.winners for numbers in matrices),
    )


def find_least_winning_level(matrices: Sequence[MatrixNumbers]) -> float | None:
    """The least alpha at which any unit of any matrix wins; None when nothing moved."""
    return min((numbers.least_level for numbers in matrices if numbers.largest_statistic > 0), default=None)
