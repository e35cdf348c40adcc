"""The form that starts a run: sane values everywhere, the rest behind "More settings"."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import loaders
from dashboard.controls.fields import KEEP, fill_fields, name_training_field, read_number, read_text
from dashboard.controls.text_fields import build_corpus, show_filters, show_rejection_limit, show_text_fields
from dashboard.loaders import Comparison
from dashboard.views.runs.row_choice import (
    COUNTS_TOKENS,
    FROM_ALPHA,
    FROM_TOP,
    choose_ticket,
    find_tied,
    get_source,
    name_rows,
    show_row_source,
    suggest_row_entries,
)
from dashboard.views.runs.text_preview import show_text_preview
from dashboard.wording import (
    DEVICE_NAMES,
    METHOD_EXPLANATIONS,
    METHOD_NAMES,
    TICKET_ROW_NAMES,
    TIED_DEFAULT,
    escape_markdown,
    format_name,
    format_number,
)
from kslottery_core.errors import KSLotteryError, RunError
from kslottery_core.runs.spec import NAME_LENGTH, TICKET_METHODS
from kslottery_core.tuning.settings import (
    METHODS,
    SCHEDULES,
    TICKET_ROWS,
    TRAINED_METHODS,
    LoraSettings,
    PrefixSettings,
    TuningSettings,
    choose_learning_rate,
)

if TYPE_CHECKING:
    from kslottery_core.evaluation.generate import EvaluationSettings
    from kslottery_core.runs import RunRecord, RunSpec
    from kslottery_core.tickets import Ticket
    from kslottery_core.tuning.settings import TuningSettings

KEPT_METHODS = ("ticket", "transfer", "lora")
"""Methods whose result is small, or a whole model on request; the others leave no such choice."""

_INPUT_ROW_METHODS = ("embedding", "ticket", "transfer")


def show_method_fields(method: str, tied: bool | None, suggested_rate: float, rate_reason: str) -> None:
    """Training settings with the reason of the suggested learning rate, and the method's own fields above them."""
    if method == "lora":
        _show_lora()
    elif method == "prefix":
        st.number_input(
            "Length of the prefix (virtual tokens)",
            min_value=1,
            value=None,
            step=5,
            key="run_virtual_tokens",
            width=320,
            help="How many trained positions stand before the text, in every layer. They take room from the text.",
            **KEEP,
        )
    _show_training(method)
    st.caption(f"Suggested learning rate {format_number(suggested_rate)}: {rate_reason}")
    if method == "ticket":
        show_ticket_rows(tied)
    show_tied_note(method, tied)


def show_ticket_rows(tied: bool | None) -> None:
    """The choice between input rows and both ends, which only a tied model has."""
    if tied:
        st.selectbox(
            "Rows of the ticket to train",
            TICKET_ROWS,
            format_func=TICKET_ROW_NAMES.__getitem__,
            key="run_ticket_rows",
            help="A tied model uses one matrix to read tokens and to predict them. The paper's models are not tied, so "
            "its method is the first choice; the second trains the shared rows as what they are.",
            **KEEP,
        )


def show_tied_note(method: str, tied: bool | None) -> None:
    """Say what happens to the output layer of a tied model."""
    if tied and method in _INPUT_ROW_METHODS:
        if method == "ticket" and st.session_state.get("run_ticket_rows") == "input_and_head":
            st.caption(
                "This model is tied. The ticket's rows change where tokens are read and where they are predicted."
            )
        else:
            st.caption(f"This model is tied. {TIED_DEFAULT}")


def _show_lora() -> None:
    rank, alpha, dropout, targets = st.columns([1, 1, 1, 2])
    rank.number_input(
        "Rank",
        min_value=1,
        value=None,
        step=1,
        key="run_lora_rank",
        help="Width of the two small matrices beside each layer: the number of trained parameters grows with it.",
        **KEEP,
    )
    alpha.number_input(
        "LoRA alpha",
        min_value=0.01,
        value=None,
        step=1.0,
        key="run_lora_alpha",
        help="The change is multiplied by alpha / rank. It has nothing to do with the ticket's α.",
        **KEEP,
    )
    dropout.number_input(
        "Dropout",
        min_value=0.0,
        max_value=0.99,
        value=None,
        step=0.05,
        key="run_lora_dropout",
        help="Share of inputs that are dropped while training.",
        **KEEP,
    )
    targets.text_input(
        "Target modules",
        key="run_lora_targets",
        placeholder="all linear layers but the output head",
        help="Names of linear layers, with commas between them, such as q_proj, v_proj. Empty takes all of them.",
        **KEEP,
    )


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
        **KEEP,
    )
    by_steps = steps.number_input(
        "Steps",
        min_value=1,
        value=None,
        step=10,
        placeholder="by epochs",
        key=name_training_field("steps", method),
        help="Optimizer steps. Clear the field to train by epochs instead.",
        **KEEP,
    )
    length.number_input(
        "Epochs",
        min_value=0.01,
        value=None,
        step=1.0,
        key=name_training_field("epochs", method),
        disabled=by_steps is not None,
        help="Passes over the training text; used where no number of steps is given.",
        **KEEP,
    )
    batch.number_input(
        "Sentences a batch", min_value=1, value=None, step=1, key=name_training_field("batch", method), **KEEP
    )


