"""Reading the study form's fields: they live in the session by key; a wrong one is one sentence."""

from __future__ import annotations

import streamlit as st

from dashboard.controls.fields import read_text
from dashboard.wording import shorten
from kslottery_core.errors import StudyError


def name_field(kind: str, arm: str) -> str:
    """The key of what the form asks for an arm: `arm` whether it is ticked, `rates` its learning rates."""
    return f"study_{kind}_{arm}"


def split_list(text: str) -> tuple[str, ...]:
    """The parts of a text with commas between them, without white space around them."""
    return tuple(part.strip() for part in text.replace(";", ",").split(",") if part.strip())


def read_numbers(key: str, words: str, *, whole: bool = False) -> tuple:
    """The numbers of a field, int where `whole`, else float; none where it is empty. Raises StudyError."""
    kind = "whole numbers" if whole else "numbers"
    numbers = []
    for part in split_list(read_text(key)):
        try:
            numbers.append(int(part) if whole else float(part))
        except ValueError:
            raise StudyError(
                f"The {words}: expected {kind} with commas between them, found {shorten(part)!r}; correct it."
            ) from None
    return tuple(numbers)


def read_optional_number(key: str) -> int | None:
    """A whole number, None where the field is empty."""
    value = st.session_state.get(key)
    return None if value is None else int(value)


def read_required_number(key: str, words: str) -> int:
    """A whole number. Raises StudyError where the field is empty."""
    value = read_optional_number(key)
    if value is None:
        raise StudyError(f"The {words} is missing; fill it in.")
    return value
