"""Figures of picked tokens: distributions, shifts, several rows together, place among tickets, and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from dashboard.palette import AFTER, BEFORE, MARK, NEUTRAL, WINNER, choose_series_line, escape_text, style_figure
from dashboard.wording import format_noun, format_number, format_share
from kslottery_core.tickets.summary import limit_level

if TYPE_CHECKING:
    from kslottery_core.corpora import Occurrence, TokenOccurrences
    from kslottery_core.ks import CDFGap, KSResult
    from kslottery_core.tickets import TicketCurve


def token_cdf_figure(gap: CDFGap) -> go.Figure:
    """Exact steps of both distribution functions; the largest gap is a marked vertical bar."""
    figure = go.Figure()
    margin = 0.04 * float(gap.values[-1] - gap.values[0] or 1.0)
    x = np.concatenate([[gap.values[0] - margin], gap.values, [gap.values[-1] + margin]])
    # Before is the thicker line, so that it shows on both sides of After where the two agree.
    for name, levels, colour, thickness in (("Before", gap.before, BEFORE, 4), ("After", gap.after, AFTER, 1.75)):
        figure.add_scatter(
            x=x,
            y=np.concatenate([[0.0], levels, [1.0]]),
            mode="lines",
            line={"shape": "hv", "color": colour, "width": thickness},
            name=name,
            hovertemplate="%{y:.1%} of the values are at or below %{x:.4g}<extra>" + name + "</extra>",
        )
    if gap.count:
        figure.add_scatter(
            x=[gap.gap_value, gap.gap_value],
            y=[gap.gap_before, gap.gap_after],
            mode="lines+markers",
            line={"color": WINNER, "width": 4},
            marker={"size": 11, "color": WINNER, "symbol": "line-ew-open", "line": {"width": 3}},
            name=f"Gap D = {format_number(gap.statistic)}",
            hovertemplate=f"largest gap D = {gap.statistic:.4g} at %{{x:.4g}}<extra></extra>",
        )
    style_figure(figure, x_title="Value of a coordinate of the row", y_title="Share of coordinates at or below")
    figure.update_yaxes(range=[-0.02, 1.02], tickformat=".0%")
    return figure


@dataclass(frozen=True)
class RowHistogram:
    """The values of one row before and after, counted in the same bins."""

    edges: np.ndarray  # (n + 1,) float64
    before: np.ndarray  # (n,) int64
    after: np.ndarray  # (n,) int64


def summarise_row_histogram(before_row: np.ndarray, after_row: np.ndarray, bins: int = 40) -> RowHistogram:
    """Count two rows (d,) in shared bins over the range of both."""
    both = np.concatenate([before_row, after_row]).astype(np.float64)
    edges = np.histogram_bin_edges(both, bins=bins)
    before, _ = np.histogram(before_row, bins=edges)
    after, _ = np.histogram(after_row, bins=edges)
    return RowHistogram(edges, before, after)


def row_histogram_figure(summary: RowHistogram) -> go.Figure:
    """Two overlaid outlines, half transparent, so that neither hides the other."""
    figure = go.Figure()
    x = np.repeat(summary.edges, 2)
    for name, amounts, colour, thickness in (
        ("Before", summary.before, BEFORE, 4),
        ("After", summary.after, AFTER, 1.75),
    ):
        figure.add_scatter(
            x=x,
            y=np.concatenate([[0], np.repeat(amounts, 2), [0]]),
            mode="lines",
            line={"color": colour, "width": thickness},
            fill="tozeroy",
            fillcolor=_make_transparent(colour),
            name=name,
            hovertemplate="%{y} coordinates near %{x:.3g}<extra>" + name + "</extra>",
        )
    style_figure(figure, x_title="Value of a coordinate of the row", y_title="Number of coordinates")
    figure.update_yaxes(rangemode="tozero")
    return figure


def _make_transparent(colour: str) -> str:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.25)"


NAMED_COORDINATES = 5


@dataclass(frozen=True)
class NamedCoordinate:
    """One coordinate, counted from 0; `place` (from 0) is where it stands among the sorted shifts."""

    coordinate: int
    place: int
    before: float
    after: float
    shift: float


@dataclass(frozen=True, eq=False)
class CoordinateShifts:
    """Shifts (after - before) of all d coordinates of a row, smallest first, and whose they are.

    `largest` are the few furthest moved, furthest first; `largest_share` is their part of the squared L2 shift, and
    `half_count` the least number of coordinates that carry half of it. Both are None where nothing moved.
    """

    shifts: np.ndarray  # (d,) float64
    coordinates: np.ndarray  # (d,) int64
    largest: tuple[NamedCoordinate, ...]
    largest_share: float | None
    half_count: int | None
    l2_shift: float


def summarise_coordinate_shifts(
    before_row: np.ndarray, after_row: np.ndarray, named: int = NAMED_COORDINATES
) -> CoordinateShifts:
    """Sort the shifts of two rows (d,); equal ones stay in the order of their coordinates. Unmoved ones are not
    named."""
    shift = np.asarray(after_row, dtype=np.float64) - np.asarray(before_row, dtype=np.float64)
    order = np.argsort(shift, kind="stable")
    places = np.empty(len(shift), dtype=np.int64)
    places[order] = np.arange(len(shift))
    furthest = np.argsort(-np.abs(shift), kind="stable")
    furthest = furthest[: np.count_nonzero(shift)]
    # Shares first: squares of very small shifts would be lost.
    length = np.abs(shift).max(initial=0.0)
    squares = (shift[furthest] / length) ** 2 if length else np.empty(0)
    total = float(squares.sum())
    carried = np.cumsum(squares)
    return CoordinateShifts(
        shifts=shift[order],
        coordinates=order,
        largest=tuple(
            NamedCoordinate(int(at), int(places[at]), float(before_row[at]), float(after_row[at]), float(shift[at]))
            for at in furthest[:named]
        ),
        largest_share=float(carried[min(named, len(carried)) - 1] / total) if total else None,
        half_count=int(np.searchsorted(carried, 0.5 * total) + 1) if total else None,
        l2_shift=float(np.sqrt(total) * length),
    )


def coordinate_shift_figure(summary: CoordinateShifts) -> go.Figure:
    """Every coordinate's shift, from the furthest down to the furthest up; the named ones are marked."""
    figure = go.Figure()
    width = len(summary.shifts)
    figure.add_scatter(
        x=np.arange(1, width + 1),
        y=summary.shifts,
        mode="lines",
        line={"color": NEUTRAL, "width": 1.5, "shape": "hvh"},
        fill="tozeroy",
        fillcolor="rgba(138, 143, 152, 0.25)",
        customdata=summary.coordinates,
        name="All coordinates",
        hovertemplate="coordinate %{customdata}: shift %{y:.4g}<extra></extra>",
    )
    if summary.largest:
        figure.add_scatter(
            x=[named.place + 1 for named in summary.largest],
            y=[named.shift for named in summary.largest],
            mode="markers",
            marker={"size": 9, "color": MARK, "symbol": "diamond"},
            customdata=[[named.coordinate, named.before, named.after] for named in summary.largest],
            name=f"The {len(summary.largest)} furthest moved" if len(summary.largest) > 1 else "The furthest moved",
            hovertemplate="coordinate %{customdata[0]}: shift %{y:.4g}, from %{customdata[1]:.4g} to "
            "%{customdata[2]:.4g}<extra></extra>",
        )
    style_figure(
        figure,
        x_title=f"Place among the {width:,} coordinates, sorted by shift",
        y_title="Shift: value after minus value before",
    )
    figure.add_hline(y=0, line={"color": NEUTRAL, "width": 1})
    return figure


