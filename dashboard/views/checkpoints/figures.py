"""Pictures of several after checkpoints against one before: winners in each and their overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboard.palette import NEUTRAL, SEQUENTIAL, WINNER, escape_text, style_figure
from dashboard.wording import NOT_DEFINED, format_share

if TYPE_CHECKING:
    from kslottery_core.tickets import Overlap

_MOST_NAMED_CELLS = 12  # a larger map of overlaps keeps its numbers in the hover


@dataclass(frozen=True)
class WinnerBars:
    """How many of V tokens win in each checkpoint; `thresholds` are the least winning D, None where none suffices."""

    labels: tuple[str, ...]
    winners: tuple[int, ...]
    thresholds: tuple[float | None, ...]
    vocabulary_size: int


@dataclass(frozen=True)
class TicketSharing:
    """In how many of the A tickets a token is. `numbers[n]` tokens are in exactly n of them, n = 0 .. A."""

    numbers: tuple[int, ...]

    @property
    def in_all(self) -> int:
        """Tokens in every ticket."""
        return self.numbers[-1]

    @property
    def in_one(self) -> int:
        """Tokens in exactly one ticket."""
        return self.numbers[1]

    @property
    def in_some(self) -> int:
        """Tokens in more than one ticket, not in all."""
        return sum(self.numbers[2:-1])


def summarise_sharing(overlap: Overlap) -> TicketSharing:
    """Count the tokens by the number of tickets that hold them."""
    numbers = np.bincount(overlap.holders, minlength=len(overlap.sizes) + 1)
    return TicketSharing(tuple(int(number) for number in numbers))


@dataclass(frozen=True)
class OverlapMap:
    """Jaccard of every two tickets, observed and expected of random tickets of their sizes; None is undefined."""

    labels: tuple[str, ...]
    sizes: tuple[int, ...]
    shared: tuple[tuple[int, ...], ...]
    observed: tuple[tuple[float | None, ...], ...]
    expected: tuple[tuple[float | None, ...], ...]


def summarise_overlap(labels: Sequence[str], overlap: Overlap) -> OverlapMap:
    """Take over an overlap's (A, A) arrays; NaN (two empty tickets) becomes None."""

    def read(matrix: np.ndarray) -> tuple[tuple[float | None, ...], ...]:
        return tuple(tuple(None if np.isnan(value) else float(value) for value in row) for row in matrix)

    return OverlapMap(
        labels=tuple(labels),
        sizes=tuple(overlap.sizes.tolist()),
        shared=tuple(tuple(row) for row in overlap.intersections.tolist()),
        observed=read(overlap.jaccard),
        expected=read(overlap.expected_jaccard),
    )


def winner_bar_figure(summary: WinnerBars) -> go.Figure:
    """One bar a checkpoint, in the order given."""
    figure = go.Figure()
    figure.add_bar(
        x=list(range(len(summary.labels))),
        y=summary.winners,
        marker={"color": WINNER},
        text=[f"{number:,}" for number in summary.winners],
        textposition="outside",
        cliponaxis=False,
        customdata=[
            f"<b>{escape_text(label)}</b><br>{number:,} of {summary.vocabulary_size:,} tokens win "
            f"({format_share(number, summary.vocabulary_size)})<br>"
            + ("no D suffices" if threshold is None else f"wins from D = {threshold:.4f}")
            for label, number, threshold in zip(summary.labels, summary.winners, summary.thresholds, strict=True)
        ],
        hovertemplate="%{customdata}<extra></extra>",
        name="Winners",
        showlegend=False,
    )
    style_figure(figure, x_title="", y_title="Winning tokens", height=340, bargap=0.45)
    figure.update_layout(margin={"t": 24})
    name_places(figure, "x", summary.labels)
    figure.update_yaxes(range=[0, max(1.15 * max(summary.winners, default=0), 1)], tickformat=",d")
    return figure


