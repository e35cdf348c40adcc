"""What to say, and what to do, when no token wins."""

from __future__ import annotations

import streamlit as st

from dashboard import session
from dashboard.loaders import Comparison, SelectedTicket
from dashboard.session import LARGEST_SIGNIFICANCE_LEVEL, LEAST_SIGNIFICANCE_LEVEL
from dashboard.wording import CORRECTION_NAMES, format_noun, format_number


def show_empty_ticket(comparison: Comparison, selection: SelectedTicket) -> None:
    """Explain an empty ticket and offer the least alpha that gives one; shows nothing when tokens win."""
    result, alpha = comparison.result, session.get_choice().alpha
    if selection.ticket.size or result.changed_count == 0:
        return
    level, width = format_number(alpha.significance_level, 6), result.width
    largest = format_number(float(result.statistics.max()))
    least = selection.ticket.least_count
    if least is None:
        reason = f"At α = {level} not even the largest possible D would win at width {width:,}."
    else:
        reason = (
            f"At α = {level} a token wins from D = {format_number(least / width)} on: less cannot be seen in rows of "
            f"{width:,} values. The largest D here is {largest}."
        )
    curve = selection.curve
    reachable = [
        (float(step), int(size))
        for step, size in zip(curve.significance_levels, curve.sizes, strict=True)
        if step < LARGEST_SIGNIFICANCE_LEVEL
    ][:1]
    corrected = f" with the correction {CORRECTION_NAMES[alpha.correction]}" if alpha.correction != "none" else ""
    if not reachable:
        st.info(
            f"**No token wins{corrected}.** {reason} No α below 1 gives a token"
            + (
                "; choose no correction on the Alpha page."
                if corrected
                else ": the rows moved too little to be told apart."
            )
        )
        return
    step, size = reachable[0]
    st.info(
        f"**No token wins{corrected}, and that is a normal outcome**: careful tuning moves rows only a little. "
        f"{reason} The least α that gives a ticket is {format_number(step)}, with {format_noun(size, 'token')}."
    )
    # A hair above the step: the address and the field round to six digits, and rounding down would win nothing.
    raised = min(LARGEST_SIGNIFICANCE_LEVEL, max(LEAST_SIGNIFICANCE_LEVEL, float(f"{step * 1.0001:.6g}")))
    if st.button(f"Set α to {format_number(step)}", icon=":material/arrow_upward:", key="raise_alpha"):
        session.set_alpha(significance_level=raised)
        st.rerun()