def describe_coordinate_shifts(summary: CoordinateShifts) -> str:
    """Which coordinates moved furthest and how much of the shift they carry. Plain text."""
    if summary.largest_share is None or summary.half_count is None:
        return "No coordinate of this row moved."
    width, few = len(summary.shifts), len(summary.largest)
    named = ", ".join(f"{one.coordinate:,} ({format_signed(one.shift)})" for one in summary.largest)
    moved = f"The {few} coordinates that moved furthest" if few > 1 else "The only coordinate that moved"
    return (
        f"{moved}, counted from 0: {named}. They carry {100 * summary.largest_share:.3g} % of the squared L2 shift; "
        f"evenly spread it would be {format_share(few, width)}. Half of it lies in "
        f"{format_noun(summary.half_count, 'coordinate')} of {width:,}."
    )


def format_signed(value: float) -> str:
    """A shift with its sign."""
    return f"{'+' if value > 0 else ''}{format_number(value)}"


MOST_OVERLAID = 7


@dataclass(frozen=True, eq=False)
class OverlaidToken:
    """One token's line in both pictures.

    `differences` (n,) is the share of coordinates at or below `values` (n,) after, minus that before; `gap_value` and
    `gap` say where and how large the gap D is, with its sign, both None where nothing differs. `shifts` (d,) are the
    coordinates' shifts, after - before, smallest first.
    """

    token_id: int
    label: str
    values: np.ndarray
    differences: np.ndarray
    gap_value: float | None
    gap: float | None
    shifts: np.ndarray

    @property
    def name(self) -> str:
        """The token as the legend names it: equal labels are told apart by their ids."""
        return f"{self.label} ({self.token_id})"


