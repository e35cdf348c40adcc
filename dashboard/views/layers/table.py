"""Every matrix of a scan as a table, those that could not be compared among them with their reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.loaders.vocabulary import is_fetched, load_vocabulary
from dashboard.report.csv_file import build_csv
from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dashboard.loaders import PairChoice
    from kslottery_core.scans import ScanEntry

_MOST_ROWS = 14


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


def find_row_labels(choice: PairChoice, entry: ScanEntry) -> tuple[str, ...] | None:
    """The token of each row, (V,), of a matrix that holds one row a token; None for others, and where none is at hand.

    Nothing is fetched for this: the tokens of a hub id stay unnamed.
    """
    if entry.unit != "row" or entry.layer is not None or is_fetched(choice.before or "", choice.before_revision):
        return None
    try:
        vocabulary = load_vocabulary(choice.before or "", choice.before_revision)
    except KSLotteryError:
        return None  # ids alone still say which rows these are
    return vocabulary.labels if vocabulary.size == entry.units else None


def show_unit_table(entry: ScanEntry, least_count: int | None, labels: Sequence[str] | None = None) -> None:
    """The rows (or columns) of one matrix with the largest D; `least_count` is the least k that wins, None if none.

    `labels` (V,) are the tokens that the rows stand for.
    """
    from kslottery_core.ks import compute_p_values

    name, counts = entry.unit.capitalize(), np.array(entry.top_counts, dtype=int)
    table = pd.DataFrame(
        {
            name: entry.top_units,
            **({} if labels is None else {"Token": [labels[unit] for unit in entry.top_units]}),
            "D": counts / entry.width,
            "p": compute_p_values(entry.width)[counts],
            "Wins": counts >= least_count if least_count is not None else np.zeros(len(counts), dtype=bool),
        }
    )
    st.markdown(f"**{name}s with the largest D**")
    st.dataframe(
        table,
        hide_index=True,
        height=min(38 + 35 * max(len(table), 1), 248),
        key="matrix_units",
        column_config={"D": _number(format="%.4f"), "p": _number(format="%.3g")},
        placeholder="",
        alt=f"{name}s of {entry.parameter} with the largest D",
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
