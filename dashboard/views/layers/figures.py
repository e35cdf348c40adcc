"""The picture of a whole-model scan: one cell a matrix, layers from left to right, kinds of matrices from top down."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from dashboard.palette import GRID, MARK, NEUTRAL, SEQUENTIAL, escape_text, style_figure
from dashboard.wording import MEASURE_NAMES, format_number, format_share
from kslottery_core.ks import format_statistic
from kslottery_core.tickets import compute_adjusted_p_values

if TYPE_CHECKING:
    from kslottery_core.scans import ScanEntry, SkippedParameter


@dataclass(frozen=True)
class MatrixNumbers:
    """One compared matrix at one alpha. Units are its rows or columns; `least_count` is None when no count wins.
    `least_level` is the least alpha at which a unit wins.

    `median_l2_shift` is None when it was not measured.
    """

    parameter: str
    layer: int | None
    matrix: str
    units: int
    width: int
    changed: int
    winners: int
    least_count: int | None
    least_level: float
    largest_statistic: float
    median_statistic: float
    median_l2_shift: float | None
    seconds: float | None

    def get_measure(self, measure: str) -> float | None:
        """The value of one of `MEASURE_NAMES`; None when it was not measured."""
        return {
            "share": self.winners / self.units,
            "largest": self.largest_statistic,
            "median": self.median_statistic,
            "shift": self.median_l2_shift,
        }[measure]


@dataclass(frozen=True)
class ScanNumbers:
    """What a scan found, in four numbers."""

    compared: int
    changed: int
    units: int
    winners: int


def summarise_entry(
    entry: ScanEntry, significance_level: float, correction: str = "none", p_value_method: str = "exact"
) -> MatrixNumbers:
    """One matrix judged at alpha; a correction is for the tests of this matrix alone. Raises TicketError."""
    histogram = entry.histogram
    adjusted = compute_adjusted_p_values(histogram, correction, p_value_method)
    winning = np.flatnonzero(adjusted <= significance_level)
    return MatrixNumbers(
        parameter=entry.parameter,
        layer=entry.layer,
        matrix=entry.matrix,
        units=entry.units,
        width=entry.width,
        changed=entry.changed,
        winners=int(histogram[winning].sum()),
        least_count=int(winning[0]) if winning.size else None,
        least_level=float(adjusted[entry.largest_count]),
        largest_statistic=entry.largest_statistic,
        median_statistic=entry.median_statistic,
        median_l2_shift=entry.median_l2_shift,
        seconds=entry.seconds,
    )


def summarise_scan(matrices: Sequence[MatrixNumbers]) -> ScanNumbers:
    """Add up all compared matrices."""
    return ScanNumbers(
        compared=len(matrices),
        changed=sum(numbers.changed > 0 for numbers in matrices),
        units=sum(numbers.units for numbers in matrices),
        winners=sum(numbers.winners for numbers in matrices),
    )


def find_least_winning_level(matrices: Sequence[MatrixNumbers]) -> float | None:
    """The least alpha at which any unit of any matrix wins; None when nothing moved."""
    return min((numbers.least_level for numbers in matrices if numbers.largest_statistic > 0), default=None)


_USUAL_ORDER = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_CELL = 0.9  # of the room a cell has; the rest is the gap between cells
_STRIP_GAP = 0.5
_FAINT = "rgba(138, 143, 152, 0.12)"


@dataclass(frozen=True)
class LayerCell:
    """One matrix. `value` is None where nothing was measured."""

    parameter: str
    layer: int | None
    row: str
    state: str  # "measured", "zero", "unchanged", "skipped" or "pending"
    value: float | None
    lines: tuple[str, ...]


@dataclass(frozen=True)
class LayerMap:
    """Cells of one measure; `rows` are kinds of matrices, `strip` the parameters without a layer number."""

    measure: str
    unit: str
    layers: tuple[int, ...]
    rows: tuple[str, ...]
    strip: tuple[str, ...]
    cells: tuple[LayerCell, ...]


def summarise_layers(
    matrices: Sequence[MatrixNumbers],
    skipped: Sequence[SkippedParameter] = (),
    pending: Mapping[str, tuple[int | None, str]] | None = None,
    *,
    measure: str = "share",
    unit: str = "row",
) -> LayerMap:
    """Place every matrix in its layer and row; what was `skipped` and what is `pending` (layer, matrix) too.

    Two matrices that would share a cell (an encoder and a decoder) get rows of their own, told apart by their names.
    """
    pending = pending or {}
    crowds = Counter((record.layer, record.matrix) for record in (*matrices, *skipped))
    crowds.update(pending.values())
    crowded = {matrix for (_, matrix), amount in crowds.items() if amount > 1}

    def name_row(parameter: str, layer: int | None, matrix: str) -> str:
        if layer is None:
            return parameter.removesuffix(".weight")
        if matrix not in crowded:
            return matrix
        return ".".join("*" if part == str(layer) else part for part in parameter.removesuffix(".weight").split("."))

    cells = []
    for numbers in matrices:
        row = name_row(numbers.parameter, numbers.layer, numbers.matrix)
        value = numbers.get_measure(measure)
        state = "measured"
        if not numbers.changed:
            state = "unchanged"
        elif value is None:
            state = "skipped"
        elif value == 0:
            state = "zero"
        cells.append(LayerCell(numbers.parameter, numbers.layer, row, state, value, _describe(numbers, unit)))
    for record in skipped:
        row = name_row(record.parameter, record.layer, record.matrix)
        lines = ("Cannot be compared", record.skipped)
        cells.append(LayerCell(record.parameter, record.layer, row, "skipped", None, lines))
    for parameter, (layer, matrix) in pending.items():
        row = name_row(parameter, layer, matrix)
        cells.append(LayerCell(parameter, layer, row, "pending", None, ("Not scanned yet",)))
    return LayerMap(
        measure=measure,
        unit=unit,
        layers=tuple(sorted({cell.layer for cell in cells if cell.layer is not None})),
        rows=tuple(sorted({cell.row for cell in cells if cell.layer is not None}, key=_order_row)),
        strip=tuple(dict.fromkeys(cell.row for cell in cells if cell.layer is None)),
        cells=tuple(cells),
    )


def _order_row(row: str) -> tuple[str, int, str]:
    """The usual order of a transformer's matrices inside each block, all others by name."""
    group, _, last = row.rpartition(".")
    attention_first = "" if "att" in group else group or "~"
    return (attention_first, _USUAL_ORDER.index(last) if last in _USUAL_ORDER else len(_USUAL_ORDER), row)


