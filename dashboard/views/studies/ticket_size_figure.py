"""How a ticket's size depends on the training that it is read from: learning rate and number of steps."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from dashboard.palette import SEQUENTIAL, WINNER, style_figure
from dashboard.wording import format_noun, format_number
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
        customdata=[[_describe(cells.get((rate, step))) for step in steps] for rate in rates],
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


def _describe(cell: SizeCell | None) -> str:
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
        customdata=[_describe(cell) for cell in summary.cells],
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
