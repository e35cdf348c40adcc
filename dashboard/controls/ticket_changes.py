"""Which tokens enter or leave the ticket: since alpha was last moved, and when it moves on."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard import loaders, state
from dashboard.loaders import Comparison, SelectedTicket
from dashboard.state import LARGEST_SIGNIFICANCE_LEVEL
from dashboard.state.rule import describe_ties
from dashboard.wording import escape_markdown, format_noun, format_number, format_token
from kslottery_core.ks import format_statistic
from kslottery_core.tickets import round_up
from kslottery_core.tickets.summary import summarise_change, summarise_neighbours, summarise_ranked_neighbours

_MOST_NAMED = 40
_NONE_LEFT = "nothing, since every token with a D above 0 is in the ticket."


def list_tokens(tokens: tuple[str, ...], token_ids: Sequence[int]) -> str:
    """Tokens as inline code, the first of them by name and the rest as a number."""
    named = " ".join(format_token(tokens[token_id]) for token_id in token_ids[:_MOST_NAMED])
    rest = len(token_ids) - _MOST_NAMED
    return f"{named} and {rest:,} more" if rest > 0 else named


def show_ticket_changes(comparison: Comparison, selection: SelectedTicket) -> None:
    """Show what changed since the last alpha, then the next tokens on both sides of the threshold."""
    choice, tokens = state.get_choice(), comparison.pair.tokens
    if choice.previous_alpha is not None:
        earlier = loaders.load_selection(comparison, choice.previous_alpha)
        change = summarise_change(comparison.result.counts, earlier.winners, selection.winners)
        rule = escape_markdown(state.describe_rule(choice.previous_alpha))
        st.markdown(f"**Since {rule}** ({format_noun(earlier.ticket.size, 'token')})")
        for token_ids, word in ((change.entered, "entered"), (change.left, "left")):
            if token_ids:
                st.markdown(f"{format_noun(len(token_ids), 'token')} {word}: {list_tokens(tokens, token_ids)}")
        if not (change.entered or change.left):
            st.markdown("No token entered or left.")
    _show_neighbours(comparison, selection)


def _show_neighbours(comparison: Comparison, selection: SelectedTicket) -> None:
    tokens, alpha = comparison.pair.tokens, state.get_choice().alpha
    if alpha.top_k is not None:
        _show_ranked_neighbours(comparison, selection)
        return
    level = alpha.significance_level
    neighbours = summarise_neighbours(selection.curve, comparison.result.counts, level)
    next_level = None if neighbours.next_level is None else round_up(neighbours.next_level)
    if next_level is not None and next_level <= LARGEST_SIGNIFICANCE_LEVEL:
        named = list_tokens(tokens, neighbours.entering)
        st.markdown(f"**Next to enter**, at α = {format_number(next_level, 4)}: {named}")
    elif selection.ticket.size == int((comparison.result.counts > 0).sum()):
        st.markdown(f"**Next to enter**: {_NONE_LEFT}")
    else:
        st.markdown(
            f"**Next to enter**: nothing up to the largest α that can be set ({LARGEST_SIGNIFICANCE_LEVEL:g}). The "
            "tokens that would follow can be taken by their number."
        )
    if neighbours.last_level is not None:
        named = list_tokens(tokens, neighbours.leaving)
        st.markdown(f"**First to leave**, below α = {format_number(neighbours.last_level, 4)}: {named}")


def _show_ranked_neighbours(comparison: Comparison, selection: SelectedTicket) -> None:
    result, tokens = comparison.result, comparison.pair.tokens
    neighbours = summarise_ranked_neighbours(result.counts, result.l2_shift, selection.winners)
    for title, token_id in (("Next to enter", neighbours.entering), ("First to leave", neighbours.leaving)):
        if token_id is not None:
            statistic = format_statistic(result.counts[token_id] / result.width)
            st.markdown(f"**{title}**, with D = {statistic}: {format_token(tokens[token_id])}")
        elif title == "Next to enter":
            st.markdown(f"**{title}**: {_NONE_LEFT}")
    if neighbours.tied > neighbours.taken:
        st.caption(describe_ties(neighbours, result.width))