def show_schedule(method: str) -> None:
    """The training settings that most people leave alone."""
    length, accumulation, schedule, seed = st.columns(4)
    length.number_input(
        "Longest example (tokens)",
        min_value=1,
        value=None,
        step=32,
        key=name_training_field("max_length", method),
        help="Prompt and answer together; what lies beyond is cut off. A prompt that leaves no room for its answer "
        "stops the run before it starts.",
        **KEEP,
    )
    accumulation.number_input(
        "Batches a step", min_value=1, value=None, step=1, key=name_training_field("accumulation", method), **KEEP
    )
    schedule.selectbox(
        "Learning-rate schedule",
        SCHEDULES,
        format_func=str.capitalize,
        key=name_training_field("schedule", method),
        **KEEP,
    )
    seed.number_input("Seed", min_value=0, value=None, step=1, key=name_training_field("seed", method), **KEEP)


def list_suggestions(method: str, settings: TuningSettings) -> dict[str, object]:
    """What the fields of this method begin with, by key."""
    training = {
        "learning_rate": settings.learning_rate,
        "steps": settings.max_steps,
        "epochs": settings.epochs,
        "batch": settings.batch_size,
        "accumulation": settings.gradient_accumulation,
        "schedule": settings.schedule,
        "seed": settings.seed,
        "max_length": settings.max_length,
    }
    return {
        **{name_training_field(name, method): value for name, value in training.items()},
        "run_lora_rank": settings.lora.rank,
        "run_lora_alpha": float(settings.lora.alpha),
        "run_lora_dropout": float(settings.lora.dropout),
        "run_lora_targets": ", ".join(settings.lora.target_modules),
        "run_virtual_tokens": settings.prefix.virtual_tokens,
        "run_ticket_rows": settings.ticket_rows,
    }


def build_settings(method: str, defaults: TuningSettings, tied: bool | None) -> TuningSettings:
    """The settings that the form asks for, those of other methods left as they are. Raises KSLotteryError."""
    entries = st.session_state
    settings = replace(
        defaults,
        learning_rate=float(read_number(name_training_field("learning_rate", method))),
        epochs=float(read_number(name_training_field("epochs", method))),
        max_steps=entries.get(name_training_field("steps", method)),
        batch_size=int(read_number(name_training_field("batch", method))),
        gradient_accumulation=int(read_number(name_training_field("accumulation", method))),
        schedule=entries[name_training_field("schedule", method)],
        seed=int(read_number(name_training_field("seed", method))),
        max_length=int(read_number(name_training_field("max_length", method))),
        ticket_rows="input",
    )
    if method == "ticket" and tied:
        settings = replace(settings, ticket_rows=entries["run_ticket_rows"])
    if method == "lora":
        names = tuple(name.strip() for name in read_text("run_lora_targets").split(",") if name.strip())
        lora = LoraSettings(
            rank=int(read_number("run_lora_rank")),
            alpha=float(read_number("run_lora_alpha")),
            dropout=float(read_number("run_lora_dropout")),
            target_modules=names,
        )
        settings = replace(settings, lora=lora)
    if method == "prefix":
        settings = replace(settings, prefix=PrefixSettings(int(read_number("run_virtual_tokens"))))
    return settings


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
    from kslottery_core.evaluation.generate import EvaluationSettings

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

    entries = st.session_state
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
        prompt=entries["run_prompt"],
        tuning=build_settings(method, defaults, find_tied(comparison))
        if trained
        else replace(defaults, ticket_rows="input"),
        evaluation=replace(
            evaluation, beams=int(read_number("run_beams")), max_new_tokens=int(read_number("run_new_tokens"))
        ),
        device=entries["run_device"],
        output=entries.get("run_output", "rows") if method in KEPT_METHODS else "rows",
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
