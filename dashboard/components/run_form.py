"""The form that starts a run: sane values everywhere, the rest behind "More settings"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import loaders, session
from dashboard.components.run_entries import (
    FROM_ALPHA,
    FROM_FILE,
    FROM_TOP,
    build_spec,
    name_training_field,
    suggest_entries,
)
from dashboard.loaders import Comparison
from dashboard.wording import METHOD_NAMES, TIED_DEFAULT, escape_markdown, format_name, format_noun, format_number
from kslottery_core.errors import KSLotteryError
from kslottery_core.runs.spec import TICKET_METHODS
from kslottery_core.tuning.settings import METHODS, SCHEDULES, TRAINED_METHODS

if TYPE_CHECKING:
    from kslottery_core.runs import RunRecord, RunSpec

OPEN_FORM = "kslottery.open_run_form"
"""Session key: whether the form is to be opened (True) or closed (False) when the page is drawn next."""

_DEVICES = {"auto": "Automatic", "cpu": "CPU", "cuda": "GPU (CUDA)"}
_OUTPUTS = {"rows": "What was trained (small)", "checkpoint": "A whole model folder as well"}
_KEEP = {"persist_state": "session"}
_INPUT_ROW_METHODS = ("embedding", *TICKET_METHODS)
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
        **_KEEP,
    )
    _fill_defaults(method, comparison)
    automatic_name = _make_name(method, comparison)
    name = name_column.text_input("Name of the run", key="run_name", placeholder=automatic_name, **_KEEP)
    if method in TICKET_METHODS:
        _show_ticket_source(comparison)
    model, revision = st.columns([4, 1])
    model.text_input("Base model", key="run_model", help="A model folder, a GGUF file or a hub id.", **_KEEP)
    revision.text_input("Revision", key="run_revision", placeholder="main", **_KEEP)
    if method == "transfer":
        after, after_revision = st.columns([4, 1])
        after.text_input("Tuned model to copy the rows from", key="run_after", **_KEEP)
        after_revision.text_input("Revision (tuned model)", key="run_after_revision", placeholder="main", **_KEEP)
    if method in _INPUT_ROW_METHODS and comparison is not None and comparison.pair.tied:
        st.caption(f"This model is tied. {TIED_DEFAULT}")
    train, test, source, target = st.columns([3, 3, 1.3, 1.3])
    if method in TRAINED_METHODS:
        train.text_input(
            "Training text",
            key="run_train",
            placeholder="/texts/train.jsonl",
            help="Parallel text: JSON lines, CSV or TSV.",
            **_KEEP,
        )
    test.text_input(
        "Test text",
        key="run_test",
        placeholder="/texts/test.jsonl",
        help="Translated and scored afterwards. Leave it empty to tune only.",
        **_KEEP,
    )
    source.text_input(
        "From", key="run_source", placeholder="en", help="Source language: its code, or its column.", **_KEEP
    )
    target.text_input(
        "To", key="run_target", placeholder="ca", help="Target language: its code, or its column.", **_KEEP
    )
    if method in TRAINED_METHODS:
        _show_training(method)
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


def _fill_defaults(method: str, comparison: Comparison | None) -> None:
    """Fill every field with its suggestion; one that the person has changed keeps its content, cleared ones too."""
    suggested = suggest_entries(method, comparison)
    earlier = st.session_state.get(_SUGGESTED, {})
    for key, value in suggested.items():
        if key not in st.session_state or (key in earlier and st.session_state[key] == earlier[key]):
            st.session_state[key] = value
    st.session_state[_SUGGESTED] = {**earlier, **suggested}


def _make_name(method: str, comparison: Comparison | None) -> str:
    name = format_name(METHOD_NAMES, method)
    if method not in TICKET_METHODS or comparison is None:
        return name
    source = st.session_state.get("run_ticket_source", FROM_ALPHA)
    short = "Partial Tuning" if method == "ticket" else "Partial Transfer"
    if source == FROM_TOP:
        return f"{short}, {format_noun(int(st.session_state.get('run_top', 20)), 'token')} with the largest D"
    if source == FROM_FILE:
        return f"{short}, ticket file"
    alpha = session.get_choice().alpha
    size = loaders.load_selection(comparison, alpha).ticket.size
    return f"{short}, {format_noun(size, 'token')} at α {format_number(alpha.significance_level, 6)}"


def _show_ticket_source(comparison: Comparison | None) -> None:
    sources = (FROM_ALPHA, FROM_TOP, FROM_FILE) if comparison is not None else (FROM_FILE,)
    choose, detail = st.columns(2, vertical_alignment="bottom")
    source = choose.selectbox("Ticket", sources, key="run_ticket_source", **_KEEP)
    if source == FROM_ALPHA and comparison is not None:
        alpha = session.get_choice().alpha
        size = loaders.load_selection(comparison, alpha).ticket.size
        level = format_number(alpha.significance_level, 6)
        detail.caption(
            f"{format_noun(size, 'token')} at α = {level}."
            if size
            else f"No token wins at α = {level}: raise α, or take the tokens with the largest D."
        )
    elif source == FROM_TOP:
        detail.number_input("Number of tokens", min_value=1, value=20, step=1, key="run_top", **_KEEP)
    elif source == FROM_FILE:
        st.file_uploader("Ticket file (JSON)", type="json", key="run_ticket_file")


def _show_training(method: str) -> None:
    rate, steps, length, batch = st.columns(4)
    rate.number_input(
        "Learning rate",
        min_value=1e-9,
        max_value=10.0,
        value=None,
        step=1e-4,
        format="%.6g",
        key=name_training_field("learning_rate", method),
        **_KEEP,
    )
    by_steps = steps.number_input(
        "Steps",
        min_value=1,
        value=None,
        step=10,
        placeholder="as the epochs say",
        key=name_training_field("steps", method),
        help="Optimizer steps. Clear the field to train by epochs instead.",
        **_KEEP,
    )
    length.number_input(
        "Epochs",
        min_value=0.01,
        value=None,
        step=1.0,
        key=name_training_field("epochs", method),
        disabled=by_steps is not None,
        help="Passes over the training text; used when the number of steps is empty.",
        **_KEEP,
    )
    batch.number_input(
        "Sentences a batch", min_value=1, value=None, step=1, key=name_training_field("batch", method), **_KEEP
    )


def _show_more(method: str) -> None:
    if method in TRAINED_METHODS:
        train_limit, test_limit = st.columns(2)
    else:
        train_limit, test_limit = None, st.container()
    limit_help = "Use only the first so many sentence pairs; empty for all."
    if train_limit is not None:
        train_limit.number_input(
            "Training pairs at most", min_value=1, value=None, step=1, key="run_train_limit", help=limit_help, **_KEEP
        )
    test_limit.number_input(
        "Test pairs at most", min_value=1, value=None, step=1, key="run_test_limit", help=limit_help, **_KEEP
    )
    st.text_area(
        "Prompt",
        key="run_prompt",
        height=110,
        help="{source} stands for the sentence, {source_language} and {target_language} for the languages' names.",
        **_KEEP,
    )
    if method in TRAINED_METHODS:
        accumulation, schedule, seed = st.columns(3)
        accumulation.number_input(
            "Batches a step", min_value=1, value=None, step=1, key=name_training_field("accumulation", method), **_KEEP
        )
        schedule.selectbox(
            "Learning-rate schedule",
            SCHEDULES,
            format_func=str.capitalize,
            key=name_training_field("schedule", method),
            **_KEEP,
        )
        seed.number_input("Seed", min_value=0, value=None, step=1, key=name_training_field("seed", method), **_KEEP)
    beams, new_tokens, device, output = st.columns(4)
    beams.number_input("Beams (1 is greedy)", min_value=1, value=None, step=1, key="run_beams", **_KEEP)
    new_tokens.number_input("New tokens at most", min_value=1, value=None, step=1, key="run_new_tokens", **_KEEP)
    device.selectbox("Device", list(_DEVICES), format_func=_DEVICES.__getitem__, key="run_device", **_KEEP)
    if method != "base":
        output.selectbox("Keep", list(_OUTPUTS), format_func=_OUTPUTS.__getitem__, key="run_output", **_KEEP)


def _launch(spec: RunSpec) -> RunRecord:
    from kslottery_core.runs import check_inputs, launch_run

    check_inputs(spec)
    return launch_run(loaders.load_run_store(), spec)
