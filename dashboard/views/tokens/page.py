"""Every token of the vocabulary, and the story of those that are picked."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import loaders, state
from dashboard.controls.alpha_control import show_alpha_control
from dashboard.controls.empty_ticket import show_no_statistic
from dashboard.controls.pair_header import load_shown_comparison, show_pair_line
from dashboard.controls.token_text import show_token_text
from dashboard.loaders import SelectedTicket
from dashboard.loaders.vocabulary import load_pair_counts
from dashboard.views.tokens.map import show_token_map
from dashboard.views.tokens.overlap import show_ticket_overlap
from dashboard.views.tokens.story import show_token_stories
from dashboard.views.tokens.table import show_token_downloads, show_token_filter, show_token_table
from dashboard.wording import escape_markdown
from kslottery_core.errors import KSLotteryError


def render() -> None:
    """Show the rule and the filters, what passes them as map and table, the picked tokens, and what tickets share."""
    st.title("Every token")
    comparison = load_shown_comparison()
    if comparison is None:
        return
    show_pair_line(comparison)
    if not show_no_statistic(comparison):
        show_alpha_control(comparison, compact=True)
    selection = loaders.load_selection(comparison, state.get_choice().alpha)
    spec = show_token_text(comparison)
    counts = None if spec is None else load_pair_counts(comparison, spec, state.get_choice().token_text.counted)
    table = _add_columns(loaders.load_token_table(comparison), selection, counts)
    has_rows = False
    try:
        shown = show_token_filter(comparison, table)
    except KSLotteryError as problem:
        st.error(escape_markdown(str(problem)))
    else:
        has_rows = len(shown) > 0
        show_token_map(comparison, selection, shown, counts)
        show_token_table(shown, len(table))
        show_token_downloads(table, shown)
    show_token_stories(comparison, selection, has_rows=has_rows)
    show_ticket_overlap(comparison, selection, counts)


def _add_columns(table: pd.DataFrame, selection: SelectedTicket, counts: np.ndarray | None) -> pd.DataFrame:
    """The token table with what depends on the rule and on the text."""
    token_ids = table["token_id"].to_numpy()
    table = table.assign(winner=selection.winners[token_ids])
    return table if counts is None else table.assign(frequency=counts[token_ids])
