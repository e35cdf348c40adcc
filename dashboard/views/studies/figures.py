"""The picture of a study's results: quality against what it costs, in trained parameters and in time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboard.palette import GRID, NEUTRAL, SEQUENTIAL, SERIES, WINNER, escape_text, style_figure
from dashboard.wording import format_count, format_noun, format_number, format_seconds
from kslottery_core.ks import format_statistic

if TYPE_CHECKING:
    from kslottery_core.studies import TicketSizePoint

_DARK_FROM = 0.45  # of the colour scale: lighter cells get dark numbers


@dataclass(frozen=True)
class SizeCell:
    """Tickets of one learning rate and number of steps, a size a seed. `largest_distance` is D, over all seeds."""

    learning_rate: float
    steps: int
    sizes: tuple[int, ...]
    changed_rows: int
    largest_distance: float

    @property
    def mean(self) -> float:
        """The mean size over the seeds."""
        return sum(self.sizes) / len(self.sizes)


@dataclass(frozen=True)
class TicketSizes:
    """The cells of one language pair at one alpha, by learning rate and then by steps."""

    significance_level: float
    cells: tuple[SizeCell, ...]

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """Every learning rate, least first."""
        return tuple(sorted({cell.learning_rate for cell in self.cells}))

    @property
    def steps(self) -> tuple[int, ...]:
        """Every number of steps, least first."""
        return tuple(sorted({cell.steps for cell in self.cells}))

    @property
    def varies(self) -> bool:
        """Whether there is anything to see: two learning rates or two numbers of steps."""
        return len(self.learning_rates) > 1 or len(self.steps) > 1


def summarise_ticket_sizes(points: Iterable[TicketSizePoint], language: str, significance_level: float) -> TicketSizes:
    """Put the seeds of one language pair together."""
    found: dict[tuple[float, int], list[TicketSizePoint]] = {}
    for point in points:
        if point.language == language:
            found.setdefault((point.learning_rate, point.steps), []).append(point)
    cells = tuple(
        SizeCell(
            learning_rate=rate,
            steps=steps,
            sizes=tuple(point.size for point in sorted(group, key=lambda point: point.seed)),
            changed_rows=max(point.changed_rows for point in group),
            largest_distance=max(point.largest_distance for point in group),
        )
        for (rate, steps), group in sorted(found.items())
    )
    return TicketSizes(significance_level, cells)


def describe_ticket_sizes(summary: TicketSizes) -> str:
    """What the sizes say, in one sentence. Plain text."""
    level = format_number(summary.significance_level, 6)
    least, most = (choose(summary.cells, key=lambda cell: cell.mean) for choose in (min, max))
    if least.mean == most.mean:
        return (
            f"At α = {level} every training here gives a ticket of {_format_mean(most)}: at this α its size does not "
            "show how far training went; another α may."
        )
    return (
        f"At α = {level} the ticket has {_format_mean(least)} after {_name_training(least)} and {_format_mean(most)} "
        f"after {_name_training(most)}: its size says how far training went, not only which tokens matter."
    )


def _format_mean(cell: SizeCell) -> str:
    mean = cell.mean
    return format_noun(int(mean), "token") if mean == int(mean) else f"{mean:,.1f} tokens on average"


def _name_training(cell: SizeCell) -> str:
    return f"{format_noun(cell.steps, 'step')} at learning rate {format_number(cell.learning_rate)}"


def ticket_size_figure(summary: TicketSizes) -> go.Figure:
    """A map with the numbers in it where both axes vary, a line with the seeds' range where one does."""
    if len(summary.learning_rates) > 1 and len(summary.steps) > 1:
        return _draw_map(summary)
    return _draw_line(summary)


