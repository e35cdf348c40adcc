"""Every token of the vocabulary, and the story of those that are picked."""

from __future__ import annotations

import streamlit as st

from dashboard import loaders, session
from dashboard.components.csv_file import build_csv
from dashboard.components.pair_header import load_shown_comparison, show_pair_line
from dashboard.components.token_story import show_token_story
from dashboard.components.token_table import (
    TokenFilterError,
    build_display,
    clear_picked_tokens,
    filter_tokens,
    show_token_filter,
    show_token_table,
)
from dashboard.loaders import Comparison, SelectedTicket
from dashboard.wording import escape_markdown, format_noun
from kslottery_core.errors import KSLotteryError

_MOST_STORIES = 6


def render() -> None:
    """Show the table with its filters, then the picked tokens."""
    st.title("Every token")
    comparison = load_shown_comparison()
    if comparison is None:
        return
    show_pair_line(comparison)
    selection = loaders.load_selection(comparison, session.get_choice().alpha)
    table = loaders.load_token_table(comparison)
    table = table.assign(winner=selection.winners[table["token_id"].to_numpy()])
    wanted = show_token_filter(table)
    try:
        shown = filter_tokens(table, wanted)
    except TokenFilterError as problem:
        st.error(escape_markdown(str(problem)))
        return
    if len(shown):
        show_token_table(shown, len(table))
    else:
        st.info("No token passes the search and the filters. Clear the search or switch a filter off.")
    st.download_button(
        "All tokens as CSV",
        data=lambda: build_csv(build_display(table)),
        file_name="tokens.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="tokens_csv",
    )
    _show_stories(comparison, selection)


def _show_stories(comparison: Comparison, selection: SelectedTicket) -> None:
    picked = session.get_choice().token_ids
    absent = [token_id for token_id in picked if token_id >= comparison.result.vocabulary_size]
    if absent:
        st.warning(
            f"Token {absent[0]:,} is not in this pair; its ids end at {comparison.result.vocabulary_size - 1:,}."
        )
        session.set_tokens([token_id for token_id in picked if token_id not in absent])
    present = [token_id for token_id in picked if token_id not in absent]
    if not present:
        st.info("Tick one or several rows of the table to see how the values of their embeddings moved.")
        return
    heading, clear = st.columns([5, 1], vertical_alignment="bottom")
    heading.subheader(f"{format_noun(len(present), 'token')} picked")
    clear.button("Clear", on_click=clear_picked_tokens, icon=":material/close:", key="clear_tokens")
    if len(present) > _MOST_STORIES:
        st.caption(f"The first {_MOST_STORIES} of them are shown in full.")
    for token_id in present[:_MOST_STORIES]:
        try:
            show_token_story(comparison, selection, token_id)
        except KSLotteryError as problem:
            st.error(escape_markdown(str(problem)))
