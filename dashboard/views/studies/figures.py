"""The picture of a study's results: quality against what it costs, in trained parameters and in time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboard.palette import GRID, NEUTRAL, SERIES, escape_text, style_figure
from dashboard.wording import format_count, format_seconds

COSTS = ("parameters", "seconds")
"""What quality is held against: trained parameters, and seconds of the whole run."""

_TITLES = {"parameters": "Trained parameters (log scale)", "seconds": "Time, with that of choosing the rows (s)"}
_HEADINGS = {"parameters": "Against trained parameters", "seconds": "Against time"}
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")
_FRONT = "Best for its cost"
_SIGNS_A_LEGEND_ROW = 110  # about what fits the width of a page
_LEGEND_ROW_HEIGHT = 22


@dataclass(frozen=True)
class StudyPoint:
    """One row of a study's table: its arm, what else it stands for, and quality with its interval (None: no interval).

    `parameters` and `seconds` are None where they were not measured.
    """

    arm: str
    setting: str
    quality: float
    low: float | None
    high: float | None
    parameters: int | None
    seconds: float | None

    def get_cost(self, cost: str) -> float | None:
        """The value of one of `COSTS`."""
        return {"parameters": self.parameters, "seconds": self.seconds}[cost]


@dataclass(frozen=True)
class ParetoSummary:
    """Points that may be ranked together. `fronts` holds for each of `COSTS` the places of those that nothing beats.

    Beaten is who has another point beside it with at least the quality, at most the cost, and one of both better.
    `arms` are all of the study, those without a point too, so that each keeps its colour as results come in.
    """

    measure: str
    arms: tuple[str, ...]
    points: tuple[StudyPoint, ...]
    fronts: tuple[tuple[int, ...], ...]

    def count_unmeasured(self, cost: str) -> int:
        """How many points the picture of this cost has to leave out."""
        return sum(point.get_cost(cost) is None for point in self.points)


def pareto_figure(summary: ParetoSummary) -> go.Figure:
    """Two pictures on one axis of quality: a point a row of the table, ringed and joined where nothing beats it.

    The axis of parameters is a log scale, on which 0 (nothing is trained) gets a place of its own left of all others.
    """
    figure = make_subplots(
        1,
        len(COSTS),
        shared_yaxes=True,
        horizontal_spacing=0.04,
        subplot_titles=[_HEADINGS[cost] for cost in COSTS],
    )
    present = {point.arm for point in summary.points}
    for place, (cost, front) in enumerate(zip(COSTS, summary.fronts, strict=True), 1):
        axis = _CostAxis.span([point.get_cost(cost) for point in summary.points], is_log=cost == "parameters")
        _add_front(figure, summary, front, cost, axis, place)
        for number, arm in enumerate(summary.arms):
            if arm in present:
                _add_arm(figure, summary, arm, number, cost, axis, place)
        axis.describe(figure, place)
    legend_rows = math.ceil(sum(len(arm) + 8 for arm in (*present, _FRONT)) / _SIGNS_A_LEGEND_ROW)
    top = 36 + _LEGEND_ROW_HEIGHT * legend_rows
    style_figure(figure, x_title="", y_title="", height=380 + top)
    figure.update_layout(margin={"t": top, "l": 64, "r": 16, "b": 56}, legend={"y": 1 + 28 / 324})
    for place, cost in enumerate(COSTS, 1):
        figure.update_xaxes(title_text=_TITLES[cost], tickformat=None if cost == "parameters" else ",", col=place)
    figure.update_yaxes(title_text=f"{escape_text(summary.measure)} (0 to 100)", col=1)
    _frame_quality(figure, summary.points)
    return figure


def _add_front(
    figure: go.Figure, summary: ParetoSummary, front: Sequence[int], cost: str, axis: _CostAxis, place: int
) -> None:
    """The line along the front and a ring around each of its points; drawn first, so that points lie on top."""
    kept = [summary.points[at] for at in front if summary.points[at].get_cost(cost) is not None]
    kept.sort(key=lambda point: (point.get_cost(cost) or 0.0, point.quality))
    if kept:
        figure.add_scatter(
            x=[axis.place(point.get_cost(cost)) for point in kept],
            y=[point.quality for point in kept],
            mode="lines+markers",
            line={"color": NEUTRAL, "width": 1.5, "dash": "dot"},
            marker={"size": 19, "symbol": "circle-open", "color": NEUTRAL, "line": {"width": 2}},
            name=_FRONT,
            legendgroup="front",
            showlegend=place == 1,
            legendrank=2000,
            hoverinfo="skip",
            cliponaxis=False,
            row=1,
            col=place,
        )


def _add_arm(
    figure: go.Figure, summary: ParetoSummary, arm: str, number: int, cost: str, axis: _CostAxis, place: int
) -> None:
    points = [point for point in summary.points if point.arm == arm and point.get_cost(cost) is not None]
    figure.add_scatter(
        x=[axis.place(point.get_cost(cost)) for point in points] or [None],
        y=[point.quality for point in points] or [None],
        error_y={
            "type": "data",
            # A bootstrap interval lies around the mean of its resamples, which may be beside the score itself.
            "array": [
                max(0.0, (point.quality if point.high is None else point.high) - point.quality) for point in points
            ],
            "arrayminus": [
                max(0.0, point.quality - (point.quality if point.low is None else point.low)) for point in points
            ],
            "thickness": 1.3,
            "width": 4,
        },
        mode="markers",
        marker={
            "size": 10,
            "color": SERIES[number % len(SERIES)],
            "symbol": _SYMBOLS[(number + number // len(SERIES)) % len(_SYMBOLS)],
        },
        name=escape_text(arm),
        legendgroup=f"arm {number}",
        showlegend=place == 1,
        customdata=[_describe(point, summary.measure) for point in points],
        hovertemplate="%{customdata}<extra></extra>",
        cliponaxis=False,
        row=1,
        col=place,
    )


def _describe(point: StudyPoint, measure: str) -> str:
    interval = "" if point.low is None or point.high is None else f" ({point.low:.1f} to {point.high:.1f})"
    lines = [
        f"<b>{escape_text(point.arm)}</b>",
        *([escape_text(point.setting)] if point.setting else []),
        f"{escape_text(measure)}: {point.quality:.1f}{interval}",
        f"trained parameters: {format_count(point.parameters)}",
        f"time: {format_seconds(point.seconds)}",
    ]
    return "<br>".join(lines)


def _frame_quality(figure: go.Figure, points: Sequence[StudyPoint]) -> None:
    """Room for rings and bars: from a little below the least to a little above the most, never far beyond 0 or 100."""
    lows = [point.quality if point.low is None else point.low for point in points]
    highs = [point.quality if point.high is None else point.high for point in points]
    least, most = min(lows, default=0.0), max(highs, default=100.0)
    room = max(0.08 * (most - least), 2.0)
    figure.update_yaxes(range=[max(least - room, -0.02 * (most + room)), most + room])  # a score is never below 0


@dataclass(frozen=True)
class _CostAxis:
    """Where a cost stands. On a log axis places are powers of ten, and 0 stands a step left of the least."""

    is_log: bool
    least: float
    most: float
    has_zero: bool

    @classmethod
    def span(cls, costs: Sequence[float | None], *, is_log: bool) -> _CostAxis:
        positive = [cost for cost in costs if cost]
        return cls(is_log, min(positive, default=1.0), max(positive, default=1.0), any(cost == 0 for cost in costs))

    @property
    def zero(self) -> float:
        return math.floor(math.log10(self.least)) - 1.0

    def place(self, cost: float | None) -> float | None:
        if cost is None or not self.is_log:
            return cost
        return math.log10(cost) if cost > 0 else self.zero

    def describe(self, figure: go.Figure, place: int) -> None:
        if not self.is_log:
            figure.update_xaxes(range=[0, 1.08 * self.most], col=place)
            return
        low, high = math.floor(math.log10(self.least)), math.ceil(math.log10(self.most))
        powers = list(range(low, max(high, low + 1) + 1))
        names = [_name_power(power) for power in powers]
        if self.has_zero:
            figure.add_vline(x=low - 0.5, line={"color": GRID, "width": 1, "dash": "dash"}, row=1, col=place)
            powers, names = [low - 1, *powers], ["0", *names]
        figure.update_xaxes(tickvals=powers, ticktext=names, range=[powers[0] - 0.4, powers[-1] + 0.25], col=place)


def _name_power(power: int) -> str:
    for size, sign in ((9, "G"), (6, "M"), (3, "k")):
        if power >= size:
            return f"{10 ** (power - size):,}{sign}"
    return f"{10**power:,}" if power >= 0 else f"{10.0**power:g}"
