"""Files of parallel text, read line by line: each line becomes its fields, or the reason why it has none."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kslottery_core.errors import CorpusError

UTF8_MARK = b"\xef\xbb\xbf"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
JSON_ENDINGS = frozenset({".jsonl", ".ndjson"})
TABLE_DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class Entry:
    """One line of a file: `fields` by column or language, or None with the `reason`; `line` counts from 1."""

    line: int
    text: str
    fields: dict[str, Any] | None
    reason: str | None = None


def read_entries(path: Path, source: str, target: str) -> Iterator[Entry]:
    """Read the file in the format that its ending names, without holding it in memory.

    Blank lines are passed over, except in line-aligned files, where they keep the two sides in step.
    Raises CorpusError when the file cannot be read at all.
    """
    ending = path.suffix.lower()
    if ending in JSON_ENDINGS:
        return _read_json_lines(path)
    if ending in TABLE_DELIMITERS:
        return _read_table(path, TABLE_DELIMITERS[ending], (source, target))
    if path.suffix in {f".{source}", f".{target}"}:
        return _read_aligned(path, source, target)
    raise CorpusError(
        f"{path}: expected a file that ends in .jsonl, .csv or .tsv, or in .{source} with its other side in a file "
        f"beside it that ends in .{target}, found {path.name!r}; rename or convert it."
    )


def _read_lines(path: Path) -> Iterator[tuple[int, str | None, str]]:
    """Number, text (None where it is not UTF-8) and a printable form of each line."""
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
    except FileNotFoundError:
        raise CorpusError(f"{path}: expected a file of parallel text, found nothing there; check the path.") from None
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise CorpusError(f"{path}: the file cannot be read ({reason}); check the path and its rights.") from None


NOT_UTF8 = "the line is not UTF-8 text"


def _read_json_lines(path: Path) -> Iterator[Entry]:
    for number, text, shown in _read_lines(path):
        if text is None:
            yield Entry(number, shown, None, NOT_UTF8)
        elif text.strip():
            yield _parse_json_line(number, text)


def _parse_json_line(number: int, text: str) -> Entry:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as problem:
        return Entry(number, text, None, f"the line is not JSON ({problem})")
    if not isinstance(content, dict):
        return Entry(number, text, None, f"expected a JSON object, found {type(content).__name__}")
    if "translation" not in content:
        return Entry(number, text, content)
    translation = content["translation"]
    if not isinstance(translation, dict):
        return Entry(number, text, None, f"expected languages in 'translation', found {type(translation).__name__}")
    return Entry(number, text, translation)


def _read_table(path: Path, delimiter: str, wanted: tuple[str, str]) -> Iterator[Entry]:
    rows = _read_tab_rows(path) if delimiter == "\t" else _read_comma_rows(path)
    header: list[str] | None = None
    for number, text, cells, reason in rows:
        if header is None:
            if cells is None:
                raise CorpusError(f"{path}: line {number}: expected a header line with column names, found: {reason}.")
            header = [cell.strip() for cell in cells]
            _check_header(path, header, wanted, delimiter)
        elif cells is None:
            yield Entry(number, text, None, reason)
        elif len(cells) > len(header) or any(header.index(name) >= len(cells) for name in wanted):
            columns = f"{len(cells)} column{'s' if len(cells) > 1 else ''}"
            yield Entry(number, text, None, f"the line has {columns} where the header has {len(header)}")
        else:
            yield Entry(number, text, dict(zip(header, cells, strict=False)))


def _check_header(path: Path, header: list[str], wanted: tuple[str, str], delimiter: str) -> None:
    found = ", ".join(repr(name) for name in header)
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    if repeated:
        raise CorpusError(
            f"{path}: expected each column name once, found {repeated[0]!r} {header.count(repeated[0])} times in the "
            "header line; rename one of them."
        )
    missing = [name for name in wanted if name not in header]
    if missing:
        hint = "name one of them, or put a header line first"
        other = next((mark for mark in ";\t," if mark != delimiter and len(header) == 1 and mark in header[0]), None)
        if other:
            hint = f"the columns look separated by {other!r} where a {path.suffix} file has {delimiter!r}"
        raise CorpusError(f"{path}: expected a column {missing[0]!r}, found the columns {found}; {hint}.")


Row = tuple[int, str, list[str] | None, str | None]  # line, its text, cells or None, the reason for None


def _read_tab_rows(path: Path) -> Iterator[Row]:
    width = None
    for number, text, shown in _read_lines(path):
        if text is None:
            yield number, shown, None, NOT_UTF8
        elif text.strip():
            cells = _split_tabs(text, width)
            width = width or len(cells)
            yield number, text, cells, None


def _split_tabs(text: str, width: int | None) -> list[str]:
    """Cells of one line; quotes are taken as marks only where the line then has the header's number of cells.

    Spreadsheets quote a cell with a tab or a quote in it, line-based collections never do.
    """
    plain = text.split("\t")
    try:
        (cells,) = csv.reader([text], delimiter="\t", strict=True)
    except csv.Error:
        return plain
    return cells if width is None or len(cells) == width else plain


def _read_comma_rows(path: Path) -> Iterator[Row]:
    taken: list[tuple[int, str]] = []  # the lines of the row being read: a quoted cell may hold line breaks
    undecodable: list[tuple[int, str]] = []

    def feed() -> Iterator[str]:
        for number, text, shown in _read_lines(path):
            if text is None:
                undecodable.append((number, shown))
            else:
                taken.append((number, text))
                yield text + "\n"

    reader = csv.reader(feed(), strict=True)
    more = True
    while more:
        taken.clear()
        undecodable.clear()
        cells: list[str] = []
        reason = None
        try:
            cells = next(reader)
        except StopIteration:
            more = False
        except csv.Error as problem:
            if "unexpected end of data" in str(problem):
                raise CorpusError(
                    f"{path}: line {taken[0][0]}: a quote opens here and is never closed; close it, or double it "
                    "if it is part of the text."
                ) from None
            reason = f"the line is not CSV ({problem})"
        yield from ((number, shown, None, NOT_UTF8) for number, shown in undecodable)
        if reason:
            yield from ((number, text, None, reason) for number, text in taken)
        elif any(cell.strip() for cell in cells):
            yield taken[0][0], taken[0][1], cells, None


def _read_aligned(path: Path, source: str, target: str) -> Iterator[Entry]:
    sides = path.with_suffix(f".{source}"), path.with_suffix(f".{target}")
    lengths = [sum(1 for _ in _read_lines(side)) for side in sides]
    if lengths[0] != lengths[1]:
        raise CorpusError(
            f"{sides[0]}: expected as many lines as in {sides[1].name}, found {lengths[0]:,} and {lengths[1]:,}; "
            "align the two files line by line."
        )
    for (number, first, shown), (_, second, _) in zip(*(_read_lines(side) for side in sides), strict=True):
        if first is None or second is None:
            yield Entry(number, shown, None, NOT_UTF8)
        else:
            yield Entry(number, shown, {source: first, target: second})
