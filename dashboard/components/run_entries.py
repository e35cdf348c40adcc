"""From what the run form holds to a run's spec; every missing entry is one sentence in the form's own words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import loaders, session
from dashboard.loaders import Comparison
from kslottery_core.errors import RunError
from kslottery_core.runs.spec import TICKET_METHODS
from kslottery_core.tuning.settings import TRAINED_METHODS, TuningSettings

if TYPE_CHECKING:
    from kslottery_core.corpora import CorpusSpec
    from kslottery_core.evaluation.settings import EvaluationSettings
    from kslottery_core.runs import RunSpec
    from kslottery_core.tickets import Ticket

FROM_ALPHA = "The ticket at the present α"
FROM_TOP = "The tokens with the largest D"
FROM_FILE = "A ticket file"

_LEARNING_RATES = {"full": 5e-5}  # every weight moves: far smaller steps than for a few embedding rows
_NUMBER_NAMES = {
    "run_learning_rate": "learning rate",
    "run_epochs": "number of epochs",
    "run_batch": "number of sentences a batch",
    "run_accumulation": "number of batches a step",
    "run_seed": "seed",
    "run_beams": "number of beams",
    "run_new_tokens": "number of new tokens",
    "run_top": "number of tokens",
}


def choose_defaults(method: str, comparison: Comparison | None) -> tuple[TuningSettings, EvaluationSettings]:
    """What the form suggests: on the demo what its finished runs used, so that a new run can be ranked with them."""
    from kslottery_core.evaluation.settings import EvaluationSettings

    rate = _LEARNING_RATES.get(method, TuningSettings().learning_rate)
    tuning, evaluation = TuningSettings(learning_rate=rate), EvaluationSettings()
    if comparison is not None and loaders.is_demo(comparison.choice):
        specs = {record.spec.method: record.spec for record in loaders.load_demo_runs() if record.spec is not None}
        for spec in specs.values():
            evaluation = spec.evaluation
        if method in specs:
            tuning = specs[method].tuning
    return tuning, evaluation


def name_training_field(name: str, method: str) -> str:
    """The key of a training setting in the form: each method has its own, or one would inherit another's steps."""
    return f"run_{name}_{method}"


def suggest_entries(method: str, comparison: Comparison | None) -> dict[str, object]:
    """What the form suggests for each of its fields, by key: models from the open pair, texts only on the demo."""
    from kslottery_core.corpora import DEFAULT_PROMPT, CorpusSpec

    pair = None if comparison is None else comparison.choice
    on_demo = pair is not None and loaders.is_demo(pair)
    texts = {part: loaders.find_demo_text(part) if on_demo else None for part in ("train", "test")}
    tuning, evaluation = choose_defaults(method, comparison)
    training = {
        "learning_rate": tuning.learning_rate,
        "steps": tuning.max_steps,
        "epochs": tuning.epochs,
        "batch": tuning.batch_size,
        "accumulation": tuning.gradient_accumulation,
        "schedule": tuning.schedule,
        "seed": tuning.seed,
    }
    return {
        "run_model": "" if pair is None else pair.before or "",
        "run_revision": "" if pair is None else pair.before_revision or "",
        "run_after": "" if pair is None else pair.after or "",
        "run_after_revision": "" if pair is None else pair.after_revision or "",
        "run_train": str(texts["train"] or ""),
        "run_test": str(texts["test"] or ""),
        "run_source": CorpusSpec.source if on_demo else "",
        "run_target": CorpusSpec.target if on_demo else "",
        "run_prompt": DEFAULT_PROMPT,
        "run_beams": evaluation.beams,
        "run_new_tokens": evaluation.max_new_tokens,
        **{name_training_field(name, method): value for name, value in training.items()},
    }


