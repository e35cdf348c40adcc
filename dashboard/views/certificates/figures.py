"""Pictures of a certification: what is certified, and what holds, against alpha; margins beside bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from dashboard.palette import MARK, NEUTRAL, SERIES, style_figure
from dashboard.wording import CERTIFIED_KINDS, format_level, format_number

if TYPE_CHECKING:
    from kslottery_core.certification import Certification, Tally, TicketPoint

_ORANGE, _SKY, _BROWN = SERIES
_LEVEL_COLOURS = (_SKY, _ORANGE, _BROWN)
_LEVEL_SYMBOLS = ("circle", "square", "diamond", "triangle-up")
_LOG_TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_ODDS_TICKS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999)
_BINS_PER_DECADE = 15
_LEAST_SHOWN = 1e-3  # in the picture of margins: smaller ones are counted in the first bin


@dataclass(frozen=True)
class CurveLine:
    """One line over alpha; `kind` is "level", "agreement", "certified accuracy", "reference" or "partial"."""

    name: str
    kind: str
    shares: np.ndarray  # (n,) float64, 0 to 1


@dataclass(frozen=True)
class MarkedViolation:
    """Where on the curve of a level predictions were certified although the partial model differed."""

    significance_level: float
    share: float
    count: int
    title: str


@dataclass(frozen=True)
class CertificateCurve:
    """Shares of all `total` predictions or outputs (`unit` names them) at n alphas, rising, and the chosen alpha."""

    significance_levels: np.ndarray  # (n,) float64
    ticket_sizes: np.ndarray  # (n,) int64
    lines: tuple[CurveLine, ...]
    violations: tuple[MarkedViolation, ...]
    chosen: float | None
    total: int
    unit: str


def get_tally(point: TicketPoint, kind: str) -> Tally:
    """The counts of "predictions" or of "outputs"."""
    return point.predictions if kind == "predictions" else point.outputs


def is_on_curve(certification: Certification) -> bool:
    """Whether the chosen ticket is one of those that the curve runs through: of an alpha, with no correction."""
    ticket = certification.task.ticket
    return (
        ticket.rule == "alpha"
        and ticket.significance_level is not None
        and ticket.correction in (None, "none")
        and ticket.p_value_method in (None, "exact")
    )


def list_points(certification: Certification) -> list[TicketPoint]:
    """The grid by rising alpha, with the chosen ticket among it where it belongs to the curve."""
    points = {point.significance_level: point for point in certification.grid if point.significance_level is not None}
    if is_on_curve(certification):
        points.setdefault(certification.chosen.significance_level or 0.0, certification.chosen)
    return [points[level] for level in sorted(points)]


def summarise_certificates(certification: Certification, kind: str) -> CertificateCurve:
    """Shares of predictions or outputs at every alpha of the grid."""
    points = list_points(certification)
    tallies = [get_tally(point, kind) for point in points]

    def share(counts: list[int]) -> np.ndarray:
        return np.array(
            [count / tally.total if tally.total else 0.0 for count, tally in zip(counts, tallies, strict=True)]
        )

    lines, violations = [], []
    for level in certification.levels:
        counts = [tally.get_level(level.name) for tally in tallies]
        certified = share([count.certified for count in counts])
        lines.append(CurveLine(f"Certified: {level.title}", "level", certified))
        violations += [
            MarkedViolation(point.significance_level or 0.0, float(height), count.violations, level.title)
            for point, height, count in zip(points, certified, counts, strict=True)
            if count.violations
        ]
    last = certification.levels[-1]
    lines += [
        CurveLine("Agreement, measured", "agreement", share([tally.agreed for tally in tallies])),
        CurveLine(
            f"Certified ({last.title}) and equal to the reference translation",
            "certified accuracy",
            share([tally.get_level(last.name).correct for tally in tallies]),
        ),
        CurveLine(
            "Accuracy, embedding-tuned model", "reference", share([tally.reference_correct for tally in tallies])
        ),
        CurveLine("Accuracy, partial model", "partial", share([tally.partial_correct for tally in tallies])),
    ]
    return CertificateCurve(
        significance_levels=np.array([point.significance_level for point in points], dtype=float),
        ticket_sizes=np.array([point.ticket_size for point in points], dtype=np.int64),
        lines=tuple(lines),
        violations=tuple(violations),
        chosen=certification.chosen.significance_level if is_on_curve(certification) else None,
        total=get_tally(certification.chosen, kind).total,
        unit=kind,
    )


def is_anything_certified(tally: Tally) -> bool:
    """Whether any level certifies anything; the levels are not nested: each may certify what the others do not."""
    return any(level.certified for level in tally.levels)


def find_least_certifying_level(certification: Certification, kind: str) -> float | None:
    """The smallest alpha of the grid at which anything is certified at any level; None when there is none."""
    found = [point for point in list_points(certification) if is_anything_certified(get_tally(point, kind))]
    return found[0].significance_level if found else None


def certificate_curve_figure(summary: CertificateCurve, *, log_axis: bool = True) -> go.Figure:
    """Lines over alpha, on a log axis or on one of log odds, which is wide at both ends; violations are crosses."""
    figure = go.Figure()
    x = _place(summary.significance_levels, log_axis)
    sizes = [
        f"α = {format_level(level)}, {size:,} tokens"
        for level, size in zip(summary.significance_levels, summary.ticket_sizes, strict=True)
    ]
    levels = 0
    for line in summary.lines:
        look, marker = _LOOKS.get(line.kind), None
        if look is None:
            look = {"color": _LEVEL_COLOURS[levels % len(_LEVEL_COLOURS)], "width": 3}
            marker = {"symbol": _LEVEL_SYMBOLS[levels % len(_LEVEL_SYMBOLS)], "size": 8}
            levels += 1
        figure.add_scatter(
            x=x,
            y=line.shares,
            mode="lines" if marker is None else "lines+markers",
            line=look,
            marker=marker,
            name=line.name,
            customdata=sizes,
            hovertemplate="%{customdata}<br>%{y:.1%}<extra>" + line.name + "</extra>",
        )
    if summary.violations:
        figure.add_scatter(
            x=_place(np.array([mark.significance_level for mark in summary.violations]), log_axis),
            y=[mark.share for mark in summary.violations],
            mode="markers",
            marker={"symbol": "x", "size": 13, "color": MARK, "line": {"width": 1.5, "color": "white"}},
            name="Violations",
            customdata=[
                f"α = {format_level(mark.significance_level)}<br>{mark.count:,} certified ({mark.title}), yet different"
                for mark in summary.violations
            ],
            hovertemplate="%{customdata}<extra>Violations</extra>",
        )
    if summary.chosen is not None:
        place = float(_place(np.array([summary.chosen]), log_axis)[0])
        # Named in the legend: beside the line, other lines would cross the text.
        figure.add_scatter(
            x=[place, place],
            y=[-0.03, 1.05],
            mode="lines",
            line={"color": NEUTRAL, "dash": "longdash", "width": 2},
            name=f"Chosen: α = {format_number(summary.chosen)}",
            hoverinfo="skip",
        )
    style_figure(
        figure,
        x_title=f"α, the significance level ({'log scale' if log_axis else 'log-odds scale'})",
        y_title=f"Share of {CERTIFIED_KINDS[summary.unit].lower()} (%)",
        height=460,
    )
    ticks = _LOG_TICKS if log_axis else _ODDS_TICKS
    figure.update_xaxes(tickvals=_place(np.array(ticks), log_axis), ticktext=[f"{tick:g}" for tick in ticks])
    figure.update_yaxes(range=[-0.03, 1.05], tickformat=".0%")
    return figure


_LOOKS: dict[str, dict[str, object]] = {
    "agreement": {"color": _BROWN, "width": 2.5, "dash": "dash"},
    "certified accuracy": {"color": _ORANGE, "width": 2, "dash": "dot"},
    "reference": {"color": NEUTRAL, "width": 2, "dash": "longdashdot"},
    "partial": {"color": NEUTRAL, "width": 2, "dash": "dashdot"},
}


def _place(significance_levels: np.ndarray, log_axis: bool) -> np.ndarray:
    """Where an alpha stands on the picture's axis, which plotly is given as a linear one."""
    bounded = np.clip(significance_levels, 1e-15, 1.0)
    if log_axis:
        return np.log10(bounded)
    odds = np.clip(significance_levels, 1e-15, 1 - 1e-6)
    return np.log10(odds / (1 - odds))


