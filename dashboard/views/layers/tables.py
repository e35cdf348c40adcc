"""A scan as rows, for the page, files and the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from kslottery_core.scans import Scan

_SCAN_COLUMNS = {
    "parameter": "Matrix",
    "layer": "Layer",
    "units": "Units",
    "width": "Width",
    "changed": "Changed",
    "winners": "Winners",
    "winners share": "Share",
    "wins from D": "Wins from D",
    "largest D": "Largest D",
    "median D": "Median D",
    "median L2 shift": "Median L2 shift",
    "note": "Note",
}


def build_scan_table(
    scan: Scan, significance_level: float, correction: str = "none", p_value_method: str = "exact"
) -> pd.DataFrame:
    """One row a matrix, compared ones first, under the names of this page; the share in percent.

    What was not compared has empty numbers and says why in its note. Raises TicketError or KSInputError.
    """
    from kslottery_core.scans import scan_to_table

    table = scan_to_table(scan, significance_level, correction, p_value_method)
    table["winners share"] *= 100
    return table[list(_SCAN_COLUMNS)].rename(columns=_SCAN_COLUMNS)
