"""The results of a study as one table: quality and what it costs, a row an arm and setting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.report.csv_file import build_csv
from dashboard.views.studies.rows import build_result_rows
from dashboard.wording import NOT_MEASURED, escape_markdown, format_number

if TYPE_CHECKING:
    from kslottery_core.studies import Measure, StudyRow, StudyTable

_MOST_ROWS = 16


def show_result_table(rows: Sequence[StudyRow], measure: Measure, key: str) -> None:
    """The rows with one measure, its interval, and all costs; sortable by a click on a column's name."""
    table = build_result_rows(rows, [measure])
    qualities = [row.get_quality(measure) for row in rows]
    table["Interval"] = [
        NOT_MEASURED
        if quality is None or quality.low is None or quality.high is None
        else f"{quality.low:.1f} to {quality.high:.1f}"
        for quality in qualities
    ]
    table["Seeds"] = [f"{len(row.seeds)} of {row.planned_seeds}" for row in rows]
    # What an arm has none of is no missing measurement, so it gets a word of its own.
    has_rows = [row.method in ("ticket", "transfer") for row in rows]
    table["Ticket"] = [
        "none" if not has else NOT_MEASURED if row.ticket_size is None else f"{row.ticket_size:,.4g}"
        for row, has in zip(rows, has_rows, strict=True)
    ]
    table["Rows"] = ["none" if row.selection_seconds is None else f"{row.selection_seconds:,.1f}" for row in rows]
    table["Rate"] = ["none" if row.learning_rate is None else format_number(row.learning_rate) for row in rows]
    table["Steps"] = ["none" if row.steps is None else f"{row.steps:,}" for row in rows]
    axes = _list_axes(rows)
    columns = [
        "Arm",
        *axes,
        "Trained parameters",
        "Optimizer (bytes)",
        "Peak memory (bytes)",
        "Step (s)",
        "All in all (s)",
    ]
    columns += ["Rows"] if any(row.selection_seconds is not None for row in rows) else []
    columns += ["Saved (bytes)"]
    scores = ["Arm", *axes, measure.name, "Interval", "Outputs that stop (%)", "Ticket"]
    # Below each other: side by side the costs would stand outside a screen of 1280.
    for part, chosen in (("scores", scores), ("costs", columns)):
        st.dataframe(
            table[chosen],
            hide_index=True,
            height=38 + 35 * min(max(len(rows), 1), _MOST_ROWS),
            key=f"{key}_{part}",
            column_config=_configure(measure),
            placeholder=NOT_MEASURED,
            alt=f"Results of the study: {measure.name if part == 'scores' else 'costs'} of every arm",
        )


def _list_axes(rows: Sequence[StudyRow]) -> list[str]:
    """Columns for what differs between rows; the others would repeat one value all the way down."""
    axes = ["Rate"] if len({row.learning_rate for row in rows} - {None}) > 1 else []
    axes += ["Steps"] if len({row.steps for row in rows} - {None}) > 1 else []
    return axes + (["Seeds"] if any(row.planned_seeds > 1 for row in rows) else [])


def _configure(measure: Measure) -> dict[str, object]:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    width = 92
    return {
        "Arm": text(width=170, pinned=True),
        measure.name: number(
            measure.metric, format="%.1f", width=92, help=escape_markdown(f"{measure.name}, 0 to 100, mean over seeds")
        ),
        "Interval": text(width=100, help="What it is stands below the table"),
        "Outputs that stop (%)": number("Stop (%)", format="%.0f", width=92, help="Outputs that end by themselves"),
        "Ticket": text(width=92, alignment="right", help="Tokens whose rows are trained or copied, mean over seeds"),
        "Rate": text(width=66, alignment="right", help="Learning rate"),
        "Steps": text(width=60, alignment="right", help="Training steps"),
        "Seeds": text(width=64, alignment="right", help="Finished, of those planned"),
        "Trained parameters": number("Parameters", format="localized", width=width, help="Trained parameters"),
        "Optimizer (bytes)": number("Optimizer", format="bytes", width=width, help="Memory of the optimizer's state"),
        "Peak memory (bytes)": number("Memory", format="bytes", width=width, help="Peak memory while tuning"),
        "Step (s)": number(format="%.3f", width=width, help="One training step, the median"),
        "All in all (s)": number(format="%.1f", width=width, help="The run from the device to the end"),
        "Rows": text(
            "Rows (s)",
            width=70,
            alignment="right",
            help="On top of the run: the embedding tuning that its rows are read from",
        ),
        "Saved (bytes)": number("Saved", format="bytes", width=width, help="Size on disk of what was saved"),
    }


def show_download(table: StudyTable, name: str) -> None:
    """All rows with all measures as a file."""
    st.download_button(
        "All of this as CSV",
        data=lambda: build_csv(build_result_rows(table.rows, table.measures)),
        file_name=f"{name}.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="study_csv",
    )
