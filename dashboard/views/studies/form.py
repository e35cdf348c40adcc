"""The form that sets up a study, and what it says of the work before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboard.controls.fields import KEEP, fill_fields, read_text
from dashboard.controls.text_fields import describe_lines, mark_problem, may_look
from dashboard.loaders import AlphaChoice, PairChoice
from dashboard.loaders.texts import load_preview
from dashboard.views.studies.arms import show_arms
from dashboard.views.studies.entries import TARGET_SIGN, build_study, list_corpora, make_name, suggest_entries
from dashboard.views.studies.loading import StudyPlan, load_study_store, plan_study
from dashboard.wording import DEVICE_NAMES, escape_markdown, format_noun
from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    from kslottery_core.studies import StudyRecord, StudySpec

OPEN_FORM = "kslottery.open_study_form"
"""Session key: whether the form is to be opened (True) or closed (False) when the page is drawn next."""

_SUGGESTED = "kslottery.study_suggested"


def show_study_form(pair: PairChoice | None, alpha: AlphaChoice) -> StudyRecord | None:
    """Show the form; returns the study that Start has just begun. A wrong entry is one message, nothing is lost."""
    fill_fields(suggest_entries(pair, alpha), _SUGGESTED)
    model, revision, name = st.columns([4, 1, 3])
    model.text_input("Model", key="study_model", help="A model folder, a GGUF file or a hub id.", **KEEP)
    revision.text_input("Revision", key="study_revision", placeholder="main", **KEEP)
    name.text_input("Name of the study", key="study_name", placeholder=make_name(), **KEEP)
    _show_texts()
    show_arms()
    _show_grid()
    with st.expander("More settings"):
        _show_more()
    words = st.container()
    started = st.button("Start the study", type="primary", icon=":material/play_arrow:", key="study_start")
    try:
        spec = build_study(pair)
        if started:
            return launch_study(spec)
        words.info(describe_plan(plan_study(spec)), icon=":material/grid_on:")
    except KSLotteryError as problem:
        if started:
            words.error(escape_markdown(str(problem)))
        else:
            words.caption(mark_problem(problem))
    return None


def launch_study(spec: StudySpec) -> StudyRecord:
    """Lay the study out and let its process begin. Raises KSLotteryError before either when it cannot run."""
    from kslottery_core.studies import start_study

    store = load_study_store()
    with st.spinner("Starting the study…"):
        return start_study(store, store.create(spec).study_id)


def describe_plan(plan: StudyPlan) -> str:
    """How much work a study is, as Markdown."""
    text = f"**{format_noun(plan.cells, 'run')}**, {plan.trained:,} of them with training. "
    if plan.reused:
        has = "has" if plan.reused == 1 else "have"
        text += f"{plan.reused:,} {has} finished already and will be taken over."
    else:
        text += "None has finished already."
    if plan.unknown:
        text += f" For {plan.unknown:,} this shows only once their rows have been chosen."
    return text


def _show_texts() -> None:
    train, test, source, target = st.columns([3, 3, 1, 1.6])
    several = f"Several languages: one text with all of them, or {TARGET_SIGN} in the path, once for each."
    train.text_input("Training text", key="study_train", placeholder="/texts/train.jsonl", help=several, **KEEP)
    test.text_input("Test text", key="study_test", placeholder="/texts/test.jsonl", help=several, **KEEP)
    source.text_input("From", key="study_source", placeholder="en", **KEEP)
    target.text_input(
        "To (one or several)",
        key="study_target",
        placeholder="ca, es",
        help="Target languages, with commas between them. Every arm learns and is tested on each of them apart.",
        **KEEP,
    )
    findings = [
        line
        for part, title in (("train", "Training text"), ("test", "Test text"))
        if read_text(f"study_{part}")
        for line in _list_findings(part, title)
    ]
    if findings:
        st.caption("  \n".join(findings))


def _list_findings(part: str, title: str) -> list[str]:
    """A line a text on what lies at its path."""
    lines = []
    try:
        corpora = list_corpora(part)
        for corpus in corpora:
            which = f"{title} ({corpus.target})" if len(corpora) > 1 else title
            if may_look(corpus):
                preview = load_preview(corpus)
                lines.append(
                    f"{escape_markdown(which)}: {escape_markdown(preview.format_name)}. {describe_lines(preview)}"
                )
            else:
                lines.append(f"{escape_markdown(which)}: lies on the hub and is fetched when the study runs.")
    except KSLotteryError as problem:
        lines.append(mark_problem(problem))
    return lines


def _show_grid() -> None:
    st.markdown("**The same for all**")
    seeds, steps, batch, beams, new_tokens = st.columns([1.6, 1.6, 1, 1, 1], vertical_alignment="bottom")
    several = "One or several whole numbers, with commas between them."
    seeds.text_input(
        "Seeds",
        key="study_seeds",
        placeholder="42, 43, 44",
        help=f"{several} Three or more show how much is chance; the table gives their lowest and highest.",
        **KEEP,
    )
    steps.text_input(
        "Training steps",
        key="study_steps",
        placeholder="100, 300",
        help=f"{several} A ticket's size depends on them, as on the learning rate.",
        **KEEP,
    )
    batch.number_input("Sentences a step", min_value=1, value=None, step=1, key="study_batch", **KEEP)
    beams.number_input("Beams (1 is greedy)", min_value=1, value=None, step=1, key="study_beams", **KEEP)
    new_tokens.number_input("New tokens at most", min_value=1, value=None, step=1, key="study_new_tokens", **KEEP)


def _show_more() -> None:
    train_limit, test_limit, device = st.columns(3)
    limit_help = "Use only the first so many sentence pairs; empty for all."
    for column, words, key in (
        (train_limit, "Training pairs at most", "study_train_limit"),
        (test_limit, "Test pairs at most", "study_test_limit"),
    ):
        column.number_input(words, min_value=1, value=None, step=1, key=key, help=limit_help, **KEEP)
    device.selectbox("Device", list(DEVICE_NAMES), format_func=DEVICE_NAMES.__getitem__, key="study_device", **KEEP)
    st.text_area(
        "Prompt",
        key="study_prompt",
        height=110,
        help="{source} stands for the sentence, {source_language} and {target_language} for the languages' names.",
        **KEEP,
    )
