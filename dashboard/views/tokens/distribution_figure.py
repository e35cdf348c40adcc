"""Pictures of one token: the distributions of its row's values before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from dashboard.palette import AFTER, BEFORE, WINNER, style_figure
from dashboard.wording import format_number

if TYPE_CHECKING:
    from kslottery_core.ks import CDFGap


def token_cdf_figure(gap: CDFGap) -> go.Figure:
    """Exact steps of both distribution functions; the largest gap is a marked vertical bar."""
    figure = go.Figure()
    margin = 0.04 * float(gap.values[-1] - gap.values[0] or 1.0)
    x = np.concatenate([[gap.values[0] - margin], gap.values, [gap.values[-1] + margin]])
    # Before is the thicker line, so that it shows on both sides of After where the two agree.
    for name, levels, colour, thickness in (("Before", gap.before, BEFORE, 4), ("After", gap.after, AFTER, 1.75)):
        figure.add_scatter(
            x=x,
            y=np.concatenate([[0.0], levels, [1.0]]),
            mode="lines",
            line={"shape": "hv", "color": colour, "width": thickness},
            name=name,
            hovertemplate="%{y:.1%} of the values are at or below %{x:.4g}<extra>" + name + "</extra>",
        )
    if gap.count:
        figure.add_scatter(
            x=[gap.gap_value, gap.gap_value],
            y=[gap.gap_before, gap.gap_after],
            mode="lines+markers",
            line={"color": WINNER, "width": 4},
            marker={"size": 11, "color": WINNER, "symbol": "line-ew-open", "line": {"width": 3}},
            name=f"Gap D = {format_number(gap.statistic)}",
            hovertemplate=f"largest gap D = {gap.statistic:.4g} at %{{x:.4g}}<extra></extra>",
        )
    style_figure(figure, x_title="Value of a coordinate of the row", y_title="Share of coordinates at or below")
    figure.update_yaxes(range=[-0.02, 1.02], tickformat=".0%")
    return figure


@dataclass(frozen=True)
class RowHistogram:
    """The values of one row before and after, counted in the same bins."""

    edges: np.ndarray  # (n + 1,) float64
    before: np.ndarray  # (n,) int64
    after: np.ndarray  # (n,) int64


def summarise_row_histogram(before_row: np.ndarray, after_row: np.ndarray, bins: int = 40) -> RowHistogram:
    """Count two rows (d,) in shared bins over the range of both."""
    both = np.concatenate([before_row, after_row]).astype(np.float64)
    edges = np.histogram_bin_edges(both, bins=bins)
    before, _ = np.histogram(before_row, bins=edges)
    after, _ = np.histogram(after_row, bins=edges)
    return RowHistogram(edges, before, after)


def row_histogram_figure(summary: RowHistogram) -> go.Figure:
    """Two overlaid outlines, half transparent, so that neither hides the other."""
    figure = go.Figure()
    x = np.repeat(summary.edges, 2)
    for name, amounts, colour, thickness in (
        ("Before", summary.before, BEFORE, 4),
        ("After", summary.after, AFTER, 1.75),
    ):
        figure.add_scatter(
            x=x,
            y=np.concatenate([[0], np.repeat(amounts, 2), [0]]),
            mode="lines",
            line={"color": colour, "width": thickness},
            fill="tozeroy",
            fillcolor=_make_transparent(colour),
            name=name,
            hovertemplate="%{y} coordinates near %{x:.3g}<extra>" + name + "</extra>",
        )
    style_figure(figure, x_title="Value of a coordinate of the row", y_title="Number of coordinates")
    figure.update_yaxes(rangemode="tozero")
    return figure


def _make_transparent(colour: str) -> str:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.25)"
