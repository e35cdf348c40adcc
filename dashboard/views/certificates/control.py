"""Starting, watching and stopping the work that makes or checks a certificate."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.controls.navigation import show_link
from dashboard.views.certificates.loading import CertificateWork, find_work, list_live_works, start_certifying
from dashboard.wording import CERTIFYING_PHASE_NAMES, escape_markdown, format_name
from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    from pathlib import Path

    from kslottery_core.certification import CertificationTask

_POLL_SECONDS = 1.0
_COUNTED_PHASES = ("ks", "generate", "certify")
_DOUBLE_CLICK_SECONDS = 0.6
_STARTED = "kslottery.certification_started"


def show_certify_button(task: CertificationTask | None, path: Path | None, problem: KSLotteryError | None) -> None:
    """The button that starts, and why the last try failed; nothing while this very work is under way."""
    work = None if path is None else find_work(str(path))
    if work is not None and work.live:
        return
    if work is not None and work.state == "failed":
        st.error(escape_markdown(work.problem or ""))
    elif work is not None and work.state == "stopped":
        st.info("Certifying was stopped. Nothing is kept of it; start it again when you like.")
    elif path is not None:
        st.info(
            "Nothing is certified yet for this ticket and this text. Press Certify: both models then run over the "
            "text, and what is certified, what holds and what does not appears here."
        )
    if problem is not None:
        st.error(escape_markdown(str(problem)))
        show_link("pair", "Choose another pair")
    button, words = st.columns([1.4, 5], vertical_alignment="center")
    button.button(
        "Certify",
        type="primary",
        icon=":material/verified:",
        key="certify",
        disabled=task is None or path is None,
        on_click=_start,
        args=(task, path),
    )
    words.caption(
        "It runs on this computer: seconds for the demo, far longer for a large model. It goes on when you leave this "
        "page, and the result is kept."
    )


def _start(task: CertificationTask, path: Path) -> None:
    st.session_state[_STARTED] = time.monotonic()
    start_certifying(task, path)


def watch_works() -> None:
    """All work under way, with a way to stop it; looked at again every second while there is some.

    To be called at the top level of a page. When a piece of work ends, the whole page is drawn again.
    """
    live = tuple(work.key for work in list_live_works())
    st.fragment(_watch, run_every=_POLL_SECONDS if live else None)(live)


def _watch(before: tuple[str, ...]) -> None:
    works = list_live_works()
    if tuple(work.key for work in works) != before:
        st.rerun()
    for position, work in enumerate(works):
        _show_work(work, position)


def _show_work(work: CertificateWork, position: int) -> None:
    with st.container(border=True):
        st.markdown(f"**{escape_markdown(work.title)}**")
        bar, button = st.columns([6, 1.2], vertical_alignment="center")
        event = work.event
        if work.state == "waiting":
            bar.progress(0.0, text="Waiting for the work above to end…" if position else "Waiting…")
        elif event is None:
            bar.progress(0.0, text="Starting…")
        else:
            counted = event.phase in _COUNTED_PHASES and event.total
            share = min(1.0, event.step / event.total) if counted else 0.0
            amount = f": {event.step:,} of {event.total:,}" if counted else "…"
            bar.progress(share, text=f"{format_name(CERTIFYING_PHASE_NAMES, event.phase)}{amount}")
        if work.stop.is_set():
            button.caption("Stopping…")
        else:
            button.button("Stop", icon=":material/stop:", key=f"stop_{work.key}", on_click=_stop, args=(work,))


def _stop(work: CertificateWork) -> None:
    # The second click of a double click on Certify may land where Stop now is.
    if time.monotonic() - st.session_state.get(_STARTED, 0.0) > _DOUBLE_CLICK_SECONDS:
        work.stop.set()
