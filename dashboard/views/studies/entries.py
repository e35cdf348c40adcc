"""From what the study form holds to a study's spec, and the study that the bundled demo offers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import loaders
from dashboard.controls.fields import read_text
from dashboard.loaders import AlphaChoice, PairChoice
from dashboard.loaders.texts import is_on_hub, text_exists
from dashboard.views.studies.arms import build_arms, suggest_arm_entries
from dashboard.views.studies.fields import read_numbers, read_required_number, split_list
from kslottery_core.errors import StudyError

if TYPE_CHECKING:
    from kslottery_core.corpora import CorpusSpec
    from kslottery_core.evaluation.settings import EvaluationSettings
    from kslottery_core.studies import StudySpec, StudyText
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
    from kslottery_core.evaluation.settings import EvaluationSettings
    from kslottery_core.tuning.settings import TuningSettings

    return (TuningSettings(), EvaluationSettings()) if demo is None else (demo.tuning, demo.evaluation)


def build_demo_study() -> StudySpec | None:
    """A small study of the bundled demo, tested as its finished runs were; None without a demo."""
    from kslottery_core.corpora import CorpusSpec
    from kslottery_core.evaluation.settings import EvaluationSettings
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
            StudyArm("Most frequent rows", "ticket", RowRule("frequent")),
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
