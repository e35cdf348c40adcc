"""A scan as a table: one line a matrix."""

from typing import TYPE_CHECKING

from kslottery_core.scans.record import Scan

if TYPE_CHECKING:
    import pandas

COLUMNS = (
    "parameter",
    "layer",
    "matrix",
    "unit",
    "units",
    "width",
    "changed",
    "largest D",
    "median D",
    "winners",
    "winners share",
)


def scan_to_table(
    scan: Scan, significance_level: float, correction: str = "none", method: str = "exact"
) -> "pandas.DataFrame":
    """One row a compared matrix, in the order of the files, with the columns `COLUMNS`.

    `layer` is missing (NA) where a name holds no number; winners are the units that reject at alpha. Raises as
    `ScanEntry.count_winners` does.
    """
    import pandas

    rows = []
    for entry in scan.entries:
        winners = entry.count_winners(significance_level, correction, method)
        rows.append(
            (
                entry.parameter,
                entry.layer,
                entry.matrix,
                entry.unit,
                entry.units,
                entry.width,
                entry.changed,
                entry.largest_statistic,
                entry.median_statistic,
                winners,
                winners / entry.units,
            )
        )
    table = pandas.DataFrame(rows, columns=list(COLUMNS))
    return table.astype({"layer": "Int64"})
