"""The picture of how D grows over the checkpoints of one or several trainings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from dashboard.palette import NEUTRAL, SERIES, escape_text, style_figure
from dashboard.views.checkpoints.figures import name_places

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
