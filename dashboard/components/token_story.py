"""One token in full: its numbers, its distribution functions with the largest gap, its histogram."""

from __future__ import annotations

import streamlit as st

from dashboard import loaders
from dashboard.figures import row_histogram_figure, summarise_row_histogram, token_cdf_figure
from dashboard.loaders import Comparison, SelectedTicket
from dashboard.wording import KIND_NAMES, format_name, format_number, format_token
from kslottery_core.ks import format_statistic


def show_token_story(comparison: Comparison, selection: SelectedTicket, token_id: int) -> None:
    """Show everything that is known about one token of the pair. Raises KSLotteryError when its rows cannot be read."""
    result, pair = comparison.result, comparison.pair
    gap = loaders.load_cdf_gap(comparison, token_id)
    rows = loaders.load_token_rows(comparison, token_id)
    token = pair.tokens[token_id]
    wins = bool(selection.winners[token_id])
    with st.container(border=True):
        title, badge = st.columns([6, 1], vertical_alignment="center")
        kind = format_name(KIND_NAMES, pair.token_kinds[token_id]).lower()
        title.markdown(f"#### {format_token(token)} :gray[token {token_id:,}, {kind}]")
        if wins:
            badge.badge("Winner", icon=":material/star:", color="green")
        else:
            badge.badge("Not a winner", color="gray")
        numbers = (
            ("D", format_statistic(gap.statistic), f"{gap.count:,} of {gap.width:,} coordinates"),
            (
                "p-value",
                format_number(float(result.p_values[token_id])),
                "Exact, but not calibrated: the rows are paired",
            ),
            ("L2 shift", format_number(float(result.l2_shift[token_id])), "Distance between the rows"),
            ("Cosine", format_number(float(result.cosine[token_id]), 4), "Of the angle between the rows"),
            ("Mean shift", format_number(float(result.mean_shift[token_id])), "Mean after minus mean before"),
            (
                "Spread ratio",
                format_number(float(result.spread_ratio[token_id]), 4),
                "Spread after divided by spread before",
            ),
        )
        for column, (label, value, explanation) in zip(st.columns(len(numbers)), numbers, strict=True):
            column.metric(label, value, help=explanation)
        if gap.count == 0 and not result.changed[token_id]:
            st.caption("This row did not change, so both curves are the same.")
        left, right = st.columns(2)
        left.plotly_chart(
            token_cdf_figure(gap),
            key=f"token_cdf_{token_id}",
            alt=f"Distribution functions of token {token_id} before and after, "
            f"largest gap {format_statistic(gap.statistic)}",
        )
        right.plotly_chart(
            row_histogram_figure(summarise_row_histogram(*rows)),
            key=f"token_histogram_{token_id}",
            alt=f"Histogram of the values of token {token_id} before and after",
        )
