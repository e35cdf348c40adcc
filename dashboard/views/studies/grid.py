"""The cells of a study as a table: arms down, seeds and steps across, the state of each in words and colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.palette import AFTER, NEUTRAL, SERIES, WINNER
from dashboard.wording import CELL_STATE_NAMES, format_name, format_noun, format_number

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

    from kslottery_core.studies import CellState, StudyRecord, StudySpec

_COLOURS = {
    "running": SERIES[1],
    "finished": WINNER,
    "reused": SERIES[2],
    "skipped": NEUTRAL,
    "failed": AFTER,
    "stopped": SERIES[0],
}
_FAINT = "40"  # two hexadecimal digits of opacity: words stay readable on light and dark grounds
_MOST_ROWS = 14


@dataclass(frozen=True)
class CellGrid:
    """A study's cells by row and column; None where the grid has no cell.

    What does not depend on seed or steps, such as the base model's test, stands in the first column of its language.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[CellState | None, ...], ...]


def arrange_cells(record: StudyRecord) -> CellGrid:
    """Lay the cells of a study out; names of rows and columns hold only what tells them apart."""
    spec = record.spec
    if spec is None:
        return CellGrid((), (), ())
    rows = [(arm, rate) for arm, choice in enumerate(spec.arms) for rate in choice.rates]
    columns = [(text, steps, seed) for text in range(len(spec.texts)) for steps in spec.steps for seed in spec.seeds]
    places: dict[tuple[int, int], CellState] = {}
    for cell_state in record.cells:
        cell = cell_state.cell
        wanted = (
            cell.text,
            spec.steps[0] if cell.steps is None else cell.steps,
            spec.seeds[0] if cell.seed is None else cell.seed,
        )
        places[rows.index((cell.arm, cell.learning_rate)), columns.index(wanted)] = cell_state
    return CellGrid(
        rows=tuple(_name_row(spec, arm, rate) for arm, rate in rows),
        columns=tuple(_name_column(spec, *column) for column in columns),
        cells=tuple(tuple(places.get((row, column)) for column in range(len(columns))) for row in range(len(rows))),
    )


def _name_row(spec: StudySpec, arm: int, rate: float | None) -> str:
    label = spec.arms[arm].label
    return label if len(spec.arms[arm].rates) == 1 or rate is None else f"{label}, rate {format_number(rate)}"


def _name_column(spec: StudySpec, text: int, steps: int, seed: int) -> str:
    parts = [spec.texts[text].language] if len(spec.texts) > 1 else []
    parts += [format_noun(steps, "step")]
    parts += [f"seed {seed}"] if len(spec.seeds) > 1 else []
    return ", ".join(parts)


def show_grid(record: StudyRecord) -> CellState | None:
    """The grid; returns the cell that is ticked, if any."""
    grid = arrange_cells(record)
    event = st.dataframe(
        style_grid(grid),
        key=f"study_grid_{record.study_id}_{state.count_restored()}",
        height=38 + 35 * min(max(len(grid.rows), 1), _MOST_ROWS),
        on_select="rerun",
        selection_mode="single-cell",
        column_config={"": st.column_config.TextColumn(pinned=True, width=240)},
        hide_index=True,
        alt="State of every run of the study: ways of tuning down, steps and seeds across",
    )
    ticked = [
        grid.cells[row][grid.columns.index(column)] for row, column in event.selection.cells if column in grid.columns
    ]
    return ticked[0] if ticked else None


def style_grid(grid: CellGrid) -> Styler:
    """The states in words, each on the colour of its state."""
    names = [["" if cell is None else format_name(CELL_STATE_NAMES, cell.state) for cell in row] for row in grid.cells]
    table = pd.DataFrame(names, columns=list(grid.columns))
    table.insert(0, "", list(grid.rows))
    colours = [["", *(_choose_colour(cell) for cell in row)] for row in grid.cells]
    return table.style.apply(lambda frame: pd.DataFrame(colours, frame.index, frame.columns), axis=None)


def _choose_colour(cell: CellState | None) -> str:
    colour = None if cell is None else _COLOURS.get(cell.state)
    return "" if colour is None else f"background-color: {colour}{_FAINT}"
