"""From what the run form holds to a run's spec; every missing entry is one sentence in the form's own words."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import loaders
from dashboard.controls.fields import read_number, read_text
from dashboard.controls.text_fields import build_corpus
from dashboard.loaders import Comparison
from dashboard.views.runs.method_fields import KEPT_METHODS, build_settings, list_suggestions
from dashboard.views.runs.row_choice import (
    FROM_ALPHA,
    FROM_TOP,
    choose_ticket,
    find_tied,
    name_rows,
    suggest_row_entries,
)
from dashboard.wording import METHOD_NAMES, format_name
from kslottery_core.errors import RunError
from kslottery_core.runs.spec import NAME_LENGTH, TICKET_METHODS
from kslottery_core.tuning.settings import TRAINED_METHODS, TuningSettings, choose_learning_rate

if TYPE_CHECKING:
    from kslottery_core.evaluation.settings import EvaluationSettings
    from kslottery_core.runs import RunSpec
    from kslottery_core.tickets import Ticket

__all__ = ["FROM_ALPHA", "FROM_TOP", "build_spec", "choose_defaults", "describe_rate", "make_name", "suggest_entries"]

_RATE_REASONS = {
    "full": "what worked here for small models; the paper's authors took 2e-5.",
    "embedding": "what worked here for small models; the paper's authors took 2e-5, for far more steps.",
    "ticket": "what worked here for small models; a few rows bear, and need, far larger steps than a model.",
    "lora": "on the demo's model, in 100 steps, it did best of 1e-4 to 3e-2; the paper's authors took 1e-4.",
    "prefix": "a prefix learns slowly. On the demo's model, in 100 steps, 3e-2 did best; with 1e-2 it had not yet "
    "learned where to stop.",
}
_ADVICE = "It is not fitted to your model: try several before you call a method worse."


def choose_defaults(method: str, comparison: Comparison | None) -> tuple[TuningSettings, EvaluationSettings]:
    """What the form suggests: on the demo what its finished runs used, so that a new run can be ranked with them."""
    from kslottery_core.evaluation.settings import EvaluationSettings

    tuning, evaluation = TuningSettings(learning_rate=choose_learning_rate(method)), EvaluationSettings()
    specs = _read_demo_specs(comparison)
    for spec in specs.values():
        evaluation = spec.evaluation
    if method in specs:
        tuning = specs[method].tuning
    return tuning, evaluation


def describe_rate(method: str, comparison: Comparison | None) -> str:
    """Where the suggested learning rate comes from, and what it does not promise."""
    if method in _read_demo_specs(comparison):
        return f"that of the demo's finished run. {_ADVICE}"
    return f"{_RATE_REASONS[method]} {_ADVICE}"


def _read_demo_specs(comparison: Comparison | None) -> dict[str, RunSpec]:
    if comparison is None or not loaders.is_demo(comparison.choice):
        return {}
    return {record.spec.method: record.spec for record in loaders.load_demo_runs() if record.spec is not None}


def suggest_entries(method: str, comparison: Comparison | None) -> dict[str, object]:
    """What the form suggests for each of its fields, by key: models from the open pair, texts only on the demo."""
    from kslottery_core.corpora import DEFAULT_PROMPT, CorpusSpec

    pair = None if comparison is None else comparison.choice
    on_demo = pair is not None and loaders.is_demo(pair)
    texts = {part: loaders.find_demo_text(part) if on_demo else None for part in ("train", "test")}
    tuning, evaluation = choose_defaults(method, comparison)
    return {
        "run_model": "" if pair is None else pair.before or "",
        "run_revision": "" if pair is None else pair.before_revision or "",
        "run_after": "" if pair is None else pair.after or "",
        "run_after_revision": "" if pair is None else pair.after_revision or "",
        "run_train": str(texts["train"] or ""),
        "run_test": str(texts["test"] or ""),
        "run_source": CorpusSpec.source if on_demo else "",
        "run_target": CorpusSpec.target if on_demo else "",
        "run_rejected_percent": 100 * CorpusSpec.max_rejected_share,
        "run_prompt": DEFAULT_PROMPT,
        "run_beams": evaluation.beams,
        "run_new_tokens": evaluation.max_new_tokens,
        **suggest_row_entries(comparison),
        **list_suggestions(method, tuning),
    }


def make_name(method: str, comparison: Comparison | None) -> str:
    """The name of a run that nobody names: its method, and which rows it takes."""
    if method not in TICKET_METHODS:
        return format_name(METHOD_NAMES, method)
    short = "Partial Tuning" if method == "ticket" else "Partial Transfer"
    return f"{short}, {name_rows(comparison)}"[:NAME_LENGTH]


def build_spec(method: str, name: str, comparison: Comparison | None) -> RunSpec:
    """The run that the form asks for. Raises KSLotteryError with one sentence for a missing or wrong entry."""
    from kslottery_core.runs import RunSpec

    state = st.session_state
    defaults, evaluation = choose_defaults(method, comparison)
    trained = method in TRAINED_METHODS
    if not read_text("run_model"):
        raise RunError("The base model is missing; give a model folder, a GGUF file or a hub id.")
    if trained and not read_text("run_train"):
        raise RunError("The training text is missing; give a file of sentence pairs to learn from.")
    if method == "base" and not read_text("run_test"):
        raise RunError("The base model is only tested, and the test text is missing; give a file of sentence pairs.")
    return RunSpec(
        name=name,
        method=method,
        model=read_text("run_model"),
        revision=read_text("run_revision") or None,
        ticket=_choose_full_ticket(comparison) if method in TICKET_METHODS else None,
        after=(read_text("run_after") or None) if method == "transfer" else None,
        after_revision=(read_text("run_after_revision") or None) if method == "transfer" else None,
        train=build_corpus("train") if trained else None,
        test=build_corpus("test") if read_text("run_test") else None,
        prompt=state["run_prompt"],
        tuning=build_settings(method, defaults, find_tied(comparison))
        if trained
        else replace(defaults, ticket_rows="input"),
        evaluation=replace(
            evaluation, beams=int(read_number("run_beams")), max_new_tokens=int(read_number("run_new_tokens"))
        ),
        device=state["run_device"],
        output=state.get("run_output", "rows") if method in KEPT_METHODS else "rows",
    )


def _choose_full_ticket(comparison: Comparison | None) -> Ticket:
    ticket = choose_ticket(comparison)
    if not ticket.size:
        raise RunError(
            "The ticket is empty: no token wins at the present α. Raise α, or take the tokens with the largest D."
            if ticket.rule == "alpha"
            else "The ticket is empty; choose rows in another way."
        )
    return ticket
