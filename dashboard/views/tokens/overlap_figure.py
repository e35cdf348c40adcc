"""Which tokens several sets share, and how many: summary and figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboard.palette import MARK, NEUTRAL, WINNER, escape_text, style_figure
from dashboard.wording import format_noun
from kslottery_core.tickets import compute_overlap

MOST_COLUMNS = 20
"""Combinations in the picture; a sentence tells how many tokens the rest hold."""

_EMPTY_DOT = "rgba(138, 143, 152, 0.28)"
_CLEAR = "rgba(0, 0, 0, 0)"
_ROW_HEIGHT = 30


@dataclass(frozen=True)
class OverlapSets:
    """S sets of tokens of a vocabulary of V; the first is the present ticket.

    `patterns` are the combinations that occur, most tokens first: which of the sets hold the tokens (S,), exactly
    these and no other; `counts` is how many tokens each has. Equal counts go by the sets' order. What is in no set is
    no combination.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    patterns: tuple[tuple[bool, ...], ...]
    counts: tuple[int, ...]
    vocabulary_size: int

    @property
    def union(self) -> int:
        """How many tokens are in at least one set."""
        return sum(self.counts)

    @property
    def left_out(self) -> tuple[int, int]:
        """How many combinations the picture leaves out, and how many tokens they hold."""
        return len(self.counts[MOST_COLUMNS:]), sum(self.counts[MOST_COLUMNS:])

    def name_pattern(self, pattern: Sequence[bool]) -> str:
        """The sets of a combination by name."""
        named = [name for name, held in zip(self.names, pattern, strict=True) if held]
        return f"only {named[0]}" if len(named) == 1 else " and ".join(named)


@dataclass(frozen=True)
class SetAgreement:
    """One set beside the present ticket; `jaccard` and `expected` are None for two empty sets."""

    name: str
    size: int
    shared: int
    jaccard: float | None
    expected: float | None


def summarise_overlap_sets(names: Sequence[str], masks: np.ndarray) -> OverlapSets:
    """Count the tokens of every combination; `masks` (S, V) bool say which tokens each set holds, S at most 62."""
    sizes = masks.sum(axis=1, dtype=np.int64)
    codes = np.zeros(masks.shape[1], dtype=np.int64)
    for row in masks:  # the first set is the highest bit, so that a larger code comes earlier in the sets' order
        codes = (codes << 1) | row
    found, counts = np.unique(codes[codes > 0], return_counts=True)
    order = np.lexsort((-found, -counts))
    bits = np.arange(len(names))[::-1]
    patterns = tuple(tuple(bool(int(code) >> int(bit) & 1) for bit in bits) for code in found[order])
    return OverlapSets(
        tuple(names), tuple(sizes.tolist()), patterns, tuple(counts[order].tolist()), int(masks.shape[1])
    )


def find_members(masks: np.ndarray, pattern: Sequence[bool]) -> np.ndarray:
    """Ids of the tokens that exactly these sets hold, ascending; `masks` (S, V) bool, `pattern` (S,)."""
    return np.flatnonzero((masks == np.asarray(pattern, dtype=bool)[:, None]).all(axis=0))


def summarise_agreement(names: Sequence[str], masks: np.ndarray) -> tuple[SetAgreement, ...]:
    """Every set but the first beside the first one; `masks` (S, V) bool."""
    found = []
    for name, mask in zip(names[1:], masks[1:], strict=True):
        overlap = compute_overlap(np.stack([masks[0], mask]))
        jaccard, expected = (float(values[0, 1]) for values in (overlap.jaccard, overlap.expected_jaccard))
        found.append(
            SetAgreement(
                name,
                int(overlap.sizes[1]),
                int(overlap.intersections[0, 1]),
                None if np.isnan(jaccard) else jaccard,
                None if np.isnan(expected) else expected,
            )
        )
    return tuple(found)


