"""A frozen summary in, a Plotly figure out. Nothing here knows Streamlit; builders end in `_figure`."""

from dashboard.figures.comparison import ScoreBars, find_score_end, score_bar_figure, summarise_scores
from dashboard.figures.run import LossCurve, loss_curve_figure, summarise_loss
from dashboard.figures.summary import (
    PairNumbers,
    RankedNeighbours,
    TicketChange,
    TicketNeighbours,
    TicketNumbers,
    find_least_level,
    limit_level,
    summarise_change,
    summarise_neighbours,
    summarise_pair,
    summarise_ranked_neighbours,
    summarise_ticket,
)
from dashboard.figures.ticket import (
    StatisticHistogram,
    TicketCurveSummary,
    statistic_histogram_figure,
    summarise_result,
    summarise_statistics,
    summarise_ticket_curve,
    ticket_curve_figure,
)
from dashboard.figures.token import (
    RowHistogram,
    row_histogram_figure,
    summarise_row_histogram,
    token_cdf_figure,
)

__all__ = [
    "LossCurve",
    "PairNumbers",
    "RankedNeighbours",
    "RowHistogram",
    "ScoreBars",
    "StatisticHistogram",
    "TicketChange",
    "TicketCurveSummary",
    "TicketNeighbours",
    "TicketNumbers",
    "find_least_level",
    "find_score_end",
    "limit_level",
    "loss_curve_figure",
    "row_histogram_figure",
    "score_bar_figure",
    "statistic_histogram_figure",
    "summarise_change",
    "summarise_loss",
    "summarise_neighbours",
    "summarise_pair",
    "summarise_ranked_neighbours",
    "summarise_result",
    "summarise_row_histogram",
    "summarise_scores",
    "summarise_statistics",
    "summarise_ticket",
    "summarise_ticket_curve",
    "ticket_curve_figure",
    "token_cdf_figure",
]
