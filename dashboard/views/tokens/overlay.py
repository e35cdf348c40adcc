"""All picked tokens in one card: their distribution differences, their sorted shifts, their numbers."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from dashboard import loaders
from dashboard.controls.picture import show_picture
from dashboard.loaders import Comparison, SelectedTicket
from dashboard.report.csv_file import build_csv
from dashboard.views.tokens.overlay_figure import (
    MOST_OVERLAID,
    cdf_difference_figure,
    sorted_shift_figure,
    summarise_overlaid_token,
)
from dashboard.views.tokens.shift_figure import NAMED_COORDINATES, summarise_coordinate_shifts
from dashboard.wording import format_noun

_MOST_NUMBERS = 20
"""So many tokens' numbers are on the screen; each is computed anew when the page is drawn."""

_SHARE = f"Share of {NAMED_COORDINATES} (%)"


def show_token_overlay(comparison: Comparison, selection: SelectedTicket, token_ids: Sequence[int]) -> None:
    """Show two or more tokens in one picture each way. Raises KSLotteryError when a row cannot be read."""
    overlaid = token_ids[:MOST_OVERLAID]
    tokens = [
        summarise_overlaid_token(
            token_id,
            comparison.pair.tokens[token_id],
            loaders.load_cdf_gap(comparison, token_id),
            *loaders.load_token_rows(comparison, token_id),
        )
        for token_id in overlaid
    ]
    with st.container(border=True):
        st.markdown("### All picked tokens")
        if len(token_ids) > len(overlaid):
            st.caption(f"The pictures show the first {len(overlaid)} of {format_noun(len(token_ids), 'token')}.")
        left, right = st.columns(2)
        names = ", ".join(token.name for token in tokens)
        with left:
            show_picture(
                cdf_difference_figure(tokens),
                key="token_overlay_differences",
                alt=f"Distribution function after minus before of the tokens {names}",
                caption="Where a line is above zero, more coordinates lie at or below that value after tuning than "
                "before. A diamond marks the largest gap D.",
            )
        with right:
            show_picture(
                sorted_shift_figure(tokens),
                key="token_overlay_shifts",
                alt=f"Sorted shifts of the coordinates of the tokens {names}",
                caption="The shifts of each token's coordinates, smallest first.",
            )
        listed = token_ids[:_MOST_NUMBERS]
        table = build_token_numbers(comparison, selection, listed)
        number = st.column_config.NumberColumn
        st.dataframe(
            table,
            hide_index=True,
            key="token_overlay_numbers",
            placeholder="not defined",
            column_config={
                "D": number(format="%.4f", help="Largest gap between the two distributions, 0 to 1"),
                "k": number(format="%d", help="D as a whole number of coordinates"),
                "p": number(format="%.3g", help="Exact p-value; not calibrated: before and after are paired"),
                "Gap at": number(format="%.4g", help="The value at which the gap is largest"),
                "L2 shift": number(format="%.4g", help="Distance between the rows"),
                "Cosine": number(format="%.4f", help="Of the angle between the rows"),
                "Mean shift": number(format="%.3g", help="Mean after minus mean before"),
                "Spread ratio": number(format="%.4f", help="Spread after divided by spread before"),
                _SHARE: number(
                    format="%.3g",
                    help=f"How much of the squared L2 shift lies in the {NAMED_COORDINATES} coordinates that moved "
                    "furthest",
                ),
            },
            alt="Numbers of the picked tokens",
        )
        if len(token_ids) > len(listed):
            st.caption(
                f"The table holds the first {len(listed)} of {format_noun(len(token_ids), 'token')}, the CSV file all "
                "of them."
            )
        st.download_button(
            "These numbers as CSV",
            data=lambda: build_csv(build_token_numbers(comparison, selection, token_ids)),
            file_name="picked-tokens.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
            key="token_overlay_csv",
        )


def build_token_numbers(comparison: Comparison, selection: SelectedTicket, token_ids: Sequence[int]) -> pd.DataFrame:
    """One row a token with every number of its story; empty where a number is not defined."""
    result, pair = comparison.result, comparison.pair
    rows = []
    for token_id in token_ids:
        gap = loaders.load_cdf_gap(comparison, token_id)
        shifts = summarise_coordinate_shifts(*loaders.load_token_rows(comparison, token_id))
        rows.append(
            {
                "Id": token_id,
                "Token": pair.tokens[token_id],
                "Winner": bool(selection.winners[token_id]),
                "D": gap.statistic,
                "k": gap.count,
                "p": float(result.p_values[token_id]),
                "Gap at": gap.gap_value if gap.count else None,
                "L2 shift": float(result.l2_shift[token_id]),
                "Cosine": float(result.cosine[token_id]),
                "Mean shift": float(result.mean_shift[token_id]),
                "Spread ratio": float(result.spread_ratio[token_id]),
                _SHARE: None if shifts.largest_share is None else 100 * shifts.largest_share,
            }
        )
    return pd.DataFrame(rows)
