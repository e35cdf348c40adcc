"""The map of all tokens as a picture of its own: their number by place, and the winners as points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from dashboard.palette import GRID, NEUTRAL, WINNER, escape_text, style_figure
from dashboard.wording import MAP_LOG, format_count, format_number, name_map_axis, shorten, title_map_axis

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS, _LINES = 96, 56
_WHOLE = ("frequency", "rank", "token_id")
_LEAST_TICKS = 3
_MOST_NAMES, _MOST_SHARED, _LONGEST_NAME = 12, 3, 14
_SIGN_WIDTH, _LINE_HEIGHT = 0.013, 0.06  # about what a sign takes of the picture's width, and a name of its height


@dataclass(frozen=True, eq=False)
class TokenMapSummary:
    """The `drawn` tokens counted by where they lie; each winner beside that as a point of its own.

    Places are values, or their logarithm to base 10 where `log_x`, and there 0 stands at `zero_place`. `density`
    (m, n) int64 counts the tokens that are not drawn as points between `y_edges` (m + 1,) and `x_edges` (n + 1,);
    `unplaced` tokens have no value to be placed by, `unplaced_winners` of them winners. `winner_count` tokens win;
    `winner_values` (w, 2) are the values of those drawn as points, `winner_places` (w, 2) their places, and
    `winner_names` (w,) what is written beside them, each at its one of `name_positions` (w,): nothing where another
    name stands in the way.
    """

    x: str
    y: str
    log_x: bool
    drawn: int
    unplaced: int
    winner_count: int
    unplaced_winners: int
    zero_place: float | None
    x_edges: np.ndarray
    y_edges: np.ndarray
    density: np.ndarray
    winner_ids: tuple[int, ...]
    winner_labels: tuple[str, ...]
    winner_values: np.ndarray
    winner_places: np.ndarray
    winner_names: tuple[str, ...]
    name_positions: tuple[str, ...]


def summarise_token_map(
    table: pd.DataFrame,
    counts: np.ndarray | None = None,
    *,
    x: str = "frequency",
    y: str = "statistic",
    log_x: bool = True,
    most_points: int | None = None,
) -> TokenMapSummary:
    """Count the rows of a token table with a column `winner`, in the order of D, by their place.

    `counts` (V,) are occurrences by token id; without them x "frequency" becomes the L2 shift. The table's index is
    the place in the order of D of all tokens, counted from 0. Of more than `most_points` winners the first become
    points.
    """
    across = x if x != "frequency" or counts is not None else "l2_shift"
    log_x = log_x and across in MAP_LOG
    x_values, y_values = _read_values(table, across, counts), _read_values(table, y, counts)
    x_places, zero_place = _place_logarithms(x_values) if log_x else (x_values, None)
    placed = np.isfinite(x_places) & np.isfinite(y_values)
    x_edges, y_edges = _spread_edges(x_places[placed], _COLUMNS), _spread_edges(y_values[placed], _LINES)
    winner = table["winner"].to_numpy(dtype=bool)
    wins = np.flatnonzero(winner & placed)[:most_points]
    shaded = placed.copy()
    shaded[wins] = False  # a shade beside its point would be taken for another token
    density, _, _ = np.histogram2d(y_values[shaded], x_places[shaded], bins=(y_edges, x_edges))
    labels = tuple(str(label) for label in table["token"].to_numpy()[wins])
    places = np.stack([x_places[wins], y_values[wins]], axis=1)
    names, positions = _choose_names(places, labels, x_edges, y_edges)
    return TokenMapSummary(
        x=across,
        y=y,
        log_x=log_x,
        drawn=int(placed.sum()),
        unplaced=int((~placed).sum()),
        winner_count=int(winner.sum()),
        unplaced_winners=int((winner & ~placed).sum()),
        zero_place=zero_place,
        x_edges=x_edges,
        y_edges=y_edges,
        density=density.astype(np.int64),
        winner_ids=tuple(int(token_id) for token_id in table["token_id"].to_numpy()[wins]),
        winner_labels=labels,
        winner_values=np.stack([x_values[wins], y_values[wins]], axis=1),
        winner_places=places,
        winner_names=names,
        name_positions=positions,
    )


def _choose_names(
    places: np.ndarray, labels: tuple[str, ...], x_edges: np.ndarray, y_edges: np.ndarray
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names for the first of the points, as far as they do not overlap, and where each stands; one spot shares one."""
    sharing: dict[tuple[float, ...], list[int]] = {}
    for place, key in enumerate(map(tuple, places.tolist())):
        sharing.setdefault(key, []).append(place)
    names, positions = [""] * len(labels), ["top center"] * len(labels)
    taken: list[tuple[float, float, float]] = []
    for (x, y), members in sharing.items():
        if len(taken) == _MOST_NAMES:
            break
        name = ", ".join(shorten(labels[place], _LONGEST_NAME) for place in members[:_MOST_SHARED])
        rest = len(members) - _MOST_SHARED
        name += f" and {rest:,} more" if rest > 0 else ""
        at, up = (float((value - edges[0]) / (edges[-1] - edges[0])) for value, edges in ((x, x_edges), (y, y_edges)))
        width = len(name) * _SIGN_WIDTH
        # Away from an edge that it would run over.
        position, start = "top center", at - width / 2
        if start < 0:
            position, start = "top right", at
        elif start + width > 1:
            position, start = "top left", at - width
        if any(start < end and begin < start + width and abs(up - line) < _LINE_HEIGHT for begin, end, line in taken):
            continue
        taken.append((start, start + width, up))
        names[members[0]], positions[members[0]] = name, position
    return tuple(names), tuple(positions)


