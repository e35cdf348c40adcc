"""Starting, watching, stopping and going on with the scan of a whole model."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard import state
from dashboard.loaders.scan import PlannedScan, forget_scan, go_on_scanning
from dashboard.wording import (
    UNIT_NAMES,
    escape_markdown,
    format_bytes,
    format_code,
    format_noun,
    format_seconds,
    shorten,
)
from kslottery_core.errors import KSLotteryError
from kslottery_core.progress import OnProgress, ProgressEvent

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from kslottery_core.scans import Scan

_SCANNED = "kslottery.scanned_folder"
_STARTED = "kslottery.scan_started"
_PROBLEM = "kslottery.scan_problem"
_SLICE_SECONDS = 5.0
_REDRAW_SECONDS = 0.2
_DOUBLE_CLICK_SECONDS = 0.6


def show_scan_choice() -> None:
    """What is one test, and which matrices; both write the session's choice."""
    view = state.get_choice().layers
    st.session_state["scan_unit"] = view.unit
    st.session_state["scan_pattern"] = "" if view.pattern == "*" else view.pattern
    unit, pattern = st.columns(2)
    unit.segmented_control(
        "One test for each of the",
        list(UNIT_NAMES),
        format_func=UNIT_NAMES.__getitem__,
        key="scan_unit",
        required=True,
        on_change=lambda: state.change("layers", unit=st.session_state["scan_unit"]),
        help="A row of a weight matrix holds all weights that feed one output neuron; in an embedding it is a token. "
        "A column holds all weights that read one input neuron.",
    )
    pattern.text_input(
        "Only matrices named",
        key="scan_pattern",
        placeholder="all of them; or *mlp*, *.q_proj.weight",
        on_change=_take_pattern,
        help="Part of the names with * for any characters. Leave it empty for the whole model.",
    )


def _take_pattern() -> None:
    state.change("layers", pattern=st.session_state["scan_pattern"].strip() or "*")


def show_scan_control(plan: PlannedScan, scan: Scan | None) -> DeltaGenerator | None:
    """Show what a scan costs and the button that starts, stops or goes on; returns the bar while one is under way."""
    problem = st.session_state.pop(_PROBLEM, None)
    if problem:
        st.error(escape_markdown(problem))
    total, remaining = len(plan.parameters), len(plan.parameters if scan is None else scan.remaining)
    if not remaining:
        st.session_state.pop(_SCANNED, None)
        return None
    button, text = st.columns([1.4, 5], vertical_alignment="center")
    done = total - remaining
    matrices = format_noun(total, "matrix", "matrices")
    if is_scanning(plan):
        _show_button(button, "Stop", ":material/stop:", _stop)
        return text.progress(done / total, text=f"{done:,} of {matrices} done")
    cost = "an unknown amount" if plan.read_bytes is None else f"up to {format_bytes(plan.read_bytes)}"
    label, words = "Scan the model", f"{matrices}, {cost} to read from both sides together."
    if done:
        label, words = "Go on", f"{done:,} of {matrices} are done and kept; {remaining:,} are left."
    _show_button(button, label, ":material/play_arrow:", partial(_start, plan), type="primary")
    text.caption(f"{words} You can stop at any time: what is done is kept.")
    return None


def _show_button(place: DeltaGenerator, label: str, icon: str, act: Callable[[], None], **look: Any) -> None:
    """One key for all its labels: while a page is drawn, a button of another key would stay in sight beside it."""
    place.button(label, icon=icon, key="scan_button", on_click=act, **look)


def is_scanning(plan: PlannedScan) -> bool:
    """Whether the person has started this scan and neither stopped it nor left the page since."""
    return st.session_state.get(_SCANNED) == _name_visit(plan)


def _name_visit(plan: PlannedScan) -> tuple[str, int]:
    return (str(plan.folder), state.count_restored())


def _start(plan: PlannedScan) -> None:
    st.session_state[_SCANNED] = _name_visit(plan)
    st.session_state[_STARTED] = time.monotonic()


def _stop() -> None:
    if time.monotonic() - st.session_state.get(_STARTED, 0.0) > _DOUBLE_CLICK_SECONDS:
        st.session_state.pop(_SCANNED, None)


def scan_on(plan: PlannedScan, bar: DeltaGenerator) -> None:
    """Scan for some seconds and draw the page again: the picture then grows while the scan goes on.

    Any click ends it at the next report; what the click asks for is drawn, and the scan goes on from there.
    """
    try:
        go_on_scanning(plan, _make_progress(bar), _SLICE_SECONDS)
    except KSLotteryError as problem:
        st.session_state[_PROBLEM] = str(problem)
        st.session_state.pop(_SCANNED, None)
    st.rerun()


def _make_progress(bar: DeltaGenerator) -> OnProgress:
    last_drawn = 0.0

    def show(event: ProgressEvent) -> None:
        nonlocal last_drawn
        now = time.monotonic()
        if event.total and (now - last_drawn > _REDRAW_SECONDS or event.step >= event.total):
            last_drawn = now
            share = min(1.0, event.step / event.total)
            if event.phase == "wait":
                bar.progress(0.0, text=escape_markdown(f"The scan {event.message}"))
                return
            name = f": {format_code(shorten(event.message, 90))}" if event.message else ""
            bar.progress(share, text=f"{100 * share:.0f} %{name}")

    return show


def show_broken_scan(plan: PlannedScan, problem: KSLotteryError) -> None:
    """A kept scan that cannot be read: why, and the way to begin anew."""
    st.error(escape_markdown(str(problem)))
    if st.button("Forget what is kept and begin anew", icon=":material/delete:", key="scan_forget"):
        try:
            forget_scan(plan)
        except KSLotteryError as refusal:
            st.error(escape_markdown(str(refusal)))
            return
        st.rerun()


def describe_scan(scan: Scan) -> str:
    """How much has been compared, in what time."""
    done = len(scan.entries) + len(scan.skipped)
    seconds = sum(entry.seconds or 0.0 for entry in scan.entries)
    return (
        f"{done:,} of {format_noun(len(scan.parameters), 'matrix', 'matrices')} done, "
        f"{format_seconds(seconds)} of reading and comparing"
    )
