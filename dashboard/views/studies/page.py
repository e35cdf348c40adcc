"""Setting ways of tuning side by side in one grid of runs, watching it, and reading what came of it."""

from __future__ import annotations

import streamlit as st

from dashboard import loaders, state
from dashboard.views.studies.form import OPEN_FORM, build_demo_study, describe_plan, launch_study, show_study_form
from dashboard.views.studies.loading import CellSignature, load_study_store, plan_study, sign_cells
from dashboard.views.studies.progress import choose_study, show_progress
from dashboard.views.studies.results import show_results
from dashboard.wording import escape_markdown
from kslottery_core.errors import KSLotteryError

_POLL_SECONDS = 2.0


def render() -> None:
    """Show the form and, below it, the chosen study; it is looked at again and again only while it lives."""
    st.title("Studies")
    st.markdown(
        "A study runs several ways of tuning on the same text, with the same prompt, decoding and number of steps, and "
        "sets their quality beside their cost. It goes on when this page is closed, can be stopped and continued, and "
        "takes over runs that have finished already."
    )
    try:
        records = load_study_store().list()
    except KSLotteryError as problem:
        st.error(escape_markdown(str(problem)))
        return
    if not records:
        _offer_demo()
    _show_form(open_at_first=not records)
    if not records:
        return
    record = choose_study(records)
    signature = (record.status.state, sign_cells(record))
    st.fragment(_watch, run_every=_POLL_SECONDS if record.status.live else None)(record.study_id, signature)
    if record.spec is not None:
        show_results(record)


def _show_form(*, open_at_first: bool) -> None:
    wanted_open = st.session_state.pop(OPEN_FORM, None)
    if wanted_open is not None or "study_form" not in st.session_state:
        st.session_state["study_form"] = open_at_first if wanted_open is None else wanted_open
    form = st.expander("Set up a study", icon=":material/add_circle:", key="study_form", on_change="rerun")
    if form.open:
        choice = state.get_choice()
        with form:
            started = show_study_form(loaders.resolve_choice(choice.pair), choice.alpha)
        if started is not None:
            _turn_to(started.study_id)
            st.rerun()


def _turn_to(study_id: str) -> None:
    state.change("studies", study_id=study_id, language=None)
    st.session_state[OPEN_FORM] = False  # the study that has begun is what matters now


def _offer_demo() -> None:
    spec = build_demo_study()
    if spec is None:
        st.info("No study yet. Set one up below.")
        return
    try:
        plan = describe_plan(plan_study(spec))
    except KSLotteryError as problem:
        st.warning(escape_markdown(str(problem)))
        return
    with st.container(border=True):
        st.markdown(
            "**Try it on the bundled demo**: do the rows that win teach the model more than equally many frequent or "
            f"random ones, after 100 and after 300 steps? {plan} A few minutes on two cores."
        )
        if st.button("Start the demo's study", type="primary", icon=":material/play_arrow:", key="study_demo"):
            try:
                _turn_to(launch_study(spec).study_id)
            except KSLotteryError as problem:
                st.error(escape_markdown(str(problem)))
            else:
                st.rerun()


def _watch(study_id: str, seen: tuple[str, CellSignature]) -> None:
    try:
        record = load_study_store().get(study_id)
    except KSLotteryError as problem:
        st.error(escape_markdown(str(problem)))
        return
    if seen != (record.status.state, sign_cells(record)):
        st.rerun()  # the whole page once more: results have come, and polling ends or begins
    show_progress(record)
    state.write_address()
