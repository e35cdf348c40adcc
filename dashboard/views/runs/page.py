"""Starting runs and watching them."""

from __future__ import annotations

import streamlit as st

from dashboard import loaders, state
from dashboard.controls.pair_header import load_shown_comparison
from dashboard.views.runs.form import show_run_form
from dashboard.views.runs.monitor import choose_run, show_run
from dashboard.wording import escape_markdown
from kslottery_core.errors import KSLotteryError

_POLL_SECONDS = 1.5


def render() -> None:
    """Show the form and, below it, the runs; they are looked at again and again only while one of them lives."""
    st.title("Runs")
    st.markdown(
        "A run tunes a model, or copies a ticket's rows, then translates the test text and scores it. It goes on when "
        "this page is closed, and is found here again."
    )
    try:
        records = loaders.load_run_store().list()
    except KSLotteryError as problem:
        st.error(escape_markdown(str(problem)))
        return
    wanted_open = st.session_state.pop(state.OPEN_RUN_FORM, None)
    if wanted_open is not None or "run_form" not in st.session_state:
        st.session_state["run_form"] = not records if wanted_open is None else wanted_open
    form = st.expander("Start a run", icon=":material/add_circle:", key="run_form", on_change="rerun")
    if form.open:
        with form:
            started = show_run_form(_find_comparison())
        if started is not None:
            state.choose(run_id=started.run_id)
            st.session_state[state.OPEN_RUN_FORM] = False  # the run that has begun is what matters now
            st.rerun()
    live = any(record.status.live for record in records)
    st.fragment(_watch, run_every=_POLL_SECONDS if live else None)(live)


def _find_comparison() -> loaders.Comparison | None:
    """A run needs no pair, so a missing one is no reason to stop here."""
    if loaders.resolve_choice(state.get_choice().pair) is None:
        st.caption("No pair is open, so the base model and the ticket have to be given by hand.")
        return None
    return load_shown_comparison()


def _watch(was_live: bool) -> None:
    try:
        records = loaders.load_run_store().list()
    except KSLotteryError as problem:
        st.error(escape_markdown(str(problem)))
        return
    if not records:
        st.info("No run yet. Start one above: score the base model first, and then tune a ticket to set beside it.")
        return
    if was_live != any(record.status.live for record in records):
        st.rerun()  # the whole page once more: it then stops polling, or begins to for a run that was resumed
    st.header("All runs")
    show_run(choose_run(records))
    state.write_address()
