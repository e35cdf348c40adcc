"""Reading the run form's fields: they live in the session by key; what is missing is one sentence."""

from __future__ import annotations

import streamlit as st

from kslottery_core.errors import RunError

KEEP = {"persist_state": "session"}
"""What every field of the form is given: leaving the page, or the method that shows it, loses nothing."""

_NUMBER_NAMES = {
    "run_learning_rate": "learning rate",
    "run_epochs": "number of epochs",
    "run_batch": "number of sentences a batch",
    "run_accumulation": "number of batches a step",
    "run_seed": "seed",
    "run_beams": "number of beams",
    "run_new_tokens": "number of new tokens",
    "run_top": "number of tokens",
    "run_frequent": "number of tokens",
    "run_random": "number of tokens",
    "run_row_seed": "seed of the choice",
    "run_lora_rank": "rank",
    "run_lora_alpha": "LoRA alpha",
    "run_lora_dropout": "dropout",
    "run_virtual_tokens": "length of the prefix",
    "run_max_length": "length of the longest example",
    "run_rejected_percent": "limit of rejected lines",
}


def fill_fields(suggested: dict[str, object], memory: str) -> None:
    """Fill every field with its suggestion; one that the person has changed keeps its content, cleared ones too.

    `memory` is the session key under which the suggestions are remembered until the next call.
    """
    earlier = st.session_state.get(memory, {})
    for key, value in suggested.items():
        if key not in st.session_state or (key in earlier and st.session_state[key] == earlier[key]):
            st.session_state[key] = value
    st.session_state[memory] = {**earlier, **suggested}


def read_text(key: str) -> str:
    """What a text field holds, without white space around it."""
    return str(st.session_state.get(key) or "").strip()


def read_number(key: str) -> float:
    """What a number field holds. Raises RunError when it was cleared."""
    value = st.session_state.get(key)
    if value is None:
        name = next(name for prefix, name in _NUMBER_NAMES.items() if key.startswith(prefix))
        raise RunError(f"The {name} is missing; fill it in.")
    return value


def name_training_field(name: str, method: str) -> str:
    """The key of a training setting in the form: each method has its own, or one would inherit another's steps."""
    return f"run_{name}_{method}"
