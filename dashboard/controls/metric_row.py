"""A row of bordered numbers, each with a line that puts it in proportion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from dashboard.wording import escape_markdown


@dataclass(frozen=True)
class ShownNumber:
    """One number as it is read; `context` stands below it. All texts but the value may hold names."""

    label: str
    value: str
    context: str | None = None
    explanation: str | None = None


def show_metric_row(numbers: Sequence[ShownNumber]) -> None:
    """Show the numbers side by side."""
    for column, number in zip(st.columns(len(numbers)), numbers, strict=True):
        column.metric(
            escape_markdown(number.label),
            number.value,
            delta=None if number.context is None else escape_markdown(number.context),
            delta_color="off",
            delta_arrow="off",
            border=True,
            help=None if number.explanation is None else escape_markdown(number.explanation),
        )
