"""What every reader of parallel text gives: one entry a line, with its fields or the reason why it has none."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kslottery_core.errors import CorpusError


@dataclass(frozen=True)
class Entry:
    """One line of a file: `fields` by column or language, or None with the `reason`; `line` counts from 1."""

    line: int
    text: str
    fields: Mapping[str, Any] | None
    reason: str | None = None


def explain_unreadable(path: Path, problem: Exception) -> CorpusError:
    """The error to raise when opening or reading `path` fails with an OSError or ValueError."""
    if isinstance(problem, FileNotFoundError):
        return CorpusError(f"{path}: expected a file of parallel text, found nothing there; check the path.")
    reason = getattr(problem, "strerror", None) or problem
    return CorpusError(f"{path}: the file cannot be read ({reason}); check the path and its rights.")


def read_object(line: int, text: str, content: Any) -> Entry:
    """The entry of one parsed JSON value or data-set row: its fields, or those of its 'translation'."""
    if not isinstance(content, Mapping):
        return Entry(line, text, None, f"expected a JSON object, found {type(content).__name__}")
    if "translation" not in content:
        return Entry(line, text, content)
    translation = content["translation"]
    if not isinstance(translation, Mapping):
        return Entry(line, text, None, f"expected languages in 'translation', found {type(translation).__name__}")
    return Entry(line, text, translation)
