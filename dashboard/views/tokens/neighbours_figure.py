"""The neighbours of one token before and after, side by side: who stayed, who entered, who left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from dashboard.palette import AFTER, BEFORE, NEUTRAL, escape_text, style_figure
from dashboard.wording import format_noun, shorten

if TYPE_CHECKING:
    from kslottery_core.neighbours import Neighbours

CHANGE_NAMES = {"stayed": "Stayed", "entered": "Entered", "left": "Left"}

_ROW_HEIGHT = 30
_LONGEST_LABEL = 22
_GAP = "\u2002"  # between a label and its mark
_SYMBOLS = {"stayed": "circle", "entered": "triangle-up", "left": "x"}
_COLOURS = {"stayed": NEUTRAL, "entered": AFTER, "left": BEFORE}


@dataclass(frozen=True)
class NeighbourChange:
    """One neighbour; a rank (from 1) is None where it is not among the nearest of that side.

    `change` is "stayed", "entered" or "left". A cosine is None where one of the rows is zero on that side.
    """

    token_id: int
    rank_before: int | None
    rank_after: int | None
    cosine_before: float | None
    cosine_after: float | None
    change: str


@dataclass(frozen=True)
class NeighbourChanges:
    """Who is nearest before or after, in the order before, then those that entered. `count` were asked for."""

    count: int
    neighbours: tuple[NeighbourChange, ...]

    def list(self, change: str) -> tuple[NeighbourChange, ...]:
        """Those that "stayed", "entered" or "left"."""
        return tuple(neighbour for neighbour in self.neighbours if neighbour.change == change)


def summarise_neighbour_changes(
    before: Neighbours,
    after: Neighbours,
    count: int,
    other_before: Mapping[int, float] | None = None,
    other_after: Mapping[int, float] | None = None,
) -> NeighbourChanges:
    """Hold the nearest rows of both sides against each other.

    `other_before` and `other_after` are cosines of those that are among the nearest on the other side only.
    """
    sides = []
    for side, others in ((before, other_before), (after, other_after)):
        ids = side.token_ids.tolist()
        ranks = {token_id: rank for rank, token_id in enumerate(ids, start=1)}
        sides.append((ranks, dict(others or {}) | dict(zip(ids, side.cosines.tolist(), strict=True))))
    (ranks_before, cosines_before), (ranks_after, cosines_after) = sides
    return NeighbourChanges(
        count,
        tuple(
            NeighbourChange(
                token_id=token_id,
                rank_before=ranks_before.get(token_id),
                rank_after=ranks_after.get(token_id),
                cosine_before=cosines_before.get(token_id),
                cosine_after=cosines_after.get(token_id),
                change="entered"
                if token_id not in ranks_before
                else "left"
                if token_id not in ranks_after
                else "stayed",
            )
            for token_id in dict.fromkeys([*ranks_before, *ranks_after])
        ),
    )


def neighbour_figure(summary: NeighbourChanges, labels: Sequence[str]) -> go.Figure:
    """Ranks before on the left and after on the right, a line for each neighbour that stayed; `labels` are (V,)."""
    figure = go.Figure()
    for change, neighbours in ((change, summary.list(change)) for change in _SYMBOLS):
        x: list[float | None] = []
        y: list[int | None] = []
        text: list[str] = []
        hover: list[str] = []
        for neighbour in neighbours:
            for side, rank, cosine in (
                (0, neighbour.rank_before, neighbour.cosine_before),
                (1, neighbour.rank_after, neighbour.cosine_after),
            ):
                if rank is not None:
                    x.append(side)
                    y.append(rank)
                    label = escape_text(shorten(labels[neighbour.token_id], _LONGEST_LABEL))
                    text.append(f"{_GAP}{label}  {cosine:.3f}" if side else f"{cosine:.3f}  {label}{_GAP}")
                    hover.append(f"{label}, token {neighbour.token_id}: rank {rank}, cosine {cosine:.4f}")
            x.append(None)
            y.append(None)
            text.append("")
            hover.append("")
        if neighbours:
            figure.add_scatter(
                x=x,
                y=y,
                mode="lines+markers+text",
                line={"color": _COLOURS[change], "width": 1.5},
                marker={"size": 9, "color": _COLOURS[change], "symbol": _SYMBOLS[change]},
                text=text,
                textposition=["middle left" if side == 0 else "middle right" for side in x],
                customdata=hover,
                name=f"{CHANGE_NAMES[change]} ({len(neighbours)})",
                hovertemplate="%{customdata}<extra>" + CHANGE_NAMES[change] + "</extra>",
                cliponaxis=False,
            )
    style_figure(
        figure,
        x_title="Side of the pair",
        y_title="Rank by cosine, 1 for the nearest",
        height=150 + _ROW_HEIGHT * summary.count,
    )
    figure.update_xaxes(range=[-0.65, 1.65], tickvals=[0, 1], ticktext=["Before", "After"], showgrid=False)
    figure.update_yaxes(range=[summary.count + 0.6, 0.4], tickvals=list(range(1, summary.count + 1)), showgrid=False)
    return figure


def describe_neighbour_changes(summary: NeighbourChanges) -> str:
    """How many stayed, entered and left, in one sentence. Plain text."""
    if not summary.neighbours:
        return "This row is zero on both sides, so it points nowhere and has no neighbours."
    stayed, entered, left = (len(summary.list(change)) for change in _SYMBOLS)
    if not entered and not left:
        return f"The same {format_noun(stayed, 'token')} are nearest before and after."
    return (
        f"Of the {summary.count} nearest tokens before, {stayed or 'none'} are among the {summary.count} nearest "
        f"after; {format_noun(entered, 'token')} entered and {left} left."
    )
