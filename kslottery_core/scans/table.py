"""A scan as a table: one line a matrix. The command line and the dashboard show this one."""

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
    "winners",
    "winners share",
    "wins from D",
    "largest D",
    "median D",
    "median L2 shift",
    "note",
)
WHOLE_NUMBERS = ("layer", "units", "width", "changed", "winners")


def scan_to_table(
    scan: Scan, significance_level: float, correction: str = "none", method: str = "exact"
) -> "pandas.DataFrame":
    """One row a matrix with the columns `COLUMNS`: compared ones in the order of the files, then the skipped ones.

    Winners are the units that reject at alpha, from the least D that does ("wins from D", missing where none can).
    `layer` is missing where a name holds no number, every number of a skipped matrix is; its note says why. Raises as
    `ScanEntry.count_winners` does.
    """
    import pandas

    rows: list[dict[str, object]] = []
    for entry in scan.entries:
        least = entry.find_least_winning_count(significance_level, correction, method)
        winners = 0 if least is None else entry.count_units(least)
        rows.append(
            {
                "parameter": entry.parameter,
                "layer": entry.layer,
                "matrix": entry.matrix,
                "unit": entry.unit,
                "units": entry.units,
                "width": entry.width,
                "changed": entry.changed,
                "winners": winners,
                "winners share": winners / entry.units,
                "wins from D": None if least is None else least / entry.width,
                "largest D": entry.largest_statistic,
                "median D": entry.median_statistic,
                "median L2 shift": entry.median_l2_shift,
                "note": " ".join(entry.notes) or ("" if entry.changed else "unchanged"),
            }
        )
    for skipped in scan.skipped:
        rows.append(
            {
                "parameter": skipped.parameter,
                "layer": skipped.layer,
                "matrix": skipped.matrix,
                "unit": skipped.unit,
                "note": f"Cannot be compared: {skipped.skipped}",
            }
        )
    table = pandas.DataFrame(rows, columns=list(COLUMNS))
    floats = ("winners share", "wins from D", "largest D", "median D", "median L2 shift")
    return table.astype(dict.fromkeys(WHOLE_NUMBERS, "Int64") | dict.fromkeys(floats, "float64"))
