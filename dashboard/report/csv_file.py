"""A table as a CSV file that a spreadsheet can open without running anything in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kslottery_core.csv_file import protect_cell

if TYPE_CHECKING:
    import pandas as pd


def build_csv(table: pd.DataFrame) -> bytes:
    """UTF-8 CSV with a header; text and names that begin like a formula get an apostrophe, numbers stay as they are."""
    safe = table.copy()
    for column in safe.columns:
        if safe[column].dtype.kind not in "biuf":
            safe[column] = [protect_cell(cell) for cell in safe[column]]
    safe.columns = [protect_cell(name) for name in safe.columns]
    return safe.to_csv(index=False).encode("utf-8")