def _draw_map(summary: TicketSizes) -> go.Figure:
    rates, steps = summary.learning_rates, summary.steps
    cells = {(cell.learning_rate, cell.steps): cell for cell in summary.cells}
    most = max(cell.mean for cell in summary.cells)
    shades = {key: math.log1p(cell.mean) / math.log1p(most) if most else 0.0 for key, cell in cells.items()}
    figure = go.Figure()
    figure.add_heatmap(
        x=list(range(len(steps))),
        y=list(range(len(rates))),
        z=[[shades.get((rate, step)) for step in steps] for rate in rates],
        customdata=[[_ticket_size_describe(cells.get((rate, step))) for step in steps] for rate in rates],
        hovertemplate="%{customdata}<extra></extra>",
        hoverongaps=False,
        colorscale=SEQUENTIAL,
        zmin=0,
        zmax=1,
        xgap=3,
        ygap=3,
        showscale=False,  # every cell has its number
        name="Ticket size",
    )
    figure.add_scatter(
        x=[steps.index(step) for _, step in cells],
        y=[rates.index(rate) for rate, _ in cells],
        mode="text",
        text=[_write(cell) for cell in cells.values()],
        textfont={"size": 14, "color": ["#111111" if shades[key] >= _DARK_FROM else "#FFFFFF" for key in cells]},
        hoverinfo="skip",
        showlegend=False,
        name="Numbers",
    )
    style_figure(figure, x_title="Training steps", y_title="Learning rate", height=130 + 74 * len(rates))
    figure.update_layout(margin={"t": 16})
    figure.update_xaxes(tickvals=list(range(len(steps))), ticktext=[f"{step:,}" for step in steps], showgrid=False)
    figure.update_yaxes(
        tickvals=list(range(len(rates))), ticktext=[format_number(rate) for rate in rates], showgrid=False
    )
    figure.update_xaxes(fixedrange=True)
    figure.update_yaxes(fixedrange=True)
    return figure


def _write(cell: SizeCell) -> str:
    """The mean, and below it the range where seeds differ."""
    if len(set(cell.sizes)) == 1:
        return f"{cell.sizes[0]:,}"
    return f"{cell.mean:,.1f}<br>{min(cell.sizes):,} to {max(cell.sizes):,}"


def _ticket_size_describe(cell: SizeCell | None) -> str:
    if cell is None:
        return ""
    sizes = ", ".join(f"{size:,}" for size in cell.sizes)
    return (
        f"<b>{_name_training(cell)}</b><br>tokens that win: {sizes}"
        f"{' (one number a seed)' if len(cell.sizes) > 1 else ''}<br>{cell.changed_rows:,} rows changed<br>"
        f"largest D {format_statistic(cell.largest_distance)}"
    )


def _draw_line(summary: TicketSizes) -> go.Figure:
    by_rate = len(summary.learning_rates) > 1
    means = [cell.mean for cell in summary.cells]
    places = [cell.learning_rate if by_rate else cell.steps for cell in summary.cells]
    figure = go.Figure()
    figure.add_scatter(
        x=places,
        y=means,
        error_y={
            "type": "data",
            "array": [max(cell.sizes) - cell.mean for cell in summary.cells],
            "arrayminus": [cell.mean - min(cell.sizes) for cell in summary.cells],
            "thickness": 1.3,
            "width": 5,
        },
        mode="lines+markers+text",
        line={"color": WINNER, "width": 2},
        marker={"size": 9},
        text=[f"{mean:,.1f}" if mean % 1 else f"{mean:,.0f}" for mean in means],
        textposition="top left",
        cliponaxis=False,
        customdata=[_ticket_size_describe(cell) for cell in summary.cells],
        hovertemplate="%{customdata}<extra></extra>",
        showlegend=False,
        name="Ticket size",
    )
    x_title = "Learning rate (log scale)" if by_rate else "Training steps"
    style_figure(figure, x_title=x_title, y_title="Tokens that win", height=340)
    figure.update_layout(margin={"t": 24, "r": 48})
    names = [format_number(place) if by_rate else f"{place:,.0f}" for place in places]
    figure.update_xaxes(type="log" if by_rate else "linear", tickvals=places, ticktext=names)
    figure.update_yaxes(range=[0, max(1.2 * max(max(cell.sizes) for cell in summary.cells), 1)], tickformat=",d")
    return figure


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
