"""The form that starts a run: sane values everywhere, the rest behind "More settings"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import loaders
from dashboard.controls.fields import KEEP, fill_fields
from dashboard.controls.text_fields import show_filters, show_rejection_limit, show_text_fields
from dashboard.loaders import Comparison
from dashboard.views.runs.entries import build_spec, choose_defaults, describe_rate, make_name, suggest_entries
from dashboard.views.runs.method_fields import KEPT_METHODS, show_method_fields, show_schedule, show_tied_note
from dashboard.views.runs.row_choice import COUNTS_TOKENS, find_tied, get_source
from dashboard.views.runs.row_fields import show_row_source
from dashboard.views.runs.text_preview import show_text_preview
from dashboard.wording import DEVICE_NAMES, METHOD_EXPLANATIONS, METHOD_NAMES, escape_markdown
from kslottery_core.errors import KSLotteryError
from kslottery_core.runs.spec import TICKET_METHODS
from kslottery_core.tuning.settings import METHODS, TRAINED_METHODS

if TYPE_CHECKING:
    from kslottery_core.runs import RunRecord, RunSpec


_OUTPUTS = {"rows": "What was trained (small)", "checkpoint": "A whole model folder as well"}
_SUGGESTED = "kslottery.run_suggested"


def show_run_form(comparison: Comparison | None) -> RunRecord | None:
    """Show the form; returns the run that Start has just launched. A wrong entry is one message, nothing is lost."""
    method_column, name_column = st.columns(2)
    method = method_column.selectbox(
        "Method",
        METHODS,
        format_func=METHOD_NAMES.__getitem__,
        index=METHODS.index("ticket"),
        key="run_method",
        **KEEP,
    )
    fill_fields(suggest_entries(method, comparison), _SUGGESTED)
    automatic_name = make_name(method, comparison)
    name = name_column.text_input("Name of the run", key="run_name", placeholder=automatic_name, **KEEP)
    st.caption(METHOD_EXPLANATIONS[method])
    model, revision = st.columns([4, 1])
    model.text_input("Base model", key="run_model", help="A model folder, a GGUF file or a hub id.", **KEEP)
    revision.text_input("Revision", key="run_revision", placeholder="main", **KEEP)
    if method in TICKET_METHODS:
        show_row_source(comparison)
    if method == "transfer":
        after, after_revision = st.columns([4, 1])
        after.text_input("Tuned model to copy the rows from", key="run_after", **KEEP)
        after_revision.text_input("Revision (tuned model)", key="run_after_revision", placeholder="main", **KEEP)
    show_text_fields(method, counts_tokens=method in TICKET_METHODS and get_source(comparison) in COUNTS_TOKENS)
    show_text_preview(method, comparison)
    tied = find_tied(comparison)
    if method in TRAINED_METHODS:
        rate = choose_defaults(method, comparison)[0].learning_rate
        show_method_fields(method, tied, rate, describe_rate(method, comparison))
    else:
        show_tied_note(method, tied)
    with st.expander("More settings"):
        _show_more(method)
    if not st.button("Start", type="primary", icon=":material/play_arrow:", key="run_start"):
        return None
    try:
        with st.spinner("Starting the run…"):
            return _launch(build_spec(method, name.strip() or automatic_name, comparison))
    except KSLotteryError as problem:
        st.error(escape_markdown(str(problem)))
        return None


def _show_more(method: str) -> None:
    train_limit, test_limit, rejected = st.columns(3) if method in TRAINED_METHODS else (None, *st.columns(2))
    limit_help = "Use only the first so many sentence pairs; empty for all."
    if train_limit is not None:
        train_limit.number_input(
            "Training pairs at most", min_value=1, value=None, step=1, key="run_train_limit", help=limit_help, **KEEP
        )
    test_limit.number_input(
        "Test pairs at most", min_value=1, value=None, step=1, key="run_test_limit", help=limit_help, **KEEP
    )
    show_rejection_limit(rejected)
    st.text_area(
        "Prompt",
        key="run_prompt",
        height=110,
        help="{source} stands for the sentence, {source_language} and {target_language} for the languages' names.",
        **KEEP,
    )
    if method in TRAINED_METHODS:
        show_schedule(method)
        show_filters()
    beams, new_tokens, device, output = st.columns(4)
    beams.number_input("Beams (1 is greedy)", min_value=1, value=None, step=1, key="run_beams", **KEEP)
    new_tokens.number_input("New tokens at most", min_value=1, value=None, step=1, key="run_new_tokens", **KEEP)
    device.selectbox("Device", list(DEVICE_NAMES), format_func=DEVICE_NAMES.__getitem__, key="run_device", **KEEP)
    if method in KEPT_METHODS:
        output.selectbox("Keep", list(_OUTPUTS), format_func=_OUTPUTS.__getitem__, key="run_output", **KEEP)


def _launch(spec: RunSpec) -> RunRecord:
    from kslottery_core.runs import check_inputs, launch_run

    check_inputs(spec)
    return launch_run(loaders.load_run_store(), spec)
