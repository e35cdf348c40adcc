"""The one control of alpha: a slider on a log scale and a number field, always in step, with correction and rule."""

from __future__ import annotations

import bisect
import math

import streamlit as st

from dashboard import session
from dashboard.loaders import AlphaChoice
from dashboard.session import LARGEST_SIGNIFICANCE_LEVEL, LEAST_SIGNIFICANCE_LEVEL
from dashboard.wording import CORRECTION_NAMES, P_VALUE_METHOD_NAMES, escape_markdown, format_number, shorten

_PROBLEM = "kslottery.alpha_problem"
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


def show_alpha_control(*, with_rule: bool = True) -> None:
    """Show the controls; each writes the session's choice in a callback, before the page is drawn again.

    Without `with_rule` correction and p-value are left out, where they change nothing.
    """
    alpha = session.get_choice().alpha
    stops = list_stops(alpha.significance_level)
    st.session_state["alpha_slider"] = min(stops, key=lambda stop: abs(stop - alpha.significance_level))
    problem = st.session_state.pop(_PROBLEM, None)
    st.session_state["alpha_number"] = format_number(alpha.significance_level, 6)
    slider, number = st.columns([5, 1.2], vertical_alignment="bottom")
    slider.select_slider(
        "α, the significance level (log scale)",
        stops,
        format_func=lambda level: format_number(level, 6),
        key="alpha_slider",
        on_change=_take_slider,
    )
    number.text_input("α as a number", key="alpha_number", on_change=_take_number)
    if problem:
        st.error(problem)
    if with_rule:
        _show_rule(alpha)


def _show_rule(alpha: AlphaChoice) -> None:
    st.session_state["alpha_correction"] = alpha.correction
    st.session_state["alpha_method"] = alpha.p_value_method
    correction, method = st.columns(2)
    correction.selectbox(
        "Correction for many tests",
        list(CORRECTION_NAMES),
        format_func=CORRECTION_NAMES.__getitem__,
        key="alpha_correction",
        on_change=lambda: session.set_alpha(correction=st.session_state["alpha_correction"]),
        help="Each correction is a stricter threshold on p. None of them controls an error rate here.",
    )
    method.radio(
        "What α is held against",
        list(P_VALUE_METHOD_NAMES),
        format_func=P_VALUE_METHOD_NAMES.__getitem__,
        key="alpha_method",
        horizontal=True,
        on_change=lambda: session.set_alpha(p_value_method=st.session_state["alpha_method"]),
        help="The exact p-value for two samples of equal size, or the large-sample threshold that the paper uses.",
    )


def _take_slider() -> None:
    session.set_alpha(significance_level=float(st.session_state["alpha_slider"]))


def _take_number() -> None:
    """Take what was typed, or keep alpha as it is and say what was wrong with it."""
    typed = st.session_state["alpha_number"].strip()
    level = session.read_level(typed.replace(",", "."))
    if level is not None:
        session.set_alpha(significance_level=level)
        return
    found = f"found {shorten(typed)!r}" if typed else "found nothing"
    present = format_number(session.get_choice().alpha.significance_level, 6)
    st.session_state[_PROBLEM] = escape_markdown(
        f"α: expected a number from {LEAST_SIGNIFICANCE_LEVEL:g} to {LARGEST_SIGNIFICANCE_LEVEL:g}, {found}; "
        f"α stays at {present}."
    )
