"""Which tokens enter or leave the ticket: since alpha was last moved, and when it moves on."""

from __future__ import annotations

import numpy as np
import streamlit as st

from dashboard import loaders, session
from dashboard.loaders import AlphaChoice, Comparison, SelectedTicket
from dashboard.wording import CORRECTION_NAMES, format_noun, format_number, format_token

_MOST_NAMED = 40


def list_tokens(tokens: tuple[str, ...], token_ids: np.ndarray) -> str:
    """Tokens as inline code, the first of them by name and the rest as a number."""
    named = " ".join(format_token(tokens[token_id]) for token_id in token_ids[:_MOST_NAMED])
    rest = len(token_ids) - _MOST_NAMED
    return f"{named} and {rest:,} more" if rest > 0 else named


def order_by_shift(comparison: Comparison, mask: np.ndarray) -> np.ndarray:
    """Token ids of a mask (V,), largest D first."""
    token_ids = np.flatnonzero(mask)
    return token_ids[np.argsort(-comparison.result.counts[token_ids], kind="stable")]


def show_ticket_changes(comparison: Comparison, selection: SelectedTicket) -> None:
    """Show what changed since the last alpha, then the next tokens on both sides of the threshold."""
    choice, tokens = session.get_choice(), comparison.pair.tokens
    if choice.previous_alpha is not None:
        earlier = loaders.load_selection(comparison, choice.previous_alpha)
        entered = order_by_shift(comparison, selection.winners & ~earlier.winners)
        left = order_by_shift(comparison, earlier.winners & ~selection.winners)
        st.markdown(f"**Since {_describe_rule(choice.previous_alpha)}** ({format_noun(earlier.ticket.size, 'token')})")
        for token_ids, word in ((entered, "entered"), (left, "left")):
            if len(token_ids):
                st.markdown(f"{format_noun(len(token_ids), 'token')} {word}: {list_tokens(tokens, token_ids)}")
        if not (len(entered) or len(left)):
            st.markdown("No token entered or left.")
    _show_neighbours(comparison, selection)


def _describe_rule(alpha: AlphaChoice) -> str:
    text = f"α = {format_number(alpha.significance_level, 6)}"
    if alpha.correction != "none":
        text += f" with {CORRECTION_NAMES[alpha.correction]}"
    return text + (" by the paper's threshold" if alpha.p_value_method == "asymptotic" else "")


def _show_neighbours(comparison: Comparison, selection: SelectedTicket) -> None:
    curve, counts, tokens = selection.curve, comparison.result.counts, comparison.pair.tokens
    level = session.get_choice().alpha.significance_level
    place = int(np.searchsorted(curve.significance_levels, level, side="right"))  # steps already taken
    lines = []
    if place < len(curve.sizes):
        ceiling = int(curve.least_counts[place - 1]) if place else comparison.result.width + 1
        enters = order_by_shift(comparison, (counts >= curve.least_counts[place]) & (counts < ceiling))
        lines.append(
            f"**Next to enter**, at α = {format_number(float(curve.significance_levels[place]), 4)}: "
            + list_tokens(tokens, enters)
        )
    if place:
        ceiling = int(curve.least_counts[place - 2]) if place > 1 else comparison.result.width + 1
        leaves = order_by_shift(comparison, (counts >= curve.least_counts[place - 1]) & (counts < ceiling))
        lines.append(
            f"**First to leave**, below α = {format_number(float(curve.significance_levels[place - 1]), 4)}: "
            + list_tokens(tokens, leaves)
        )
    for line in lines:
        st.markdown(line)