def _describe(numbers: MatrixNumbers, unit: str) -> tuple[str, ...]:
    units = f"{unit}s"
    shift = format_number(numbers.median_l2_shift, 4)
    return (
        f"{numbers.winners:,} of {numbers.units:,} {units} win ({format_share(numbers.winners, numbers.units)})",
        f"{numbers.changed:,} {units} changed" if numbers.changed else f"Unchanged: all {units} are the same",
        f"largest D {format_statistic(numbers.largest_statistic)}, "
        f"median D {format_statistic(numbers.median_statistic)}",
        f"median L2 shift {shift}, {numbers.width:,} values a {unit}",
    )


def layer_map_figure(summary: LayerMap, *, log_scale: bool = False, chosen: str | None = None) -> go.Figure:
    """Cells as coloured tiles; unchanged ones grey, zero ones hollow, those not compared hatched.

    Tiles are bars, which a click can choose; the parameter is their custom data. `chosen` gets a frame.
    """
    first = summary.layers[0] if summary.layers else 0
    # The strip stands on top: the embedding is where the model begins, and the layers' numbers stay below the layers.
    heights = {f"\0{row}": float(place) for place, row in enumerate(summary.strip)}
    start = len(summary.strip) + (_STRIP_GAP if summary.strip else 0.0)
    heights |= {row: start + place for place, row in enumerate(summary.rows)}
    figure = go.Figure()
    coloured = [cell for cell in summary.cells if cell.state == "measured" and cell.value is not None]
    scale = _choose_colours([float(cell.value or 0.0) for cell in coloured], summary.measure, log_scale)
    names = {
        "measured": MEASURE_NAMES[summary.measure],
        "zero": "Changed, none wins" if summary.measure == "share" else "Changed, but 0",
        "unchanged": "Unchanged",
        "skipped": "Cannot be compared",
        "pending": "Not scanned yet",
    }
    markers = {
        "measured": {"coloraxis": "coloraxis"},
        "zero": {"color": "rgba(0, 0, 0, 0)"},
        "unchanged": {"color": "rgba(138, 143, 152, 0.38)"},
        "skipped": {"color": _FAINT, "pattern": {"shape": "x", "fgcolor": NEUTRAL, "size": 7}},
        "pending": {"color": _FAINT},
    }
    for state, name in names.items():
        cells = [cell for cell in summary.cells if cell.state == state]
        if not cells:
            continue
        marker = dict(markers[state])
        if state == "measured":
            marker["color"] = [scale.place(float(cell.value or 0.0)) for cell in cells]
        # The darkest colours of the scale are nearly those of a dark ground.
        marker["line"] = {"color": NEUTRAL, "width": {"zero": 1.2, "skipped": 1.2, "measured": 0.6}.get(state, 0)}
        places = [_place(cell, heights, first) for cell in cells]
        figure.add_bar(
            x=[across for across, _ in places],
            y=[_CELL] * len(cells),
            base=[down - _CELL / 2 for _, down in places],
            width=_CELL,
            marker=marker,
            name=name,
            showlegend=state != "measured",
            customdata=[cell.parameter for cell in cells],
            hovertext=[_format_hover(cell) for cell in cells],
            hovertemplate="%{hovertext}<extra></extra>",
            selected={"marker": {"opacity": 1}},
            unselected={"marker": {"opacity": 1}},
        )
    for cell in summary.cells:
        if cell.parameter == chosen:
            across, down = _place(cell, heights, first)
            half = _CELL / 2
            frame = {"x0": across - half, "x1": across + half, "y0": down - half, "y1": down + half}
            figure.add_shape(type="rect", **frame, line={"color": MARK, "width": 3})
    _label_strip(figure, summary, heights, first)
    rows = len(summary.rows) + len(summary.strip)
    style_figure(
        figure,
        x_title="Layer" if summary.layers else "",
        y_title="",
        height=150 + 34 * max(rows, 2),
        barmode="overlay",
        bargap=0,
        coloraxis=scale.describe(MEASURE_NAMES[summary.measure]) if coloured else None,
        clickmode="event+select",
        dragmode=False,
    )
    figure.update_layout(margin={"l": 16, "r": 16, "t": 40, "b": 48})
    last = max(summary.layers[-1] if summary.layers else first, first + 8)
    step = _choose_step(last - first)
    numbered = [layer for layer in summary.layers if (layer - first) % step == 0]
    figure.update_xaxes(range=[first - 0.6, last + 0.6], showgrid=False, tickvals=numbered, fixedrange=True)
    figure.update_yaxes(
        range=[max(heights.values(), default=0) + 0.6, -0.6],
        tickvals=list(heights.values()),
        ticktext=[escape_text(row.removeprefix("\0")) for row in heights],
        showgrid=False,
        automargin=True,
        fixedrange=True,
    )
    if summary.rows and summary.strip:
        figure.add_hline(y=len(summary.strip) - 0.5 + _STRIP_GAP / 2, line={"color": GRID, "width": 1})
    return figure


