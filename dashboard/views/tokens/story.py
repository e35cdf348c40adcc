"""The stories of the picked tokens: which part of them is open, all of them in one picture, then each on its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st

from dashboard import state
from dashboard.loaders import Comparison, SelectedTicket
from dashboard.state import STORY_PARTS
from dashboard.views.tokens.coordinates import show_token_coordinates
from dashboard.views.tokens.neighbours import find_neighbours, show_token_neighbours
from dashboard.views.tokens.occurrences import find_occurrences, show_token_occurrences
from dashboard.views.tokens.overlay import show_token_overlay
from dashboard.views.tokens.table import clear_picked_tokens
from dashboard.views.tokens.tickets import find_tickets, show_token_tickets
from dashboard.views.tokens.values import show_token_values
from dashboard.wording import KIND_NAMES, escape_markdown, format_name, format_noun, format_token
from kslottery_core.errors import KSLotteryError

_MOST_STORIES = 6

ShowToken = Callable[[int], None]


def show_token_stories(comparison: Comparison, selection: SelectedTicket, *, has_rows: bool = True) -> None:
    """Show the picked tokens, or how to pick some from the table, if it `has_rows`.

    What is wrong with one of them is told in its own card.
    """
    picked = state.get_choice().token_ids
    absent = [token_id for token_id in picked if token_id >= comparison.result.vocabulary_size]
    if absent:
        st.warning(
            f"Token {absent[0]:,} is not in this pair; its ids end at {comparison.result.vocabulary_size - 1:,}."
        )
        state.choose(token_ids=[token_id for token_id in picked if token_id not in absent])
    present = [token_id for token_id in picked if token_id not in absent]
    if not present:
        if has_rows:
            st.info("Tick one or several rows of the table to see how the values of their embeddings moved.")
        return
    heading, clear = st.columns([5, 1], vertical_alignment="bottom")
    heading.header(f"{format_noun(len(present), 'token')} picked")
    clear.button("Clear", on_click=clear_picked_tokens, icon=":material/close:", key="clear_tokens")
    part = _choose_part()
    if part in ("values", "coordinates") and len(present) > 1:
        try:
            show_token_overlay(comparison, selection, present)
        except KSLotteryError as problem:
            st.error(escape_markdown(str(problem)))
    shown = present[:_MOST_STORIES]
    if len(present) > len(shown):
        st.caption(f"The first {_MOST_STORIES} of them are shown in full.")
    try:
        show_token = _prepare(part, comparison, selection, shown)
    except KSLotteryError as problem:
        st.error(escape_markdown(str(problem)))
        return
    if show_token is None:
        return
    for token_id in shown:
        with st.container(border=True):
            _show_title(comparison, selection, token_id)
            try:
                show_token(token_id)
            except KSLotteryError as problem:
                st.error(escape_markdown(str(problem)))


def _choose_part() -> str:
    st.session_state["story_part"] = state.get_choice().story.part
    return st.segmented_control(
        "Part of the story",
        list(STORY_PARTS),
        format_func=STORY_PARTS.__getitem__,
        key="story_part",
        wrap=True,
        required=True,
        on_change=lambda: state.change("story", part=st.session_state["story_part"]),
    )


def _prepare(part: str, comparison: Comparison, selection: SelectedTicket, shown: Sequence[int]) -> ShowToken | None:
    """Find what a part needs for all shown tokens at once; returns what draws one of them, None where nothing can be.

    Raises KSLotteryError.
    """
    if part == "neighbours":
        return partial(show_token_neighbours, comparison, find_neighbours(comparison, shown))
    if part == "text":
        found = find_occurrences(comparison, shown)
        return None if found is None else partial(show_token_occurrences, found)
    if part == "tickets":
        return partial(show_token_tickets, comparison, selection, find_tickets(comparison, selection))
    return partial(show_token_coordinates if part == "coordinates" else show_token_values, comparison)


def _show_title(comparison: Comparison, selection: SelectedTicket, token_id: int) -> None:
    title, badge = st.columns([6, 1], vertical_alignment="center")
    kind = format_name(KIND_NAMES, comparison.pair.token_kinds[token_id]).lower()
    title.markdown(f"### {format_token(comparison.pair.tokens[token_id])} :gray[token {token_id}, {kind}]")
    if selection.winners[token_id]:
        badge.badge("Winner", icon=":material/star:", color="green")
    else:
        badge.badge("Not a winner", color="gray")
