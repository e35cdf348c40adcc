"""The form that sets up a study, and what it says of the work before anything starts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import loaders
from dashboard.controls.fields import KEEP, fill_fields, read_text
from dashboard.controls.text_fields import describe_lines, mark_problem, may_look
from dashboard.loaders import AlphaChoice, PairChoice
from dashboard.loaders.texts import is_on_hub, load_preview, text_exists
from dashboard.views.studies.arms import (
    build_arms,
    read_numbers,
    read_required_number,
    show_arms,
    split_list,
    suggest_arm_entries,
)
from dashboard.views.studies.loading import StudyPlan, load_study_store, plan_study
from dashboard.wording import DEVICE_NAMES, escape_markdown, format_noun
from kslottery_core.errors import KSLotteryError, StudyError

if TYPE_CHECKING:
    from kslottery_core.corpora import CorpusSpec
    from kslottery_core.evaluation.generate import EvaluationSettings
    from kslottery_core.studies import StudyRecord, StudySpec, StudyText
    from kslottery_core.tuning.settings import TuningSettings


TARGET_SIGN = "{target}"
"""Stands for the target language in a path, where every language has a file of its own."""

_PART_NAMES = {"train": "training text", "test": "test text"}
_DEMO_NAME = "Which rows, and how much training"


def suggest_entries(pair: PairChoice | None, alpha: AlphaChoice) -> dict[str, object]:
    """What the form begins with, by key: the model from the open pair, texts and decoding only on the demo."""
    from kslottery_core.corpora import DEFAULT_PROMPT

    demo = _find_demo_study(pair)
    tuning, evaluation = _choose_defaults(demo)
    text = None if demo is None else demo.texts[0]
    return {
        "study_name": "",
        "study_model": "" if pair is None else pair.before or "",
        "study_revision": "" if pair is None else pair.before_revision or "",
        "study_train": "" if text is None else text.train.path,
        "study_test": "" if text is None else text.test.path,
        "study_source": "" if text is None else text.train.source,
        "study_target": "" if text is None else text.train.target,
        "study_seeds": "42",
        "study_steps": "300" if demo is None else ", ".join(map(str, demo.steps)),
        "study_train_limit": None,
        "study_test_limit": None,
        "study_prompt": DEFAULT_PROMPT,
        "study_batch": tuning.batch_size,
        "study_beams": evaluation.beams,
        "study_new_tokens": evaluation.max_new_tokens,
        "study_device": "auto",
        **suggest_arm_entries(alpha.significance_level, alpha.correction),
    }


def _find_demo_study(pair: PairChoice | None) -> StudySpec | None:
    return build_demo_study() if pair is not None and loaders.is_demo(pair) else None


def _choose_defaults(demo: StudySpec | None) -> tuple[TuningSettings, EvaluationSettings]:
    from kslottery_core.evaluation.generate import EvaluationSettings
    from kslottery_core.tuning.settings import TuningSettings

    return (TuningSettings(), EvaluationSettings()) if demo is None else (demo.tuning, demo.evaluation)


def build_demo_study() -> StudySpec | None:
    """A small study of the bundled demo, tested as its finished runs were; None without a demo."""
    from kslottery_core.corpora import CorpusSpec
    from kslottery_core.evaluation.generate import EvaluationSettings
    from kslottery_core.studies import RowRule, StudyArm, StudySpec, StudyText
    from kslottery_core.tuning.settings import TuningSettings

    pair = loaders.resolve_choice(PairChoice())
    train, test = (loaders.find_demo_text(part) for part in ("train", "test"))
    if pair is None or train is None or test is None:
        return None
    specs = [record.spec for record in loaders.load_demo_runs() if record.spec is not None]
    ticket = RowRule("ks", significance_level=AlphaChoice.significance_level)
    return StudySpec(
        name=_DEMO_NAME,
        model=pair.before or "",
        arms=(
            StudyArm("Base model", "base"),
            StudyArm("Embedding tuning", "embedding"),
            StudyArm("KS ticket", "ticket", ticket),
            StudyArm("KS ticket, copied", "transfer", ticket),
            StudyArm("Most frequent rows", "ticket", RowRule("frequent", counted="training")),
            StudyArm("Random rows", "ticket", RowRule("random")),
        ),
        texts=(StudyText(CorpusSpec(str(train)), CorpusSpec(str(test))),),
        steps=(100, 300),
        tuning=TuningSettings(),
        evaluation=specs[0].evaluation if specs else EvaluationSettings(),
    )


def build_study(pair: PairChoice | None) -> StudySpec:
    """The study that the form asks for. Raises KSLotteryError with one sentence for a missing or wrong entry."""
    from kslottery_core.studies import StudySpec

    tuning, evaluation = _choose_defaults(_find_demo_study(pair))
    if not read_text("study_model"):
        raise StudyError("The model is missing; give a model folder, a GGUF file or a hub id.")
    arms = build_arms()
    seeds = read_numbers("study_seeds", "seeds", whole=True)
    steps = read_numbers("study_steps", "training steps", whole=True)
    for words, numbers in (("seed", seeds), ("number of training steps", steps)):
        if not numbers:
            raise StudyError(f"The {words} is missing; fill one in, or several with commas.")
    return StudySpec(
        name=read_text("study_name") or make_name(),
        model=read_text("study_model"),
        revision=read_text("study_revision") or None,
        arms=arms,
        texts=_build_texts(),
        seeds=seeds,
        steps=steps,
        prompt=st.session_state["study_prompt"],
        tuning=replace(tuning, batch_size=read_required_number("study_batch", "number of sentences a batch")),
        evaluation=replace(
            evaluation,
            beams=read_required_number("study_beams", "number of beams"),
            max_new_tokens=read_required_number("study_new_tokens", "number of new tokens"),
        ),
        device=st.session_state["study_device"],
    )


def make_name() -> str:
    """The name of a study that nobody names: its languages and its numbers of steps."""
    from kslottery_core.studies.spec import NAME_LENGTH

    source, targets, steps = read_text("study_source"), split_list(read_text("study_target")), read_text("study_steps")
    parts = [f"{source} to {', '.join(targets)}"] if source and targets else []
    parts += [f"{steps} steps"] if steps else []
    return f"Study: {', '.join(parts)}"[:NAME_LENGTH] if parts else "Study"


def list_corpora(part: str) -> tuple[CorpusSpec, ...]:
    """The texts of a part, "train" or "test", one a target language. Raises KSLotteryError."""
    from kslottery_core.corpora import CorpusSpec

    path, words, source = read_text(f"study_{part}"), _PART_NAMES[part], read_text("study_source")
    targets = split_list(read_text("study_target"))
    if not path:
        raise StudyError(f"The {words} is missing; give a file of sentence pairs.")
    for side, filled in (("source", source), ("target", targets)):
        if not filled:
            raise StudyError(f"The {side} language is missing; give the language or column of the texts, such as en.")
    found = []
    for target in targets:
        place = path.replace(TARGET_SIGN, target)
        if not is_on_hub(place) and not text_exists(place):
            raise StudyError(f"There is no file at {place}; check the path of the {words}.")
        found.append(CorpusSpec(place, source, target, st.session_state.get(f"study_{part}_limit")))
    return tuple(found)


def _build_texts() -> tuple[StudyText, ...]:
    from kslottery_core.studies import StudyText

    return tuple(StudyText(*parts) for parts in zip(list_corpora("train"), list_corpora("test"), strict=True))


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
