"""Pictures of several after checkpoints against one before: winners in each and their overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboard.palette import NEUTRAL, SEQUENTIAL, SERIES, WINNER, escape_text, style_figure
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


_DASHES = ("solid", "dot", "dashdot", "longdash", "longdashdot")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x")
_ROUNDS = ("", "-open", "-dot", "-open-dot")  # rounds through the colours, told apart by the symbol


@dataclass(frozen=True)
class GrowthLines:
    """D of n tokens over A checkpoints. `places` (A,) are steps, or 1, 2, ... where steps are not known.

    `statistics[i]` (A,) belongs to token i. `trainings` are the places in these tuples, in the order of their steps,
    of the checkpoints of one training; where steps are not known every checkpoint stands alone. `thresholds` (A,) are
    the least winning D of each checkpoint, None where none suffices.
    """

    places: tuple[int, ...]
    has_steps: bool
    labels: tuple[str, ...]
    tokens: tuple[str, ...]
    statistics: tuple[tuple[float, ...], ...]
    thresholds: tuple[float | None, ...]
    trainings: tuple[tuple[int, ...], ...]
    training_names: tuple[str, ...]


def summarise_growth(
    labels: Sequence[str],
    steps: Sequence[int | None],
    groups: Sequence[str],
    tokens: Sequence[str],
    statistics: np.ndarray,
    thresholds: Sequence[float | None],
) -> GrowthLines:
    """Lay out D of some tokens, `statistics` (A, n); checkpoints of equal `groups` (A,) are one training.

    With two different steps known, checkpoints without one are left out; else all stand side by side without lines.
    When no two checkpoints are of one group, all are taken for one training, unless they share a step.
    """
    kept = [at for at, step in enumerate(steps) if step is not None]
    has_steps = len({steps[at] for at in kept}) >= 2
    if not has_steps:
        kept = list(range(len(labels)))
    labels, groups = [labels[at] for at in kept], [groups[at] for at in kept]
    places = tuple((steps[at] or 0) if has_steps else number for number, at in enumerate(kept, 1))
    if has_steps:
        if len(set(groups)) == len(groups) == len(set(places)):
            groups = [""] * len(groups)
        trainings = [
            tuple(sorted((at for at, group in enumerate(groups) if group == name), key=places.__getitem__))
            for name in dict.fromkeys(groups)
        ]
    else:
        trainings = [(at,) for at in range(len(labels))]
    return GrowthLines(
        places=places,
        has_steps=has_steps,
        labels=tuple(labels),
        tokens=tuple(tokens),
        statistics=tuple(tuple(float(value) for value in statistics[kept, at]) for at in range(len(tokens))),
        thresholds=tuple(thresholds[at] for at in kept),
        trainings=tuple(trainings),
        training_names=tuple(
            _name_training([labels[at] for at in one], [places[at] for at in one]) for one in trainings
        ),
    )


def _name_training(labels: Sequence[str], places: Sequence[int]) -> str:
    """What the labels of one training share, with * where the step stands."""
    if len(labels) == 1:
        return labels[0]
    names = {"*".join(label.rsplit(str(place), 1)) for label, place in zip(labels, places, strict=True)}
    return names.pop() if len(names) == 1 else f"{labels[0]} and {len(labels) - 1} more"


def growth_figure(summary: GrowthLines, *, log_steps: bool = False) -> go.Figure:
    """D of each token over the steps, a line a training, and the threshold; on a linear axis from D = 0 at step 0."""
    least = min(summary.places, default=0)
    use_log = log_steps and summary.has_steps and least > 0
    from_zero = summary.has_steps and not use_log and least > 0
    figure = go.Figure()
    for number, (token, values) in enumerate(zip(summary.tokens, summary.statistics, strict=True)):
        for place, training in enumerate(summary.trainings):
            names = [escape_text(summary.labels[at]) for at in training]
            figure.add_scatter(
                x=[0] * from_zero + [summary.places[at] for at in training],
                y=[0.0] * from_zero + [values[at] for at in training],
                mode="lines+markers" if summary.has_steps else "markers",
                line={"color": SERIES[number % len(SERIES)], **_style_training(place)},
                marker={
                    "size": 8,
                    "symbol": _SYMBOLS[place % len(_SYMBOLS) if summary.has_steps else 0]
                    + _ROUNDS[number // len(SERIES) % len(_ROUNDS)],
                },
                name=escape_text(token),
                legendgroup=f"token {number}",
                showlegend=place == 0,
                customdata=["before"] * from_zero + names,
                hovertemplate="%{customdata}: D = %{y:.4f}<extra>%{fullData.name}</extra>",
            )
    if summary.has_steps and len(summary.trainings) > 1:
        for place, name in enumerate(summary.training_names):
            figure.add_scatter(
                x=[None],
                y=[None],
                mode="lines+markers",
                line={"color": NEUTRAL, **_style_training(place)},
                marker={"size": 8, "symbol": _SYMBOLS[place % len(_SYMBOLS)]},
                name=escape_text(name),
                legend="legend2",
                hoverinfo="skip",
            )
    at_place = dict(zip(summary.places, summary.thresholds, strict=True))
    if any(threshold is not None for threshold in at_place.values()):
        figure.add_scatter(
            x=sorted(at_place),
            y=[at_place[place] for place in sorted(at_place)],
            mode="lines" if len(at_place) > 1 else "markers",
            line={"color": NEUTRAL, "dash": "dash", "width": 2},
            name="Wins from",
            hovertemplate="wins from D = %{y:.4f}<extra></extra>",
        )
    style_figure(
        figure,
        x_title=f"Training step ({'log' if use_log else 'linear'} scale)" if summary.has_steps else "",
        y_title="D, largest gap between the distributions",
        height=460,
        legend2={"orientation": "h", "yanchor": "bottom", "y": 1.1, "xanchor": "left", "x": 0},
    )
    if summary.has_steps and len(summary.trainings) > 1:
        figure.update_layout(margin={"t": 84})
    if not summary.has_steps:
        name_places(figure, "x", summary.labels, first=1)
    elif use_log:
        steps = sorted(set(summary.places))
        figure.update_xaxes(type="log", tickvals=steps, ticktext=[f"{step:,}" for step in steps])
    figure.update_yaxes(rangemode="tozero")
    return figure


def _style_training(place: int) -> dict[str, object]:
    return {"dash": _DASHES[place % len(_DASHES)], "width": 1.5 if place else 2.5}
