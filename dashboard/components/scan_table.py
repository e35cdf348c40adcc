"""Every matrix of a scan as a table, those that could not be compared among them with their reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from dashboard.components.csv_file import build_csv
from dashboard.figures.scan import MatrixNumbers

if TYPE_CHECKING:
    from kslottery_core.scans import ScanEntry, SkippedParameter

_MOST_ROWS = 14


def build_scan_table(
    matrices: Sequence[MatrixNumbers], skipped: Sequence[SkippedParameter], entries: Sequence[ScanEntry] = ()
) -> pd.DataFrame:
    """One row a matrix, compared ones first; what was not compared has empty numbers and says why in its note."""
    notes = {entry.parameter: " ".join(entry.notes) for entry in entries}
    rows = [
        {
            "Matrix": numbers.parameter,
            "Layer": numbers.layer,
            "Units": numbers.units,
            "Width": numbers.width,
            "Changed": numbers.changed,
            "Winners": numbers.winners,
            "Share": 100 * numbers.winners / numbers.units,
            "Wins from D": None if numbers.least_count is None else numbers.least_count / numbers.width,
            "Largest D": numbers.largest_statistic,
            "Median D": numbers.median_statistic,
            "Median L2 shift": numbers.median_l2_shift,
            "Note": notes.get(numbers.parameter) or ("" if numbers.changed else "unchanged"),
        }
        for numbers in matrices
    ]
    rows += [
        {"Matrix": record.parameter, "Layer": record.layer, "Note": f"Cannot be compared: {record.skipped}"}
        for record in skipped
    ]
    table = pd.DataFrame(rows, columns=list(_CONFIG))
    return table.astype(dict.fromkeys(("Layer", "Units", "Width", "Changed", "Winners"), "Int64"))


def show_scan_table(table: pd.DataFrame) -> None:
    """The table, sortable by a click on a column's name, and its download."""
    st.dataframe(
        table,
        hide_index=True,
        height=40 + 35 * min(max(len(table), 1), _MOST_ROWS),
        column_config=_CONFIG,
        key="scan_table",
        placeholder="",
        alt="Every matrix with its winners, D and shift",
    )
    st.download_button(
        "All matrices as CSV",
        data=lambda: build_csv(table),
        file_name="layers.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="scan_csv",
    )


_number = st.column_config.NumberColumn
_CONFIG = {
    "Matrix": st.column_config.TextColumn(width=250, pinned=True),
    "Layer": _number(format="%d", width=56),
    "Units": _number(format="localized", width=64, help="Rows or columns: how many tests this matrix has"),
    "Width": _number(format="localized", width=60, help="How many values one row or column holds"),
    "Changed": _number(format="localized", width=72, help="Rows or columns with at least one other value"),
    "Winners": _number(format="localized", width=70, help="Rows or columns that win at the present α"),
    "Share": _number(format="%.3g %%", width=64, help="Winners among all rows or columns of this matrix"),
    "Wins from D": _number(format="%.4f", width=88, help="The least D that wins here; it depends on the width"),
    "Largest D": _number(format="%.4f", width=78),
    "Median D": _number(format="%.4f", width=78),
    "Median L2 shift": _number(format="%.4g", width=106, help="Euclidean distance between before and after"),
    "Note": st.column_config.TextColumn(width=220),
}
