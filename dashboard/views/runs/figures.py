"""The picture of one run: its training loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from dashboard.palette import NEUTRAL, SERIES, style_figure

if TYPE_CHECKING:
    from kslottery_core.progress import ProgressEvent


@dataclass(frozen=True)
class LossCurve:
    """The training loss at the optimizer steps that reported one; `smoothed` is a running mean."""

    steps: tuple[int, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    total_steps: int


def summarise_loss(events: Sequence[ProgressEvent], *, keep: float = 0.85) -> LossCurve:
    """Take the loss out of a run's progress events; the running mean is corrected for its start."""
    reported = [event for event in events if event.phase == "tune" and event.loss is not None]
    smoothed, mean, weight = [], 0.0, 0.0
    for event in reported:
        mean = keep * mean + (1 - keep) * float(event.loss or 0.0)
        weight = keep * weight + (1 - keep)
        smoothed.append(mean / weight)
    return LossCurve(
        steps=tuple(event.step for event in reported),
        losses=tuple(float(event.loss or 0.0) for event in reported),
        smoothed=tuple(smoothed),
        total_steps=max((event.total for event in reported), default=0),
    )


def loss_curve_figure(summary: LossCurve) -> go.Figure:
    """Loss against optimizer step: each report as a thin line, the running mean as a thick one."""
    figure = go.Figure()
    figure.add_scatter(
        x=summary.steps,
        y=summary.losses,
        mode="lines+markers" if len(summary.steps) < 60 else "lines",
        line={"color": NEUTRAL, "width": 1},
        marker={"size": 4},
        name="Loss",
        hovertemplate="step %{x}: %{y:.4f}<extra>Loss</extra>",
    )
    figure.add_scatter(
        x=summary.steps,
        y=summary.smoothed,
        mode="lines",
        line={"color": SERIES[1], "width": 2.5},
        name="Running mean",
        hovertemplate="step %{x}: %{y:.4f}<extra>Running mean</extra>",
    )
    style_figure(figure, x_title="Optimizer step", y_title="Training loss (nats a token)", height=320)
    if summary.total_steps:
        figure.update_xaxes(range=[0, max(summary.total_steps, 1)])
    return figure
