"""How far each coordinate of one token's row moved: sorted, with the few that moved furthest named."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from dashboard.palette import MARK, NEUTRAL, style_figure
from dashboard.wording import format_noun, format_number, format_share

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
