"""Which tokens enter or leave the ticket: since alpha was last moved, and when it moves on."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard import loaders, session
from dashboard.figures import summarise_change, summarise_neighbours
from dashboard.loaders import AlphaChoice, Comparison, SelectedTicket
from dashboard.wording import CORRECTION_NAMES, format_noun, format_number, format_token
from kslottery_core.tickets import round_up

_MOST_NAMED = 40


def list_tokens(tokens: tuple[str, ...], token_ids: Sequence[int]) -> str:
    """Tokens as inline code, the first of them by name and the rest as a number."""
    named = " ".join(format_token(tokens[token_id]) for token_id in token_ids[:_MOST_NAMED])
    rest = len(token_ids) - _MOST_NAMED
    return f"{named} and {rest:,} more" if rest > 0 else named


def show_ticket_changes(comparison: Comparison, selection: SelectedTicket) -> None:
    """Show what changed since the last alpha, then the next tokens on both sides of the threshold."""
    choice, tokens = session.get_choice(), comparison.pair.tokens
    if choice.previous_alpha is not None:
        earlier = loaders.load_selection(comparison, choice.previous_alpha)
        change = summarise_change(comparison.result.counts, earlier.winners, selection.winners)
        st.markdown(f"**Since {_describe_rule(choice.previous_alpha)}** ({format_noun(earlier.ticket.size, 'token')})")
        for token_ids, word in ((change.entered, "entered"), (change.left, "left")):
            if token_ids:
                st.markdown(f"{format_noun(len(token_ids), 'token')} {word}: {list_tokens(tokens, token_ids)}")
        if not (change.entered or change.left):
            st.markdown("No token entered or left.")
    _show_neighbours(comparison, selection)


def _describe_rule(alpha: AlphaChoice) -> str:
    text = f"α = {format_number(alpha.significance_level, 6)}"
    if alpha.correction != "none":
        text += f" with {CORRECTION_NAMES[alpha.correction]}"
    return text + (" by the paper's threshold" if alpha.p_value_method == "asymptotic" else "")


def _show_neighbours(comparison: Comparison, selection: SelectedTicket) -> None:
    tokens, level = comparison.pair.tokens, session.get_choice().alpha.significance_level
    neighbours = summarise_neighbours(selection.curve, comparison.result.counts, level)
    for title, step, token_ids in (
        ("Next to enter**, at", neighbours.next_level and round_up(neighbours.next_level), neighbours.entering),
        ("First to leave**, below", neighbours.last_level, neighbours.leaving),
    ):
        if step is not None:
            st.markdown(f"**{title} α = {format_number(step, 4)}: {list_tokens(tokens, token_ids)}")