def overlap_figure(summary: OverlapMap) -> go.Figure:
    """Jaccard of every two tickets, observed on the left and expected by chance on the right, on one scale 0 to 1."""
    amount = len(summary.labels)
    names = ("Observed", "Expected by chance")
    figure = make_subplots(1, 2, subplot_titles=names, shared_yaxes=True, horizontal_spacing=0.03)
    hovers = [[_describe_overlap(summary, row, column) for column in range(amount)] for row in range(amount)]
    for place, (name, matrix) in enumerate(zip(names, (summary.observed, summary.expected), strict=True), 1):
        others = [[None if one == other else matrix[one][other] for other in range(amount)] for one in range(amount)]
        figure.add_heatmap(
            z=np.array(others, dtype=float).reshape(amount, amount),
            coloraxis="coloraxis",
            customdata=hovers,
            hovertemplate="%{customdata}<extra></extra>",
            hoverongaps=False,
            xgap=2,
            ygap=2,
            name=name,
            row=1,
            col=place,
        )
        if amount <= _MOST_NAMED_CELLS:
            _write_numbers(figure, matrix, place)
    cell = 46 if amount <= _MOST_NAMED_CELLS else 22
    style_figure(
        figure,
        x_title="",
        y_title="",
        height=170 + cell * max(amount, 3),
        coloraxis={"colorscale": SEQUENTIAL, "cmin": 0, "cmax": 1, "colorbar": {"title": "Jaccard", "thickness": 14}},
    )
    figure.update_layout(margin={"l": 16, "r": 16, "t": 40, "b": 16})
    name_places(figure, "x", summary.labels)
    name_places(figure, "y", summary.labels)
    figure.update_xaxes(showgrid=False, fixedrange=True)
    figure.update_yaxes(showgrid=False, range=[amount - 0.5, -0.5], fixedrange=True)
    return figure


def _write_numbers(figure: go.Figure, matrix: Sequence[Sequence[float | None]], place: int) -> None:
    """The numbers into the cells, dark on light colours and light on dark ones; beside the ground's colour, grey."""
    cells = [(row, column) for row in range(len(matrix)) for column in range(len(matrix)) if row != column]
    values = [matrix[row][column] for row, column in cells]
    figure.add_scatter(
        x=[column for _, column in cells],
        y=[row for row, _ in cells],
        mode="text",
        text=[_format_jaccard(value) for value in values],
        textfont={
            "size": 13,
            "color": [NEUTRAL if value is None else "#111111" if value > 0.55 else "#FFFFFF" for value in values],
        },
        hoverinfo="skip",
        showlegend=False,
        name="Numbers",
        row=1,
        col=place,
    )


def _format_jaccard(value: float | None) -> str:
    """Two digits in a cell; the hover and the table have the rest."""
    if value is None:
        return "–"
    return "<0.01" if 0 < value < 0.005 else f"{value:.2f}"


def _describe_overlap(summary: OverlapMap, row: int, column: int) -> str:
    observed, expected = summary.observed[row][column], summary.expected[row][column]
    lines = [
        f"<b>{escape_text(summary.labels[row])}</b>: {summary.sizes[row]:,} tokens",
        f"<b>{escape_text(summary.labels[column])}</b>: {summary.sizes[column]:,} tokens",
        f"{summary.shared[row][column]:,} in both",
        "Jaccard " + (NOT_DEFINED if observed is None else f"{observed:.4g}"),
        "expected by chance " + (NOT_DEFINED if expected is None else f"{expected:.4g}"),
    ]
    return "<br>".join(lines)


def name_places(figure: go.Figure, axis: str, labels: Sequence[str], *, first: int = 0) -> None:
    """Numbers as places and labels as their names: two checkpoints of one label stay two."""
    settings = {
        "tickvals": list(range(first, first + len(labels))),
        "ticktext": [escape_text(label if len(label) <= 28 else f"{label[:27]}…") for label in labels],
        "automargin": True,
    }
    if axis == "x":
        figure.update_xaxes(**settings)
    else:
        figure.update_yaxes(**settings)
