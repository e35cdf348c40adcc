"""A table of a report as HTML, and as the text of its CSV file."""

from __future__ import annotations

import html
import math
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
import pandas as pd

from dashboard.report.block import Table
from dashboard.wording import format_number

_DIGITS = 4
_FEWER_DIGITS = {"p": 3, "Mean shift": 3}  # as the tables of the pages show it
_IDENTIFIERS = ("Id", "Layer", "Step")  # whole numbers that name something are written without commas


def render_table(table: Table, *, caption: str, most_rows: int) -> str:
    """The first `most_rows` rows as an escaped HTML table; numbers stand right."""
    dataframe = table.dataframe
    numeric = {
        column: all(_is_number(value) or _is_missing(value) for value in dataframe[column])
        for column in dataframe.columns
    }
    head = "".join(
        f'<th scope="col"{_align(numeric[column])}>{html.escape(str(column))}</th>' for column in dataframe.columns
    )
    rows = []
    for values in dataframe[:most_rows].itertuples(index=False, name=None):
        cells = (
            f"<td{_align(numeric[column])}>{html.escape(format_cell(table, value, str(column)))}</td>"
            for column, value in zip(dataframe.columns, values, strict=True)
        )
        rows.append("<tr>" + "".join(cells) + "</tr>")
    return (
        f"<table><caption>{html.escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>"
        + "\n".join(rows)
        + "</tbody></table>"
    )


def format_cell(table: Table, value: Any, column: str) -> str:
    """A value as people read it: yes or no, commas in whole numbers, as many digits as the column has."""
    if _is_missing(value):
        return table.empty
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return str(value) if column in _IDENTIFIERS else f"{value:,}"
    if isinstance(value, float | np.floating):
        number = float(value)
        if column in table.decimals:
            return format_decimal(number, table.decimals[column])
        digits = _FEWER_DIGITS.get(column, _DIGITS)
        return f"{number:,.0f}" if abs(number) >= 10**digits else format_number(number, digits)
    return str(value)[: table.lengths.get(column)]


def format_decimal(value: float, digits: int) -> str:
    """Commas and `digits` after the point, halves rounded up as a browser does."""
    if not math.isfinite(value):
        return str(value)
    return f"{Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):,}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool | np.bool_)


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float | np.floating) and math.isnan(value))


def _align(is_numeric: bool) -> str:
    return ' class="number"' if is_numeric else ""
