"""Choosing several after checkpoints: by path or hub id, from finished runs, with a label and a step each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from dashboard import loaders, state
from dashboard.loaders import PairChoice
from dashboard.loaders.series import (
    ComparableRun,
    expand_sources,
    list_comparable_runs,
    list_demo_series,
    list_series_downloads,
)
from dashboard.wording import escape_markdown, format_code, format_noun
from kslottery_core.errors import KSLotteryError

_FILLED_FROM = "kslottery.checkpoints_filled_from"
_NAMES = "kslottery.checkpoint_names"
_LEAST = 2


def show_checkpoint_picker(choice: PairChoice) -> tuple[ComparableRun, ...]:
    """The field with one checkpoint a line, the runs that fit, and Compare; returns those runs."""
    sources = state.get_choice().checkpoints.sources
    if st.session_state.get(_FILLED_FROM) != sources:  # others came from the address: show those
        st.session_state[_FILLED_FROM] = sources
        st.session_state["checkpoint_lines"] = "\n".join(sources)
    try:
        runs = list_comparable_runs(choice)
    except KSLotteryError as problem:
        st.warning(escape_markdown(str(problem)))
        runs = ()
    with st.container(border=True):
        st.text_area(
            "After checkpoints, one a line",
            key="checkpoint_lines",
            height=150,
            placeholder="/models/tuned/checkpoint-100\n/models/tuned/checkpoint-200",
            persist_state="session",
            help="Paths or hub ids (organisation/name@revision), all tuned from the before model. A folder that holds "
            "checkpoint-100, checkpoint-200 and so on stands for all of them.",
        )
        names = {run.source: run.name for run in runs}
        if names:
            st.multiselect(
                "Add finished runs tuned from the same model",
                list(names),
                format_func=names.__getitem__,
                key="checkpoint_runs",
                placeholder=f"{format_noun(len(names), 'run')} to choose from",
                on_change=_add_runs,
            )
        st.button(
            "Compare",
            type="primary",
            icon=":material/timeline:",
            key="compare_checkpoints",
            on_click=_take,
            args=(choice,),
        )
    return runs


def _add_runs() -> None:
    lines = st.session_state["checkpoint_lines"].splitlines() + st.session_state["checkpoint_runs"]
    st.session_state["checkpoint_lines"] = "\n".join(dict.fromkeys(line.strip() for line in lines if line.strip()))
    st.session_state["checkpoint_runs"] = []


def _take(choice: PairChoice) -> None:
    lines = (line.strip() for line in st.session_state["checkpoint_lines"].splitlines())
    choose_checkpoints(choice, [line for line in dict.fromkeys(lines) if line])


def choose_checkpoints(choice: PairChoice, sources: Sequence[str]) -> None:
    """Compare these, as a click asks for; a hub id among them may then be fetched."""
    state.allow_download(_name_wish(choice, expand_sources(sources)))
    state.change("checkpoints", sources=tuple(sources))


def _name_wish(choice: PairChoice, sources: tuple[str, ...]) -> tuple[object, ...]:
    return (choice.before, choice.before_revision, sources)


def is_opening_allowed(choice: PairChoice, sources: tuple[str, ...]) -> bool:
    """Whether all of them lie here or may be fetched; draws nothing."""
    return not list_series_downloads(choice, sources) or state.is_download_allowed(_name_wish(choice, sources))


def may_open(choice: PairChoice, sources: tuple[str, ...]) -> bool:
    """Whether all of them lie here or may be fetched; asks when an address names one that is not here."""
    if is_opening_allowed(choice, sources):
        return True
    downloads = list_series_downloads(choice, sources)
    names = " and ".join(format_code(name) for name in downloads)
    st.info(
        f"The address asks for {names}, which is no path on this computer. Going on looks it up on the Hugging Face "
        "hub and downloads its embedding and tokenizer files, where they are not here already."
    )
    st.button(
        "Fetch from the hub and compare",
        icon=":material/download:",
        key="allow_download",
        on_click=state.allow_download,
        args=(_name_wish(choice, sources),),
    )
    return False


def show_how_to_begin(choice: PairChoice, runs: Sequence[ComparableRun]) -> None:
    """What to bring, and one click that compares what is here already."""
    st.info(
        "Name at least two checkpoints above that were tuned from this before model: other seeds, other languages, or "
        "the folder of one training that holds checkpoint-100, checkpoint-200 and so on."
    )
    offered = list_demo_series() if loaders.is_demo(choice) else ()
    words = "the demo's"
    if not offered:
        offered = (*([choice.after] if choice.after else []), *(run.source for run in reversed(runs)))
        words = words if loaders.is_demo(choice) else "the pair's after side and the finished runs,"
    amount = len(expand_sources(offered))
    if amount >= _LEAST:
        st.button(
            f"Compare {words} {format_noun(amount, 'checkpoint')}",
            icon=":material/play_arrow:",
            key="compare_offered",
            on_click=choose_checkpoints,
            args=(choice, offered),
        )


def name_checkpoints(sources: Sequence[str], runs: Sequence[ComparableRun]) -> tuple[str, ...]:
    """A label each: a run by its name, all others by what sets their paths apart."""
    from kslottery_core.checkpoints import make_labels

    known = {run.source: run.name for run in runs}
    others = [source for source in sources if source not in known]
    labels = dict(zip(others, make_labels(others), strict=True)) if others else {}
    return tuple(known.get(source) or labels[source] for source in sources)


def get_edited_names() -> Mapping[str, tuple[str, int | None]]:
    """Label and step of each checkpoint as they stand in this session's tables, by source."""
    return st.session_state.get(_NAMES, {})


def edit_checkpoints(
    sources: Sequence[str], labels: Sequence[str], steps: Sequence[int | None]
) -> tuple[tuple[str, ...], tuple[int | None, ...]]:
    """A table in which labels and steps can be changed; returns them as they stand. They last for the session."""
    names = st.session_state.setdefault(_NAMES, {})
    digest = hashlib.sha256("\n".join(sources).encode()).hexdigest()[:12]
    key = f"checkpoint_table_{digest}_{state.count_restored()}"
    if f"{key}_start" not in st.session_state:  # the table must begin from the same rows as long as it is on the page
        found = [names.get(source, (label, step)) for source, label, step in zip(sources, labels, steps, strict=True)]
        st.session_state[f"{key}_start"] = pd.DataFrame(
            {
                "Checkpoint": list(sources),
                "Label": [label for label, _ in found],
                "Step": pd.array([step for _, step in found], dtype="Int64"),
            }
        )
    start = st.session_state[f"{key}_start"]
    with st.expander("Labels and steps", expanded=any(step is None for step in start["Step"].tolist())):
        edited = st.data_editor(
            start,
            key=key,
            hide_index=True,
            disabled=["Checkpoint"],
            column_config={
                "Checkpoint": st.column_config.TextColumn(width=420),
                "Label": st.column_config.TextColumn(width=220, max_chars=60, required=True),
                "Step": st.column_config.NumberColumn(width=90, min_value=0, step=1, help="Training steps taken"),
            },
        )
        st.caption("A step is read from names such as checkpoint-200. With a step for each, D is drawn over the steps.")
    kept = tuple(
        (str(label).strip() or name, None if pd.isna(step) else int(step))
        for name, label, step in zip(labels, edited["Label"], edited["Step"], strict=True)
    )
    names.update(zip(sources, kept, strict=True))
    return tuple(label for label, _ in kept), tuple(step for _, step in kept)
