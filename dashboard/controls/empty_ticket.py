"""What to say, and what to do, when no token wins."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import state
from dashboard.controls.navigation import show_link
from dashboard.loaders import Comparison, SelectedTicket
from dashboard.state import LARGEST_SIGNIFICANCE_LEVEL, LEAST_SIGNIFICANCE_LEVEL
from dashboard.wording import CORRECTION_NAMES, format_level, format_noun, format_number
from kslottery_core.ks import format_statistic
from kslottery_core.tickets.summary import find_least_level, limit_level


def show_no_statistic(comparison: Comparison) -> bool:
    """Say so where every D of a pair is 0, and lead to the other matrices; returns whether that is so."""
    result = comparison.result
    if result.counts.any():
        return False
    if result.changed_count == 0:
        st.warning(
            "**No row differs** between before and after: every D is 0, so no α and no number of tokens gives a "
            "ticket, and there is nothing to download or to tune. Choose another after checkpoint, or look at the "
            "other matrices."
        )
        show_link("layers", "See whether another matrix changed")
        return True
    st.info(
        f"**No token wins.** {format_noun(result.changed_count, 'row')} changed, but only in the order of their "
        "values, which D does not see: every D is 0, so no number of tokens and no α gives a ticket."
    )
    return True


def show_empty_ticket(comparison: Comparison, selection: SelectedTicket) -> None:
    """Explain an empty ticket and offer the least alpha that gives one; shows nothing when tokens win."""
    result, alpha = comparison.result, state.get_choice().alpha
    if selection.ticket.size or result.changed_count == 0:
        return
    if not result.counts.any():
        show_no_statistic(comparison)
        return
    corrected = f" with the correction {CORRECTION_NAMES[alpha.correction]}" if alpha.correction != "none" else ""
    st.info(
        f"**No token wins{corrected}.** That is a normal outcome: careful tuning moves rows only a little. "
        + _describe(comparison, selection)
    )
    level = find_first_level(selection)
    if level is not None and st.button(
        f"Set α to {format_number(level, 4)}", icon=":material/arrow_upward:", key="raise_alpha"
    ):
        state.set_alpha(significance_level=level)
        st.rerun()


def find_first_level(selection: SelectedTicket) -> float | None:
    """The least alpha that can be set and gives a ticket; None when none does."""
    return find_least_level(selection.curve, LEAST_SIGNIFICANCE_LEVEL, LARGEST_SIGNIFICANCE_LEVEL)


def _describe(comparison: Comparison, selection: SelectedTicket) -> str:
    """The least D that would win and the largest there is, then the least alpha that gives a ticket."""
    from kslottery_core.tickets import compute_least_count, round_up

    result, alpha = comparison.result, state.get_choice().alpha
    level = format_level(alpha.significance_level)
    least = compute_least_count(result, alpha.significance_level, alpha.correction, alpha.p_value_method)
    if least is None:
        seen = f"At α = {level} no D would win in rows of {format_noun(result.width, 'value')}."
    else:
        seen = (
            f"At α = {level} the least D that wins in rows of {format_noun(result.width, 'value')} is "
            f"{format_statistic(least / result.width)}; the largest D here is "
            f"{format_statistic(result.statistics.max())}."
        )
    if not len(selection.curve.sizes):
        return f"{seen} No α below 1 gives a token: take the tokens with the largest D instead."
    first, size = round_up(float(selection.curve.significance_levels[0])), int(selection.curve.sizes[0])
    return f"{seen} The least α that gives a ticket is {format_number(first, 4)} ({format_noun(size, 'token')})."


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
            on_click=state.set_alpha,
            kwargs={"significance_level": limited, **changes},
        )
