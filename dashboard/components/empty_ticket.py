"""What to say, and what to do, when no token wins."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import session
from dashboard.figures import find_least_level, limit_level
from dashboard.loaders import Comparison, SelectedTicket
from dashboard.session import LARGEST_SIGNIFICANCE_LEVEL, LEAST_SIGNIFICANCE_LEVEL
from dashboard.wording import CORRECTION_NAMES, escape_markdown, format_noun, format_number


def show_empty_ticket(comparison: Comparison, selection: SelectedTicket) -> None:
    """Explain an empty ticket and offer the least alpha that gives one; shows nothing when tokens win."""
    result, alpha = comparison.result, session.get_choice().alpha
    if selection.ticket.size or result.changed_count == 0:
        return
    if alpha.top_k is not None:
        st.info(
            f"**No token wins.** {format_noun(result.changed_count, 'row')} changed, but only in the order of "
            "their values, which D does not see: every D is 0, so no number of tokens and no α gives a ticket."
        )
        return
    corrected = f" with the correction {CORRECTION_NAMES[alpha.correction]}" if alpha.correction != "none" else ""
    st.info(
        f"**No token wins{corrected}.** That is a normal outcome: careful tuning moves rows only a little. "
        + escape_markdown(selection.ticket.note or "")
    )
    level = find_least_level(selection.curve, LEAST_SIGNIFICANCE_LEVEL, LARGEST_SIGNIFICANCE_LEVEL)
    if level is not None and st.button(
        f"Set α to {format_number(level, 4)}", icon=":material/arrow_upward:", key="raise_alpha"
    ):
        session.set_alpha(significance_level=level)
        st.rerun()


def offer_level(level: float | None, key: str, **changes: Any) -> None:
    """A button that sets alpha to where something wins; nothing when no alpha that can be set does that.

    `changes` are other fields of the rule that are set with it.
    """
    limited = limit_level(level, LEAST_SIGNIFICANCE_LEVEL, LARGEST_SIGNIFICANCE_LEVEL)
    if limited is not None:
        st.button(
            f"Set α to {format_number(limited, 4)}",
            icon=":material/arrow_upward:",
            key=key,
            on_click=session.set_alpha,
            kwargs={"significance_level": limited, **changes},
        )
