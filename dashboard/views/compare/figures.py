"""The picture that sets runs side by side: one metric, one bar a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from dashboard.palette import NEUTRAL, SERIES, WINNER, escape_text, style_figure

_BAR_ROOM = 38  # pixels, the gap to the next bar among them
_MARGINS = {"t": 16, "b": 56, "l": 16, "r": 48}


@dataclass(frozen=True)
class ScoreBars:
    """One metric of runs that may be ranked together, best first; every value keeps its signature."""

    metric: str
    labels: tuple[str, ...]
    values: tuple[float, ...]
    signatures: tuple[str, ...]
    methods: tuple[str, ...]


def summarise_scores(metric: str, rows: Sequence[tuple[str, str, float, str]]) -> ScoreBars:
    """Sort (run name, method, value, signature) by value, best first; equal names are told apart by a number."""
    ranked = sorted(rows, key=lambda row: -row[2])
    seen: dict[str, int] = {}
    labels = []
    for name, *_ in ranked:
        seen[name] = seen.get(name, 0) + 1
        labels.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return ScoreBars(
        metric=metric,
        labels=tuple(labels),
        values=tuple(row[2] for row in ranked),
        signatures=tuple(row[3] for row in ranked),
        methods=tuple(row[1] for row in ranked),
    )


def find_score_end(values: Iterable[float]) -> float:
    """Where an axis that holds all these scores (0 to 100) ends: with room for the number behind the longest bar."""
    return min(max(1.1 * max(values, default=0.0), 5.0), 110.0)


def score_bar_figure(summary: ScoreBars, *, axis_end: float | None = None) -> go.Figure:
    """Horizontal bars, best on top; ticket methods in the winners' colour, the base model in grey.

    Pictures of one measure that stand on one page share `axis_end`, from `find_score_end` of all their scores; without
    it the axis ends where this picture's own scores want it.
    """
    colours = {"base": NEUTRAL, "ticket": WINNER, "transfer": WINNER}
    figure = go.Figure()
    figure.add_bar(
        x=summary.values,
        y=[escape_text(label) for label in summary.labels],
        orientation="h",
        marker={"color": [colours.get(method, SERIES[1]) for method in summary.methods]},
        text=[f"{value:.1f}" for value in summary.values],
        textposition="outside",
        cliponaxis=False,
        customdata=[escape_text(signature) for signature in summary.signatures],
        hovertemplate="%{y}: %{x:.2f}<br>%{customdata}<extra></extra>",
        name=escape_text(summary.metric),
        showlegend=False,
    )
    style_figure(
        figure,
        x_title=f"{escape_text(summary.metric)} (0 to 100, higher is closer to the reference)",
        y_title="",
        height=_MARGINS["t"] + _MARGINS["b"] + _BAR_ROOM * max(len(summary.labels), 1),
        bargap=0.35,
    )
    figure.update_layout(margin=_MARGINS)
    figure.update_xaxes(range=[0, find_score_end(summary.values) if axis_end is None else axis_end])
    # A category axis, or runs named after numbers or dates would be placed like those.
    figure.update_yaxes(type="category", autorange="reversed", automargin=True, showgrid=False)
    return figure
