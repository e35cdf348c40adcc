"""The sentence for a value in the address that cannot be used: every page says it alike. Knows no Streamlit."""

from __future__ import annotations

from collections.abc import Iterable

from dashboard.wording import shorten


def describe_refused(name: str, found: str, expected: str) -> str:
    """What an address asked for by the parameter `name`, and what was expected instead. Plain text."""
    return f"The address asks for {name} = {shorten(found)}; expected {expected}."


def describe_unknown(name: str, found: str, known: Iterable[str]) -> str:
    """The same for a parameter that takes some words and no others."""
    return describe_refused(name, found, f"one of {', '.join(known)}")