def _place(cell: LayerCell, heights: Mapping[str, float], first: int) -> tuple[float, float]:
    """Where a tile's middle is: across and down."""
    return (first, heights[f"\0{cell.row}"]) if cell.layer is None else (cell.layer, heights[cell.row])


def _label_strip(figure: go.Figure, summary: LayerMap, heights: Mapping[str, float], first: int) -> None:
    """The strip has room beside its cells, so their numbers stand there in full."""
    cells = [cell for cell in summary.cells if cell.layer is None]
    if cells:
        figure.add_scatter(
            x=[first + 0.6] * len(cells),
            y=[heights[f"\0{cell.row}"] for cell in cells],
            mode="text",
            text=[escape_text(_describe_strip(cell, summary.measure)) for cell in cells],
            textposition="middle right",
            hoverinfo="skip",
            showlegend=False,
            name="Without a layer",
        )


def _describe_strip(cell: LayerCell, measure: str) -> str:
    if cell.state == "unchanged":
        return cell.lines[1]
    if cell.value is None or measure == "share":
        return cell.lines[0]
    return f"{MEASURE_NAMES[measure]} {format_number(cell.value)}"


def _format_hover(cell: LayerCell) -> str:
    lines = [f"<b>{escape_text(cell.parameter)}</b>"]
    return "<br>".join([*lines, *(escape_text(_wrap(line)).replace("\n", "<br>") for line in cell.lines)])


def _wrap(line: str, length: int = 70) -> str:
    return "\n".join(textwrap.wrap(line, length))


def _choose_step(span: int) -> int:
    """Every layer has its number as long as the numbers have room."""
    return next(step for step in (1, 2, 5, 10, 20, 50, 10**6) if span / step <= 36)


@dataclass(frozen=True)
class _ColourScale:
    least: float
    most: float
    is_log: bool
    is_share: bool

    def place(self, value: float) -> float:
        return math.log10(value) if self.is_log else value

    def describe(self, title: str) -> dict[str, object]:
        if self.is_log:
            powers = range(math.floor(self.least), math.ceil(self.most) + 1)
            ticks = [p + math.log10(m) for p in powers for m in ((1, 2, 5) if len(powers) < 4 else (1,))]
            ticks = [tick for tick in ticks if self.least - 1e-9 <= tick <= self.most + 1e-9]
            ends = [self.least, self.most] if len(ticks) < 2 else ticks
            places = {"tickvals": ends, "ticktext": [self._format(10**tick) for tick in ends]}
        else:
            ticks = np.linspace(self.least, self.most, 5).tolist()
            places = {"tickvals": ticks, "ticktext": [self._format(tick) for tick in ticks]}
        words = f"{title}<br>({'log' if self.is_log else 'linear'} scale)"
        edge = {"outlinecolor": NEUTRAL, "outlinewidth": 1}
        bar = {"title": {"text": words}, "thickness": 14, **edge, **places}
        return {"colorscale": SEQUENTIAL, "cmin": self.least, "cmax": self.most, "colorbar": bar}

    def _format(self, value: float) -> str:
        return f"{100 * value:.3g} %" if self.is_share else format_number(value)


def _choose_colours(values: Sequence[float], measure: str, log_scale: bool) -> _ColourScale:
    """A linear scale begins at 0; a log scale at the least value above 0, since it has no place for 0 itself."""
    most = max(values, default=1.0)
    if log_scale and values:
        least = min(values)
        low, high = math.log10(least), math.log10(most)
        return _ColourScale(low, high if high > low else low + 1, True, measure == "share")
    return _ColourScale(0.0, most, False, measure == "share")
