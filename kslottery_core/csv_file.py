"""Tables as CSV that a spreadsheet can open without running anything in it."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def protect_cell(value: object) -> object:
    """A cell of a CSV file: text that a spreadsheet would run as a formula gets an apostrophe, all else stays."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


def format_csv(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """CSV with a header, every cell and name protected; a column that a row lacks, and None, are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([protect_cell(name) for name in columns])
    for row in rows:
        writer.writerow([protect_cell(row.get(name)) for name in columns])
    return text.getvalue()
