"""What a method lets one set: its training settings, LoRA's rank, a prefix's length, which rows of a tied model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.controls.fields import KEEP, name_training_field, read_number, read_text
from dashboard.wording import TICKET_ROW_NAMES, TIED_DEFAULT, format_number
from kslottery_core.tuning.settings import SCHEDULES, TICKET_ROWS, LoraSettings, PrefixSettings

if TYPE_CHECKING:
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
    state = st.session_state
    settings = replace(
        defaults,
        learning_rate=float(read_number(name_training_field("learning_rate", method))),
        epochs=float(read_number(name_training_field("epochs", method))),
        max_steps=state.get(name_training_field("steps", method)),
        batch_size=int(read_number(name_training_field("batch", method))),
        gradient_accumulation=int(read_number(name_training_field("accumulation", method))),
        schedule=state[name_training_field("schedule", method)],
        seed=int(read_number(name_training_field("seed", method))),
        max_length=int(read_number(name_training_field("max_length", method))),
        ticket_rows="input",
    )
    if method == "ticket" and tied:
        settings = replace(settings, ticket_rows=state["run_ticket_rows"])
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
