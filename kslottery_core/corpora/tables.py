"""Comma- and tab-separated tables with a header line."""

import csv
from collections.abc import Iterator
from pathlib import Path

from kslottery_core.corpora.lines import NOT_UTF8, Entry, read_lines
from kslottery_core.errors import CorpusError


def read_table(path: Path, delimiter: str, wanted: tuple[str, ...]) -> Iterator[Entry]:
    """Rows of a table under its header line, which must have the columns `wanted`. Raises CorpusError."""
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


def _check_header(path: Path, header: list[str], wanted: tuple[str, ...], delimiter: str) -> None:
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
    for number, text, shown in read_lines(path):
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
        for number, text, shown in read_lines(path):
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
