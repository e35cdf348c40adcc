"""The lines of a text file, and the entries that every reader makes of its format."""

from collections.abc import Iterator, Mapping
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


UTF8_MARK = b"\xef\xbb\xbf"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
NOT_UTF8 = "the line is not UTF-8 text"


def read_lines(path: Path) -> Iterator[tuple[int, str | None, str]]:
    """Number, text (None where it is not UTF-8) and a printable form of each line. Raises CorpusError."""
    try:
        if path.is_dir():
            raise CorpusError(f"{path}: expected a file of parallel text, found a folder; give a file inside it.")
        with path.open("rb") as file:
            if file.read(2) in UTF16_MARKS:
                raise CorpusError(f"{path}: expected UTF-8 text, found UTF-16; save the file as UTF-8.")
            file.seek(0)
            for number, raw in enumerate(file, 1):
                if b"\0" in raw:
                    raise CorpusError(
                        f"{path}: expected UTF-8 text, found a binary file (a zero byte in line {number}); "
                        "give a text file."
                    )
                content = (raw.removeprefix(UTF8_MARK) if number == 1 else raw).rstrip(b"\r\n")
                shown = content.decode("utf-8", errors="replace")
                try:
                    yield number, content.decode("utf-8"), shown
                except UnicodeDecodeError:
                    yield number, None, shown
    except (OSError, ValueError) as problem:
        raise explain_unreadable(path, problem) from None


def read_aligned(sides: tuple[Path, Path], names: tuple[str, str]) -> Iterator[Entry]:
    """Line n of the first file with line n of the second, under their `names`.

    Raises CorpusError when the two have different numbers of lines or cannot be read.
    """
    lengths = [sum(1 for _ in read_lines(side)) for side in sides]
    if lengths[0] != lengths[1]:
        raise CorpusError(
            f"{sides[0]}: expected as many lines as in {sides[1].name}, found {lengths[0]:,} and {lengths[1]:,}; "
            "align the two files line by line."
        )
    for (number, first, shown), (_, second, _) in zip(*(read_lines(side) for side in sides), strict=True):
        if first is None or second is None:
            yield Entry(number, shown, None, NOT_UTF8)
        else:
            yield Entry(number, shown, {names[0]: first, names[1]: second})