@dataclass(frozen=True)
class MarginHistogram:
    """How many predictions have which margin, and which bound 2 * sum of D, counted in the same n bins.

    `without_bound` counts predictions with nothing left behind (bound 0), `tied` those with a margin of 0 or below, and
    `undefined` those without a margin; none of these is in a bin. `certain` is how many margins are above their bound.
    """

    edges: np.ndarray  # (n + 1,) float64
    margins: np.ndarray  # (n,) int64
    bounds: np.ndarray  # (n,) int64
    without_bound: int
    tied: int
    undefined: int
    certain: int
    total: int
    least_bound: float | None


def summarise_margins(margins: np.ndarray, bounds: np.ndarray) -> MarginHistogram:
    """Count margins (P,) and bounds (P,) in shared bins of equal width on a log axis; 1 is one of their edges."""
    defined = margins[~np.isnan(margins)]
    shown_margins, shown_bounds = defined[defined > 0], bounds[bounds > 0]
    both = np.maximum(np.concatenate([shown_margins, shown_bounds, [1.0]]), _LEAST_SHOWN)
    first, last = (_BINS_PER_DECADE * np.log10(end) for end in (both.min(), both.max()))
    # Powers of one ratio, so that 1 is an edge; a margin of exactly 1 is counted below it, where margins are.
    edges = 10.0 ** (np.arange(np.floor(first), max(np.floor(last), 0) + 2) / _BINS_PER_DECADE)
    shown_margins = np.minimum(shown_margins, np.nextafter(1.0, 0.0))
    counted = [np.histogram(np.maximum(values, edges[0]), bins=edges)[0] for values in (shown_margins, shown_bounds)]
    return MarginHistogram(
        edges=edges,
        margins=counted[0],
        bounds=counted[1],
        without_bound=int((bounds == 0).sum()),
        tied=int((defined <= 0).sum()),
        undefined=len(margins) - len(defined),
        certain=int((margins > bounds).sum()),
        total=len(margins),
        least_bound=float(bounds.min()) if len(bounds) else None,
    )


