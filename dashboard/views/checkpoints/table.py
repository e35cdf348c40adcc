"""What several checkpoints have in common, as tables: each checkpoint, each two of them, each token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.loaders.series import SeriesComparison, SeriesSelection
from dashboard.report.csv_file import build_csv

_MOST_ROWS = 10
_MOST_TOKENS = 2000


def build_series_table(
    comparison: SeriesComparison, selection: SeriesSelection, labels: Sequence[str], growth: np.ndarray | None
) -> pd.DataFrame:
    """One row a token, (V,): those in most tickets first, then those of the largest D anywhere."""
    statistics = np.stack([result.statistics for result in comparison.found.results])  # (A, V)
    table = pd.DataFrame(
        {
            "Id": np.arange(comparison.found.vocabulary_size),
            "Token": list(comparison.opened.tokens),
            "In tickets": selection.overlap.holders,
            "Largest D": statistics.max(axis=0),
        }
    )
    if growth is not None:
        table["Growth"] = growth
    for label, values in zip(labels, statistics, strict=True):
        table[_find_free(f"D, {label}", table.columns)] = values
    return table.sort_values(["In tickets", "Largest D", "Id"], ascending=[False, False, True], ignore_index=True)


def _find_free(name: str, taken: Sequence[str]) -> str:
    """Two checkpoints may have one label; two columns may not."""
    number, free = 2, name
    while free in taken:
        number, free = number + 1, f"{name} ({number})"
    return free


def show_tables(checkpoints: pd.DataFrame, overlaps: pd.DataFrame, tokens: pd.DataFrame) -> None:
    """The three tables behind the pictures, one at a time, each with its download."""
    st.header("The numbers")
    first, second, third = st.tabs(["Tokens", "Checkpoints", "Overlaps"])
    with first:
        winners = tokens[tokens["In tickets"] > 0]
        shown = (winners if len(winners) else tokens)[:_MOST_TOKENS]
        what = "that win somewhere" if len(winners) else "by the largest D; none of them wins"
        st.caption(f"{len(shown):,} of {len(tokens):,} tokens, {what}. The download holds all of them.")
        _show_table(shown, "series_tokens", "Tokens with D in each checkpoint")
        _show_download("All tokens as CSV", tokens, "checkpoint-tokens.csv", "series_tokens_csv")
    with second:
        _show_table(checkpoints, "series_checkpoints", "Winners of each checkpoint")
        _show_download("Checkpoints as CSV", checkpoints, "checkpoints.csv", "series_checkpoints_csv")
    with third:
        _show_table(overlaps, "series_overlaps", "Overlap of each two tickets")
        _show_download("Overlaps as CSV", overlaps, "checkpoint-overlaps.csv", "series_overlaps_csv")


def _show_table(table: pd.DataFrame, key: str, alt: str) -> None:
    number = st.column_config.NumberColumn
    config: dict[str, object] = {
        "Id": number(format="%d", width=60),
        "Token": st.column_config.TextColumn(width=120),
        "Share": number(format="%.3g %%"),
        "Winners": number(format="localized"),
        "Rows changed": number(format="localized"),
        "Jaccard": number(format="%.4g"),
        "By chance": number(format="%.4g", help="Expected Jaccard of random tickets of these sizes"),
        "Growth": number(format="%.4f", help="D at the last step minus D at the first; seeds at one step are averaged"),
    }
    config |= {name: number(format="%.4f") for name in table.columns if name.startswith("D, ") or name.endswith(" D")}
    st.dataframe(
        table,
        key=key,
        hide_index=True,
        height=40 + 35 * min(max(len(table), 1), _MOST_ROWS),
        column_config=config,
        placeholder="",
        alt=alt,
    )


def _show_download(label: str, table: pd.DataFrame, file_name: str, key: str) -> None:
    st.download_button(
        label,
        data=lambda: build_csv(table),
        file_name=file_name,
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key=key,
    )
