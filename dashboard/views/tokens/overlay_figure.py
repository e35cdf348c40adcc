"""Several tokens in one picture: the differences of their distribution functions, and their sorted shifts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from dashboard.palette import NEUTRAL, choose_series_line, escape_text, style_figure
from dashboard.wording import format_number

if TYPE_CHECKING:
    from kslottery_core.ks import CDFGap

MOST_OVERLAID = 7


@dataclass(frozen=True, eq=False)
class OverlaidToken:
    """One token's line in both pictures.

    `differences` (n,) is the share of coordinates at or below `values` (n,) after, minus that before; `gap_value` and
    `gap` say where and how large the gap D is, with its sign, both None where nothing differs. `shifts` (d,) are the
    coordinates' shifts, after - before, smallest first.
    """

    token_id: int
    label: str
    values: np.ndarray
    differences: np.ndarray
    gap_value: float | None
    gap: float | None
    shifts: np.ndarray

    @property
    def name(self) -> str:
        """The token as the legend names it: equal labels are told apart by their ids."""
        return f"{self.label} ({self.token_id})"


def summarise_overlaid_token(
    token_id: int, label: str, gap: CDFGap, before_row: np.ndarray, after_row: np.ndarray
) -> OverlaidToken:
    """Put what belongs to one token together; rows are (d,)."""
    return OverlaidToken(
        token_id=token_id,
        label=label,
        values=gap.values,
        # Both are whole numbers over d: as numbers of coordinates the difference is exact.
        differences=np.rint((gap.after - gap.before) * gap.width) / gap.width,
        gap_value=gap.gap_value if gap.count else None,
        gap=float(np.sign(gap.gap_after - gap.gap_before) * gap.count / gap.width) if gap.count else None,
        shifts=np.sort(np.asarray(after_row, dtype=np.float64) - np.asarray(before_row, dtype=np.float64)),
    )


def cdf_difference_figure(tokens: Sequence[OverlaidToken]) -> go.Figure:
    """Steps of after minus before for each token; a diamond marks where the gap D is largest."""
    figure = go.Figure()
    low = min(float(token.values[0]) for token in tokens)
    high = max(float(token.values[-1]) for token in tokens)
    margin = 0.04 * (high - low or 1.0)
    for place, token in enumerate(tokens):
        name, look = escape_text(token.name), choose_series_line(place)
        figure.add_scatter(
            x=np.concatenate([[low - margin], token.values, [high + margin]]),
            y=np.concatenate([[0.0], token.differences, [0.0]]),
            mode="lines",
            line={"shape": "hv", "width": 1.75, **look},
            name=name,
            legendgroup=str(token.token_id),
            hovertemplate="%{y:+.1%} of the values at or below %{x:.4g}<extra>%{fullData.name}</extra>",
        )
        if token.gap is not None:
            figure.add_scatter(
                x=[token.gap_value],
                y=[token.gap],
                mode="markers",
                marker={
                    "size": 11,
                    "color": look["color"],
                    "symbol": "diamond",
                    "line": {"width": 1.5, "color": "white"},
                },
                name=name,
                legendgroup=str(token.token_id),
                showlegend=False,
                customdata=[f"largest gap D = {format_number(abs(token.gap), 4)}"],
                hovertemplate="%{customdata} at %{x:.4g}<extra>%{fullData.name}</extra>",
            )
    style_figure(
        figure,
        x_title="Value of a coordinate of the row",
        y_title="Share at or below: after minus before",
    )
    figure.add_hline(y=0, line={"color": NEUTRAL, "width": 1})
    figure.update_yaxes(tickformat=".0%")
    return figure


def sorted_shift_figure(tokens: Sequence[OverlaidToken]) -> go.Figure:
    """The shifts of every token's coordinates, smallest first, one line a token."""
    figure = go.Figure()
    for place, token in enumerate(tokens):
        name = escape_text(token.name)
        figure.add_scatter(
            x=np.arange(1, len(token.shifts) + 1),
            y=token.shifts,
            mode="lines",
            line={"width": 1.75, **choose_series_line(place)},
            name=name,
            hovertemplate="shift %{y:.4g} at place %{x:,}<extra>%{fullData.name}</extra>",
        )
    width = max(len(token.shifts) for token in tokens)
    style_figure(
        figure,
        x_title=f"Place among the {width:,} coordinates, sorted by shift",
        y_title="Shift: value after minus value before",
    )
    figure.add_hline(y=0, line={"color": NEUTRAL, "width": 1})
    return figure
