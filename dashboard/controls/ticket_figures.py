"""Pictures of a whole vocabulary: how D is spread over the tokens, and how the ticket grows with alpha."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from dashboard.palette import MARK, NEUTRAL, WINNER, style_figure
from dashboard.wording import format_noun, format_number

if TYPE_CHECKING:
    from kslottery_core.ks import KSResult
    from kslottery_core.tickets import TicketCurve


_LEAST_SHOWN = 1e-14  # where the axis of alpha begins at the latest: a little below the least alpha one can choose


@dataclass(frozen=True)
class StatisticHistogram:
    """How many tokens have which D. Bins are [edges[i], edges[i + 1]) in D; `threshold` (D) lies on a bin edge."""

    edges: np.ndarray  # (n + 1,) float64
    others: np.ndarray  # (n,) int64
    winners: np.ndarray  # (n,) int64
    threshold: float | None
    unchanged: int


def summarise_statistics(
    histogram: np.ndarray, unchanged: int, least_count: int | None, *, bins: int = 60
) -> StatisticHistogram:
    """Group a histogram of counts (d + 1,) into about `bins` bins of D; tokens whose row did not change stay out.

    `least_count` is the least k that wins, None when none can; a bin edge falls on it, so no bin is half a winner.
    """
    width = len(histogram) - 1
    counts = histogram.astype(np.int64).copy()
    counts[0] -= min(unchanged, int(counts[0]))
    occupied = np.flatnonzero(counts)
    last = int(occupied[-1]) if occupied.size else 0
    if least_count is not None:
        last = max(last, min(least_count, width))
    step = max(1, -(-(last + 1) // bins))
    offset = 0 if least_count is None else least_count % step
    starts = np.arange(offset - step if offset else 0, last + 1, step)
    grouped = np.array([counts[max(start, 0) : start + step].sum() for start in starts], dtype=np.int64)
    wins = np.zeros(len(starts), dtype=bool) if least_count is None else starts >= least_count
    edges = np.append(starts, starts[-1] + step) / width
    return StatisticHistogram(
        edges=edges,
        others=np.where(wins, 0, grouped),
        winners=np.where(wins, grouped, 0),
        threshold=None if least_count is None else least_count / width,
        unchanged=unchanged,
    )


def summarise_result(result: KSResult, least_count: int | None) -> StatisticHistogram:
    """The histogram of a whole comparison, without the tokens whose row did not change."""
    return summarise_statistics(result.histogram, result.vocabulary_size - result.changed_count, least_count)


def statistic_histogram_figure(summary: StatisticHistogram, units: str = "tokens") -> go.Figure:
    """Bars of tokens (or other `units`) over D on a log axis; winners coloured, the threshold as a dashed line."""
    figure = go.Figure()
    starts, ends = summary.edges[:-1], summary.edges[1:]
    labels = [f"D from {max(start, 0):.4g} to below {end:.4g}" for start, end in zip(starts, ends, strict=True)]
    for name, amounts, colour in (("Others", summary.others, NEUTRAL), ("Winners", summary.winners, WINNER)):
        shown = amounts > 0
        figure.add_bar(
            x=starts[shown],
            y=amounts[shown],
            width=(ends - starts)[shown],
            offset=0,
            name=name,
            marker={"color": colour, "line": {"width": 0}},
            customdata=[label for label, keep in zip(labels, shown, strict=True) if keep],
            hovertemplate="%{customdata}<br>%{y:,} " + units + "<extra>" + name + "</extra>",
        )
    if summary.threshold is not None:
        has_room = summary.threshold < 0.6 * summary.edges[-1]
        figure.add_vline(
            x=summary.threshold,
            line={"color": WINNER, "dash": "dash", "width": 2},
            annotation={
                "text": f"wins from D = {format_number(summary.threshold)}",
                "xshift": 6 if has_room else -6,
            },
            annotation_position="top right" if has_room else "top left",
        )
    style_figure(
        figure,
        x_title="D, largest gap between the distributions (0 to 1)",
        y_title=f"{units.capitalize()} (log scale)",
        barmode="overlay",
        bargap=0,
    )
    figure.update_xaxes(range=[min(0.0, float(summary.edges[0])), float(summary.edges[-1])])
    # dtick 1 keeps the ticks at powers of ten: a log axis over one decade otherwise shows 2, 3, 4 without a unit.
    most = max(1, int(summary.others.max(initial=0)), int(summary.winners.max(initial=0)))
    # From below 1, or a bar of a single token would have no height.
    figure.update_yaxes(type="log", dtick=1, tickformat=",d", range=[np.log10(0.5), np.log10(most * 2.5)])
    return figure


_LOG_END = 0.05  # a little right of alpha = 1


@dataclass(frozen=True)
class TicketCurveSummary:
    """Ticket size at every alpha where it changes, and where the person stands."""

    significance_levels: np.ndarray  # (n,) float64, rising
    sizes: np.ndarray  # (n,) int64, rising
    significance_level: float
    size: int
    vocabulary_size: int


def summarise_ticket_curve(
    curve: TicketCurve, significance_level: float, size: int, vocabulary_size: int
) -> TicketCurveSummary:
    """The curve as a log axis can show it, thinned to at most 2,000 steps without moving its ends."""
    # A p of 0 has underflowed; a log axis has no place for it, so it stands at the smallest number above 0.
    levels, sizes = np.maximum(curve.significance_levels, np.finfo(float).tiny), np.asarray(curve.sizes)
    visible = (levels <= 1) & (sizes > 0)
    levels, sizes = levels[visible], sizes[visible]
    if len(levels) > 2000:
        kept = np.unique(np.linspace(0, len(levels) - 1, 2000).round().astype(int))
        levels, sizes = levels[kept], sizes[kept]
    return TicketCurveSummary(levels, sizes, significance_level, size, vocabulary_size)


def ticket_curve_figure(summary: TicketCurveSummary) -> go.Figure:
    """The ticket's size against alpha as exact steps on log axes; the present alpha is marked."""
    figure = go.Figure()
    least_shown = _LEAST_SHOWN
    if len(summary.significance_levels):
        levels, sizes = summary.significance_levels, summary.sizes
        figure.add_scatter(
            x=np.append(levels, 1.0),
            y=np.append(sizes, sizes[-1]),
            mode="lines",
            line={"shape": "hv", "color": WINNER, "width": 2.5},
            name="Tokens in the ticket",
            hovertemplate="from α = %{x:.3g}<br>%{y:,} tokens<extra></extra>",
        )
        least_shown = max(_LEAST_SHOWN, min(float(levels[0]), summary.significance_level) / 3)
    place = np.log10(summary.significance_level / least_shown) / (_LOG_END - np.log10(least_shown))
    is_right = place > 0.5
    figure.add_vline(x=summary.significance_level, line={"color": MARK, "dash": "dash", "width": 2})
    figure.add_scatter(
        x=[summary.significance_level],
        y=[max(summary.size, 0.5)],
        mode="markers+text",
        marker={"color": MARK, "size": 11, "symbol": "circle" if summary.size else "circle-open"},
        text=[f"α = {format_number(summary.significance_level)}: {format_noun(summary.size, 'token')}"],
        textposition="top left" if is_right else "top right",  # towards the middle, where there is room
        textfont={"size": 13},
        name="Present α",
        hoverinfo="skip",
    )
    style_figure(figure, x_title="α, the significance level (log scale)", y_title="Tokens in the ticket (log scale)")
    largest = max([summary.size, 1, *summary.sizes[-1:].tolist()])
    figure.update_xaxes(type="log", range=[np.log10(least_shown), _LOG_END], exponentformat="power", dtick=1)
    if np.log10(least_shown) < -8:
        figure.update_xaxes(dtick=2)
    figure.update_yaxes(type="log", range=[np.log10(0.4), np.log10(largest * 3)], dtick=1, tickformat=",d")
    return figure
