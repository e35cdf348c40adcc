"""The values of one token's row: its numbers, its distribution functions with the largest gap, its histogram."""

from __future__ import annotations

import math

import streamlit as st

from dashboard import loaders
from dashboard.controls.picture import show_picture
from dashboard.loaders import Comparison
from dashboard.views.tokens.distribution_figure import row_histogram_figure, summarise_row_histogram, token_cdf_figure
from dashboard.wording import NOT_DEFINED, format_number
from kslottery_core.ks import format_statistic


def show_token_values(comparison: Comparison, token_id: int) -> None:
    """Show numbers and distributions of one token. Raises KSLotteryError when its rows cannot be read."""
    result = comparison.result
    gap = loaders.load_cdf_gap(comparison, token_id)
    rows = loaders.load_token_rows(comparison, token_id)
    numbers = (
        ("D", format_statistic(gap.statistic), f"{gap.count:,} of {gap.width:,} coordinates"),
        ("p-value", format_number(float(result.p_values[token_id])), "Exact, but not calibrated: the rows are paired"),
        ("L2 shift", format_number(float(result.l2_shift[token_id]), 4), "Distance between the rows"),
        ("Cosine", _write_defined(float(result.cosine[token_id])), "Of the angle between the rows"),
        ("Mean shift", format_number(float(result.mean_shift[token_id])), "Mean after minus mean before"),
        (
            "Spread ratio",
            _write_defined(float(result.spread_ratio[token_id])),
            "Spread after divided by spread before",
        ),
    )
    for column, (label, value, explanation) in zip(st.columns(len(numbers)), numbers, strict=True):
        column.metric(label, value, help=explanation)
    if gap.count == 0 and not result.changed[token_id]:
        st.caption("This row did not change, so both curves are the same.")
    left, right = st.columns(2)
    with left:
        show_picture(
            token_cdf_figure(gap),
            key=f"token_cdf_{token_id}",
            alt=f"Distribution functions of token {token_id} before and after, "
            f"largest gap {format_statistic(gap.statistic)}",
        )
    with right:
        show_picture(
            row_histogram_figure(summarise_row_histogram(*rows)),
            key=f"token_histogram_{token_id}",
            alt=f"Histogram of the values of token {token_id} before and after",
        )


def _write_defined(value: float) -> str:
    """A row of zeros has no direction, and one of equal values no spread; all was measured."""
    return NOT_DEFINED if math.isnan(value) else format_number(value, 4)