def summarise_overlaid_token(
    token_id: int, label: str, gap: CDFGap, before_row: np.ndarray, after_row: np.ndarray
) -> OverlaidToken:
    """Put what belongs to one token together; rows are (d,)."""
    return OverlaidToken(
        token_id=token_id,
        label=label,
        values=gap.values,
        # Both are whole numbers over d: as numbers of coordinates the difference is exact.
        differences=np.rint((gap.after - gap.before) * gap.width) / gap.width,
        gap_value=gap.gap_value if gap.count else None,
        gap=float(np.sign(gap.gap_after - gap.gap_before) * gap.count / gap.width) if gap.count else None,
        shifts=np.sort(np.asarray(after_row, dtype=np.float64) - np.asarray(before_row, dtype=np.float64)),
    )


def cdf_difference_figure(tokens: Sequence[OverlaidToken]) -> go.Figure:
    """Steps of after minus before for each token; a diamond marks where the gap D is largest."""
    figure = go.Figure()
    low = min(float(token.values[0]) for token in tokens)
    high = max(float(token.values[-1]) for token in tokens)
    margin = 0.04 * (high - low or 1.0)
    for place, token in enumerate(tokens):
        name, look = escape_text(token.name), choose_series_line(place)
        figure.add_scatter(
            x=np.concatenate([[low - margin], token.values, [high + margin]]),
            y=np.concatenate([[0.0], token.differences, [0.0]]),
            mode="lines",
            line={"shape": "hv", "width": 1.75, **look},
            name=name,
            legendgroup=str(token.token_id),
            hovertemplate="%{y:+.1%} of the values at or below %{x:.4g}<extra>%{fullData.name}</extra>",
        )
        if token.gap is not None:
            figure.add_scatter(
                x=[token.gap_value],
                y=[token.gap],
                mode="markers",
                marker={
                    "size": 11,
                    "color": look["color"],
                    "symbol": "diamond",
                    "line": {"width": 1.5, "color": "white"},
                },
                name=name,
                legendgroup=str(token.token_id),
                showlegend=False,
                customdata=[f"largest gap D = {format_number(abs(token.gap), 4)}"],
                hovertemplate="%{customdata} at %{x:.4g}<extra>%{fullData.name}</extra>",
            )
    style_figure(
        figure,
        x_title="Value of a coordinate of the row",
        y_title="Share at or below: after minus before",
    )
    figure.add_hline(y=0, line={"color": NEUTRAL, "width": 1})
    figure.update_yaxes(tickformat=".0%")
    return figure