def build_spec(method: str, name: str, comparison: Comparison | None) -> RunSpec:
    """The run that the form asks for. Raises KSLotteryError with one sentence for a missing or wrong entry."""
    from kslottery_core.runs import RunSpec

    state = st.session_state
    defaults, evaluation = choose_defaults(method, comparison)
    trained = method in TRAINED_METHODS
    if not _read_text("run_model"):
        raise RunError("The base model is missing; give a model folder, a GGUF file or a hub id.")
    if trained and not _read_text("run_train"):
        raise RunError("The training text is missing; give a file of sentence pairs to learn from.")
    if method == "base" and not _read_text("run_test"):
        raise RunError("The base model is only tested, and the test text is missing; give a file of sentence pairs.")
    tuning = defaults
    if trained:
        tuning = replace(
            defaults,
            learning_rate=float(_read_number(name_training_field("learning_rate", method))),
            epochs=float(_read_number(name_training_field("epochs", method))),
            max_steps=state.get(name_training_field("steps", method)),
            batch_size=int(_read_number(name_training_field("batch", method))),
            gradient_accumulation=int(_read_number(name_training_field("accumulation", method))),
            schedule=state[name_training_field("schedule", method)],
            seed=int(_read_number(name_training_field("seed", method))),
        )
    return RunSpec(
        name=name,
        method=method,
        model=_read_text("run_model"),
        revision=_read_text("run_revision") or None,
        ticket=_choose_ticket(comparison) if method in TICKET_METHODS else None,
        after=(_read_text("run_after") or None) if method == "transfer" else None,
        after_revision=(_read_text("run_after_revision") or None) if method == "transfer" else None,
        train=_build_corpus("train") if trained else None,
        test=_build_corpus("test") if _read_text("run_test") else None,
        prompt=state["run_prompt"],
        tuning=tuning,
        evaluation=replace(
            evaluation, beams=int(_read_number("run_beams")), max_new_tokens=int(_read_number("run_new_tokens"))
        ),
        device=state["run_device"],
        output=state.get("run_output", "rows"),
    )


def _read_text(key: str) -> str:
    return str(st.session_state.get(key) or "").strip()


def _read_number(key: str) -> float:
    value = st.session_state.get(key)
    if value is None:
        name = next(name for prefix, name in _NUMBER_NAMES.items() if key.startswith(prefix))
        raise RunError(f"The {name} is missing; fill it in.")
    return value


def _build_corpus(part: str) -> CorpusSpec:
    from kslottery_core.corpora import CorpusSpec

    path, words = _read_text(f"run_{part}"), "training text" if part == "train" else "test text"
    if not Path(path).expanduser().exists():
        raise RunError(f"There is no file at {path}; check the path of the {words}.")
    for side in ("source", "target"):
        if not _read_text(f"run_{side}"):
            raise RunError(f"The {side} language is missing; give the language or column of the {words}, such as en.")
    return CorpusSpec(
        path, _read_text("run_source"), _read_text("run_target"), st.session_state.get(f"run_{part}_limit")
    )


def _choose_ticket(comparison: Comparison | None) -> Ticket:
    from kslottery_core.tickets import Ticket, select_top_k_ticket

    source = st.session_state["run_ticket_source"]
    if source == FROM_FILE or comparison is None:
        upload = st.session_state.get("run_ticket_file")
        if upload is None:
            raise RunError("The ticket is missing; choose a ticket file, or open a pair and select one there.")
        try:
            content = json.loads(upload.getvalue())
        except ValueError:
            raise RunError(f"{upload.name} is no JSON file; choose a ticket that was downloaded here.") from None
        return Ticket.from_json(content, upload.name)
    if source == FROM_TOP:
        return select_top_k_ticket(comparison.result, int(_read_number("run_top")), tokens=comparison.pair.tokens)
    ticket = loaders.load_selection(comparison, session.get_choice().alpha).ticket
    if not ticket.size:
        raise RunError(
            "The ticket is empty: no token wins at the present α. Raise α, or take the tokens with the largest D."
        )
    return ticket
