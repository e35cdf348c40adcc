"""The one control of the ticket: by alpha or by a number of tokens, with a dial or a slider, a field, and the rule."""

from __future__ import annotations

import bisect
import math

import streamlit as st

from dashboard import loaders, state
from dashboard.controls.alpha_dial import show_alpha_dial
from dashboard.controls.empty_ticket import show_no_statistic
from dashboard.loaders import AlphaChoice, Comparison
from dashboard.state import LARGEST_SIGNIFICANCE_LEVEL, LEAST_SIGNIFICANCE_LEVEL
from dashboard.wording import (
    CORRECTION_NAMES,
    P_VALUE_METHOD_NAMES,
    escape_markdown,
    format_level,
    format_noun,
    shorten,
)

_PROBLEM = "kslottery.alpha_problem"
_SUGGESTED_TOKENS = 20  # where no token wins at the present alpha
_MODES = {"alpha": "By α", "top": "By number of tokens"}
_STOPS = (
    *(float(f"{mantissa}e{exponent}") for exponent in range(-12, 0) for mantissa in (1, 1.5, 2, 3, 5, 7)),
    *(0.8, 0.9, 0.95, 0.99, LARGEST_SIGNIFICANCE_LEVEL),
)


def list_stops(significance_level: float) -> list[float]:
    """The slider's stops, evenly spread over the powers of ten, with the present alpha among them."""
    stops = list(_STOPS)
    if not any(math.isclose(stop, significance_level, rel_tol=1e-9) for stop in stops):
        bisect.insort(stops, significance_level)
    return stops


def show_alpha_control(comparison: Comparison | None = None, *, with_rule: bool = True, compact: bool = False) -> None:
    """Show the controls; each writes the session's choice in a callback, before the page is drawn again.

    With a comparison this is the dial (`compact`: without its histogram, for pages that show something else), for alpha
    or for a number of tokens; where no token has a D above 0 nothing that can be set gives a ticket, so none is shown.
    Without a comparison it is a slider of alpha alone. Without `with_rule` correction and p-value are left out, where
    they change nothing.
    """
    if comparison is not None and not comparison.result.counts.any():
        if comparison.result.changed_count == 0:
            show_no_statistic(comparison)
        return
    if comparison is None:
        _show_slider(state.get_choice().alpha, with_rule=with_rule)
        return
    alpha = state.get_choice().alpha
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            _show_mode(comparison, alpha)
            if alpha.top_k is None:
                _show_number(alpha)
                if with_rule:
                    _show_rule(alpha)
            else:
                _show_top_number(alpha, comparison)
        _show_problem()
        show_alpha_dial(comparison, alpha, compact=compact)
        note = loaders.load_selection(comparison, alpha).ticket.note
        if alpha.top_k is not None and note:
            st.caption(escape_markdown(note))


def _show_slider(alpha: AlphaChoice, *, with_rule: bool) -> None:
    stops = list_stops(alpha.significance_level)
    st.session_state["alpha_slider"] = min(stops, key=lambda stop: abs(stop - alpha.significance_level))
    slider, number = st.columns([5, 1.2], vertical_alignment="bottom")
    slider.select_slider(
        "α, the significance level (log scale)",
        stops,
        format_func=format_level,
        key="alpha_slider",
        on_change=lambda: state.set_alpha(significance_level=float(st.session_state["alpha_slider"])),
    )
    with number:
        _show_number(alpha)
    _show_problem()
    if with_rule:
        with st.container(horizontal=True):
            _show_rule(alpha)
    if alpha.top_k is not None:
        st.caption(f"This page goes by α. The ticket of the pair stays {state.describe_rule(alpha)}.")


def _show_mode(comparison: Comparison, alpha: AlphaChoice) -> None:
    st.session_state["alpha_mode"] = "alpha" if alpha.top_k is None else "top"
    st.segmented_control(
        "How the ticket is chosen",
        list(_MODES),
        format_func=_MODES.__getitem__,
        key="alpha_mode",
        required=True,
        on_change=_take_mode,
        args=(comparison,),
        width="content",
        help="By α: every token whose p-value is at most α. By number: the k tokens with the largest D; equal D is "
        "broken by the larger L2 shift.",
    )


def _show_number(alpha: AlphaChoice) -> None:
    st.session_state["alpha_number"] = format_level(alpha.significance_level)
    st.text_input("α as a number", key="alpha_number", on_change=_take_number, width=110)


def _show_top_number(alpha: AlphaChoice, comparison: Comparison) -> None:
    st.session_state["alpha_top"] = f"{alpha.top_k:,}"
    st.text_input("Number of tokens", key="alpha_top", on_change=_take_top_number, args=(comparison,), width=110)


def _show_rule(alpha: AlphaChoice) -> None:
    st.session_state["alpha_correction"] = alpha.correction
    st.session_state["alpha_method"] = alpha.p_value_method
    st.selectbox(
        "Correction for many tests",
        list(CORRECTION_NAMES),
        format_func=CORRECTION_NAMES.__getitem__,
        key="alpha_correction",
        on_change=lambda: state.set_alpha(correction=st.session_state["alpha_correction"]),
        help="Each correction is a stricter threshold on p. None of them controls an error rate here.",
        width=190,
    )
    st.selectbox(
        "Compare α with",
        list(P_VALUE_METHOD_NAMES),
        format_func=P_VALUE_METHOD_NAMES.__getitem__,
        key="alpha_method",
        on_change=lambda: state.set_alpha(p_value_method=st.session_state["alpha_method"]),
        help="The exact p-value for two samples of equal size, or the large-sample threshold that the paper uses.",
        width=210,
    )


def _show_problem() -> None:
    problem = st.session_state.pop(_PROBLEM, None)
    if problem:
        st.error(escape_markdown(problem))


def _take_mode(comparison: Comparison) -> None:
    """Turning to a number of tokens begins with as many as the ticket has."""
    if st.session_state["alpha_mode"] == "alpha":
        state.set_alpha(top_k=None)
        return
    alpha = state.get_choice().alpha
    moved = int((comparison.result.counts > 0).sum())
    size = loaders.load_selection(comparison, alpha).ticket.size or _SUGGESTED_TOKENS
    state.set_alpha(top_k=min(size, moved))


def _take_number() -> None:
    """Take what was typed, or keep alpha as it is and say what was wrong with it."""
    typed = st.session_state["alpha_number"].strip()
    level = state.read_level(typed.replace(",", "."))
    if level is not None:
        state.set_alpha(significance_level=level)
        return
    present = format_level(state.get_choice().alpha.significance_level)
    st.session_state[_PROBLEM] = (
        f"α: expected a number from {LEAST_SIGNIFICANCE_LEVEL:g} to {LARGEST_SIGNIFICANCE_LEVEL:g}, "
        f"{_name_typed(typed)}; α stays at {present}."
    )


def _take_top_number(comparison: Comparison) -> None:
    typed = st.session_state["alpha_top"].strip()
    top_k = state.read_top_k(typed)
    moved = int((comparison.result.counts > 0).sum())
    if top_k is not None and top_k <= moved:
        state.set_alpha(top_k=top_k)
        return
    present = state.get_choice().alpha.top_k or 0
    st.session_state[_PROBLEM] = (
        f"Number of tokens: expected a whole number from 1 to {moved:,} (that many have a D above 0), "
        f"{_name_typed(typed)}; the ticket stays at {format_noun(present, 'token')}."
    )


def _name_typed(typed: str) -> str:
    return f"found {shorten(typed)!r}" if typed else "found nothing"