def overlap_sets_figure(summary: OverlapSets, chosen: int | None = None) -> go.Figure:
    """Bars above, dots below, sizes of the sets at the left; `chosen` is the column whose tokens are listed."""
    patterns = summary.patterns[:MOST_COLUMNS]
    sets, columns = len(summary.names), list(range(len(patterns)))
    figure = make_subplots(
        rows=2,
        cols=2,
        row_heights=[200, _ROW_HEIGHT * sets + 24],
        column_widths=[0.24, 0.76],
        shared_xaxes="columns",
        shared_yaxes="rows",
        vertical_spacing=0.04,
        horizontal_spacing=0.02,
    )
    _add_bars(figure, summary, columns, chosen)
    _add_dots(figure, patterns, sets)
    figure.add_bar(
        x=summary.sizes,
        y=list(range(sets)),
        orientation="h",
        marker={"color": [WINNER, *[NEUTRAL] * (sets - 1)]},
        text=[f"{size:,}" for size in summary.sizes],
        textposition="outside",
        textangle=0,
        cliponaxis=False,
        hovertext=[
            f"{escape_text(name)}: {format_noun(n, 'token')}"
            for name, n in zip(summary.names, summary.sizes, strict=True)
        ],
        hoverinfo="text",
        width=0.6,
        name="Size of each set",
        showlegend=False,
        row=2,
        col=1,
    )
    style_figure(figure, x_title="", y_title="", height=330 + _ROW_HEIGHT * sets, bargap=0.35, barmode="overlay")
    figure.update_layout(margin={"l": 16, "r": 16, "t": 40, "b": 56}, clickmode="event+select", dragmode=False)
    figure.update_xaxes(fixedrange=True, showgrid=False, range=[-0.6, max(len(columns), 4) - 0.4], row=1, col=2)
    figure.update_xaxes(
        fixedrange=True,
        showgrid=False,
        showticklabels=False,
        title_text="Combinations of sets, most tokens first",
        row=2,
        col=2,
    )
    figure.update_yaxes(title_text="Tokens in exactly these sets", fixedrange=True, rangemode="tozero", row=1, col=2)
    figure.update_yaxes(showticklabels=True, row=1, col=2)
    figure.update_xaxes(title_text="Tokens in the set", fixedrange=True, nticks=4, row=2, col=1)
    # Room for the numbers beside the bars.
    figure.update_xaxes(range=[0, 1.35 * max(1, *summary.sizes)], row=2, col=1)
    figure.update_xaxes(visible=False, row=1, col=1)
    figure.update_yaxes(visible=False, row=1, col=1, matches=None)
    figure.update_yaxes(showgrid=False, fixedrange=True, range=[sets - 0.4, -0.6], row=2)
    names = {"tickvals": list(range(sets)), "ticktext": [escape_text(_cut(name)) for name in summary.names]}
    figure.update_yaxes(automargin=True, **names, row=2, col=1)
    return figure


def _cut(name: str) -> str:
    return name if len(name) <= 34 else f"{name[:33]}…"


def _add_bars(figure: go.Figure, summary: OverlapSets, columns: Sequence[int], chosen: int | None) -> None:
    """A trace for each colour, so that the legend says what they mean; the chosen column has an edge."""
    for in_ticket, colour, name in ((True, WINNER, "In the present ticket"), (False, NEUTRAL, "Not in it")):
        places = [column for column in columns if summary.patterns[column][0] == in_ticket]
        figure.add_bar(
            x=places,
            y=[summary.counts[place] for place in places],
            width=0.62,
            marker={"color": colour},
            text=[f"{summary.counts[place]:,}" for place in places],
            textposition="outside",
            cliponaxis=False,
            hoverinfo="skip",
            name=name,
            showlegend=bool(places),
            row=1,
            col=2,
        )

    if chosen is not None and chosen in columns:
        figure.add_bar(
            x=[chosen],
            y=[summary.counts[chosen]],
            width=0.62,
            marker={"color": _CLEAR, "line": {"color": MARK, "width": 4}},
            hoverinfo="skip",
            name="Listed below",
            row=1,
            col=2,
        )
    # A bar of one token is too low to be clicked beside one of thousands, so the whole column can be.
    figure.add_bar(
        x=list(columns),
        y=[max(summary.counts, default=0)] * len(columns),
        customdata=list(columns),
        width=1,
        marker={"color": _CLEAR},
        selected={"marker": {"color": _CLEAR}},
        unselected={"marker": {"color": _CLEAR}},
        hovertext=[
            f"{format_noun(summary.counts[place], 'token')}: "
            + escape_text(summary.name_pattern(summary.patterns[place]))
            for place in columns
        ],
        hoverinfo="text",
        showlegend=False,
        name="Columns",
        row=1,
        col=2,
    )


def _add_dots(figure: go.Figure, patterns: Sequence[Sequence[bool]], sets: int) -> None:
    for column, pattern in enumerate(patterns):
        held = [row for row in range(sets) if pattern[row]]
        if len(held) > 1:
            figure.add_scatter(
                x=[column, column],
                y=[held[0], held[-1]],
                mode="lines",
                line={"color": WINNER if pattern[0] else NEUTRAL, "width": 3},
                hoverinfo="skip",
                showlegend=False,
                name="Sets of the combination",
                row=2,
                col=2,
            )
    cells = [(column, row) for column in range(len(patterns)) for row in range(sets)]
    figure.add_scatter(
        x=[column for column, _ in cells],
        y=[row for _, row in cells],
        customdata=[column for column, _ in cells],
        mode="markers",
        marker={
            "size": 12,
            "color": [
                _EMPTY_DOT if not patterns[column][row] else WINNER if patterns[column][0] else NEUTRAL
                for column, row in cells
            ],
        },
        unselected={"marker": {"opacity": 1}},
        hoverinfo="skip",
        showlegend=False,
        name="Dots",
        row=2,
        col=2,
    )
