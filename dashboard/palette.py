"""One palette (after Okabe and Ito: safe with every common colour blindness) and one layout for all pictures."""

import html
from typing import Any

import plotly.graph_objects as go

BEFORE = "#0072B2"
AFTER = "#D55E00"
WINNER = "#009E73"
NEUTRAL = "#8A8F98"
MARK = "#CC79A7"
SERIES = ("#E69F00", "#56B4E9", "#9A6324")
"""For things side by side that are neither before, after nor winners: none of these means anything by itself.

Brown stands for Okabe and Ito's yellow, which nobody sees on a white ground.
"""

SERIES_DASHES = ("solid", "dash", "dot", "dashdot")
"""For the lines of a series: each round through `SERIES` has a dash of its own."""

SEQUENTIAL = "Viridis"
"""For amounts: rises evenly in lightness, is told apart with every common colour blindness, and holds no grey."""

GRID = "rgba(138, 143, 152, 0.25)"


def escape_text(text: str) -> str:
    """Plotly draws some HTML, links among it; a name is only text."""
    return html.escape(text, quote=False)


def choose_series_line(place: int) -> dict[str, Any]:
    """Colour and dash of the line at a place, 0 and up: twelve are told apart."""
    return {"color": SERIES[place % len(SERIES)], "dash": SERIES_DASHES[place // len(SERIES) % len(SERIES_DASHES)]}


def style_figure(figure: go.Figure, *, x_title: str, y_title: str, height: int = 360, **layout: Any) -> go.Figure:
    """Axis titles, room for the legend above the picture, a grid that works on light and dark grounds."""
    figure.update_layout(
        height=height,
        margin={"l": 64, "r": 24, "t": 48, "b": 56},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "xanchor": "left", "x": 0},
        hovermode="closest",
        modebar={"orientation": "v"},  # lying down it covers the legend
        **layout,
    )
    figure.update_xaxes(title_text=x_title, gridcolor=GRID, zeroline=False)
    figure.update_yaxes(title_text=y_title, gridcolor=GRID, zeroline=False)
    return figure