def _read_values(table: pd.DataFrame, name: str, counts: np.ndarray | None) -> np.ndarray:
    if name == "frequency" and counts is not None:
        return counts[table["token_id"].to_numpy()].astype(np.float64)
    if name == "rank":
        return table.index.to_numpy(dtype=np.float64) + 1
    return table[name].to_numpy(dtype=np.float64)


def _place_logarithms(values: np.ndarray) -> tuple[np.ndarray, float | None]:
    """Logarithms to base 10, with a place of its own for 0, left of the least of them."""
    places = np.full(len(values), np.nan)
    positive = values > 0
    places[positive] = np.log10(values[positive])
    if not (values == 0).any():
        return places, None
    least, most = (places[positive].min(), places[positive].max()) if positive.any() else (0.0, 0.0)
    zero_place = float(least - max(0.08 * (most - least), 0.15))
    places[values == 0] = zero_place
    return places, zero_place


def _spread_edges(places: np.ndarray, bins: int) -> np.ndarray:
    low, high = (places.min(), places.max()) if len(places) else (0.0, 1.0)
    margin = 0.02 * (high - low) or 0.5
    return np.linspace(low - margin, high + margin, bins + 1)


def token_map_figure(summary: TokenMapSummary, counted: str = "training") -> go.Figure:
    """Shading for the number of other tokens (log scale), winners as points with their names on top.

    `counted` is the key of what a frequency counts (`FREQUENCY_NAMES`).
    """
    figure = go.Figure()
    across, up = (name_map_axis(axis, counted) for axis in (summary.x, summary.y))
    most = max(int(summary.density.max()), 1)
    # A power close to the largest number would stand in its way.
    powers = [*(10**power for power in range(len(str(most))) if 2 * 10**power <= most), most]
    amounts = summary.density.astype(np.float64)
    figure.add_heatmap(
        x=(summary.x_edges[:-1] + summary.x_edges[1:]) / 2,
        y=(summary.y_edges[:-1] + summary.y_edges[1:]) / 2,
        z=np.log10(np.where(amounts > 0, amounts, np.nan)),
        zmin=0,
        zmax=max(np.log10(most), 0.1),
        customdata=summary.density,
        colorscale=[[0, _make_transparent(0.25)], [1, _make_transparent(1)]],
        colorbar={
            "title": {"text": "Other tokens in a spot<br>(log scale)"},
            "tickvals": np.log10(powers).tolist(),
            "ticktext": [format_count(power) for power in powers],
        },
        hoverongaps=False,
        hovertemplate="%{customdata:,} other tokens in this spot<extra></extra>",
        name="Other tokens",
    )
    names = [escape_text(label) for label in summary.winner_labels]
    figure.add_scatter(
        x=summary.winner_places[:, 0],
        y=summary.winner_places[:, 1],
        customdata=list(zip(names, summary.winner_ids, *_write_values(summary), strict=True)),
        mode="markers+text",
        marker={"color": WINNER, "size": 8, "line": {"width": 1, "color": "white"}},
        text=[escape_text(name) for name in summary.winner_names],
        textposition=list(summary.name_positions),
        cliponaxis=False,
        name=_name_winners(summary),
        showlegend=True,
        hovertemplate=(
            f"<b>%{{customdata[0]}}</b> (id %{{customdata[1]}})<br>{across} %{{customdata[2]}}"
            f"<br>{up} %{{customdata[3]}}<extra></extra>"
        ),
    )
    title = title_map_axis(summary.x, counted) + (" (log scale)" if summary.log_x else "")
    style_figure(figure, x_title=title, y_title=title_map_axis(summary.y, counted), height=460)
    if summary.log_x:
        _write_logarithms(figure, summary)
    if summary.y == "rank":
        figure.update_yaxes(autorange="reversed")
    return figure