def sorted_shift_figure(tokens: Sequence[OverlaidToken]) -> go.Figure:
    """The shifts of every token's coordinates, smallest first, one line a token."""
    figure = go.Figure()
    for place, token in enumerate(tokens):
        name = escape_text(token.name)
        figure.add_scatter(
            x=np.arange(1, len(token.shifts) + 1),
            y=token.shifts,
            mode="lines",
            line={"width": 1.75, **choose_series_line(place)},
            name=name,
            hovertemplate="shift %{y:.4g} at place %{x:,}<extra>%{fullData.name}</extra>",
        )
    width = max(len(token.shifts) for token in tokens)
    style_figure(
        figure,
        x_title=f"Place among the {width:,} coordinates, sorted by shift",
        y_title="Shift: value after minus value before",
    )
    figure.add_hline(y=0, line={"color": NEUTRAL, "width": 1})
    return figure


@dataclass(frozen=True)
class TokenPlace:
    """Ranks count from 1, equal values share the better one; `..._shared` is how many other tokens have it too.

    `least_level` is the least alpha at which the token wins, rounded up so that typing it has its effect; `least_size`
    is how many tokens with the largest D have to be taken for it to be among them. Both are None where there is none.
    """

    statistic_rank: int
    statistic_shared: int
    shift_rank: int
    shift_shared: int
    least_level: float | None
    least_size: int | None


def summarise_place(result: KSResult, curve: TicketCurve, token_id: int, least: float, largest: float) -> TokenPlace:
    """Ranks of a token by D and by L2 shift, and its entry by the rule of `curve`; alpha is from `least` to
    `largest`."""
    counts, shifts = result.counts, result.l2_shift
    count, shift = counts[token_id], shifts[token_id]
    equal = counts == count
    entering = np.flatnonzero(curve.least_counts <= count) if count else np.empty(0, dtype=np.int64)
    level = float(curve.significance_levels[entering[0]]) if entering.size else None
    # Equal D is broken as in the top-k rule: larger L2 shift first, then the smaller id.
    ahead = (counts > count) | (equal & ((shifts > shift) | ((shifts == shift) & (np.arange(len(counts)) < token_id))))
    return TokenPlace(
        statistic_rank=1 + int((counts > count).sum()),
        statistic_shared=int(equal.sum()) - 1,
        shift_rank=1 + int((shifts > shift).sum()),
        shift_shared=int((shifts == shift).sum()) - 1,
        least_level=limit_level(level, least, largest),
        least_size=1 + int(ahead.sum()) if count else None,
    )


def describe_shared(shared: int) -> str | None:
    """How many other tokens have the same rank; None where none does. Plain text."""
    return f"shared with {shared:,} other{'s' if shared > 1 else ''}" if shared else None


_STYLE = f"""<style>
.ksl-sentences {{ list-style: none; margin: 0; padding: 0; }}
.ksl-sentences li {{ margin: 0 0 0.45rem 0; padding-left: 0.6rem; border-left: 3px solid rgba(138, 143, 152, 0.45);
  overflow-wrap: anywhere; line-height: 1.5; }}
.ksl-where {{ font-size: 0.8rem; opacity: 0.85; display: block; }}
.ksl-sentences mark {{ background: rgba(0, 158, 115, 0.28); color: inherit; border-bottom: 2px solid {WINNER};
  padding: 0 0.05em; white-space: pre-wrap; }}
</style>"""


def occurrences_figure(found: TokenOccurrences, side_names: Mapping[str, str]) -> str:
    """A list of the sentences, each with its line and side; every text in it is escaped."""
    items = "".join(f"<li>{_draw(shown, side_names)}</li>" for shown in found.shown)
    return f'{_STYLE}<ul class="ksl-sentences">{items}</ul>'


def _draw(shown: Occurrence, side_names: Mapping[str, str]) -> str:
    line = "" if shown.line is None else f"line {shown.line:,}, "
    side = side_names.get(shown.side, shown.side)
    return f'<span class="ksl-where">{escape(line + side)}</span><bdi>{mark_spans(shown)}</bdi>'


def mark_spans(shown: Occurrence) -> str:
    """The sentence as HTML; where several tokens share a character, it is marked once."""
    parts, at = [], 0
    for begin, end in shown.spans:
        if end == 0:
            parts.append("<mark>␣</mark>")
        begin = max(begin, at)
        if end > begin:
            parts.append(f"{escape(shown.text[at:begin])}<mark>{escape(shown.text[begin:end])}</mark>")
            at = end
    return "".join([*parts, escape(shown.text[at:])])