def margin_figure(summary: MarginHistogram) -> go.Figure:
    """Two outlines over one log axis: margins, which never exceed 1, and the bounds that they have to exceed."""
    figure = go.Figure()
    x = np.repeat(summary.edges, 2)
    for name, amounts, colour, pattern in (
        ("Margin: first choice minus second", summary.margins, _SKY, "solid"),
        ("Bound: twice the sum of D left behind", summary.bounds, _ORANGE, "dot"),
    ):
        figure.add_scatter(
            x=x,
            y=np.concatenate([[0], np.repeat(amounts, 2), [0]]),
            mode="lines",
            line={"color": colour, "width": 2.5, "dash": pattern},
            fill="tozeroy",
            fillcolor=_make_transparent(colour),
            name=name,
            hovertemplate="%{y:,} predictions near %{x:.3g}<extra>" + name + "</extra>",
        )
    figure.add_vline(x=1.0, line={"color": NEUTRAL, "dash": "dash", "width": 2})
    # On a log axis plotly wants a line where it is, and an annotation at its logarithm.
    figure.add_annotation(x=0.0, y=1.0, yref="paper", text="no margin is above 1", showarrow=False, yanchor="bottom")
    style_figure(figure, x_title="Margin, or bound, as a probability (log scale)", y_title="Next-token predictions")
    figure.update_xaxes(type="log", dtick=1 if summary.edges[0] < 0.05 else "D2", tickformat="~g")
    figure.update_yaxes(rangemode="tozero")
    return figure


def _make_transparent(colour: str) -> str:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.22)"