def _name_winners(summary: TokenMapSummary) -> str:
    points, winners = len(summary.winner_ids), summary.winner_count
    return f"Winners: {winners:,}" if points == winners else f"{points:,} of {winners:,} winners drawn"


def _write_values(summary: TokenMapSummary) -> tuple[list[str], list[str]]:
    across, up = summary.winner_values.T
    return (
        [_write_value(summary.x, value) for value in across],
        [_write_value(summary.y, value) for value in up],
    )


def _write_value(name: str, value: float) -> str:
    return format_count(round(value)) if name in _WHOLE else format_number(value, 4)


def _write_logarithms(figure: go.Figure, summary: TokenMapSummary) -> None:
    """Ticks with the values themselves, and a dashed line between 0 and the rest."""
    low, high = summary.x_edges[0], summary.x_edges[-1]
    if summary.zero_place is not None:
        low = summary.zero_place + 0.075
    ticks = [
        (float(np.log10(value)), format_count(round(value)) if summary.x in _WHOLE else format_number(value, 12))
        for value in _choose_ticks(low, high, whole=summary.x in _WHOLE)
    ]
    if summary.zero_place is not None:
        ticks.insert(0, (summary.zero_place, "0"))
        figure.add_vline(x=low, line={"color": GRID, "width": 1, "dash": "dash"})
    figure.update_xaxes(tickvals=[place for place, _ in ticks], ticktext=[text for _, text in ticks])


def _choose_ticks(low: float, high: float, *, whole: bool) -> list[float]:
    """Values between 10**low and 10**high: powers of ten, where those are few 1-2-5, else finer ones."""
    powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
    found: list[float] = []
    for factors in ((1,), (1, 2, 5), range(1, 10)):
        # Read as written, 0.3 is the number that its tick says; 3 * 10**-1 is not.
        values = [float(f"{factor}e{power}") for power in powers for factor in factors]
        found = [value for value in values if low <= np.log10(value) <= high and (value >= 1 or not whole)]
        if len(found) >= _LEAST_TICKS:
            return found
    digits = 1 - int(np.floor(np.log10(10**high - 10**low)))
    spread = np.unique(np.round(np.linspace(10**low, 10**high, 6)[1:-1], 0 if whole else digits))
    finer = [float(value) for value in spread if value > 0 and low <= np.log10(value) <= high]
    return max(found, finer, key=len)


def _make_transparent(opacity: float) -> str:
    red, green, blue = (int(NEUTRAL[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity:g})"
