"""Which study is shown, where it stands, and the ways to stop it and to go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.controls.navigation import open_page
from dashboard.palette import AFTER, NEUTRAL, SERIES, WINNER
from dashboard.views.studies.loading import load_study_store
from dashboard.wording import (
    CELL_STATE_NAMES,
    PHASE_NAMES,
    STUDY_STATE_NAMES,
    escape_markdown,
    format_moment,
    format_name,
    format_noun,
    format_number,
    shorten,
)
from kslottery_core.errors import KSLotteryError

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


_BADGE_COLOURS = {"finished": "green", "running": "blue", "queued": "gray", "new": "gray", "stopped": "orange"}
_CONTINUED = ("new", "stopped", "failed", "died")
_BAD_ENDS = ("failed", "died", "broken")
_MOST_MESSAGES = 6


def choose_study(records: Sequence[StudyRecord]) -> StudyRecord:
    """The choice among all studies; returns the chosen one, by default the newest."""
    by_id = {record.study_id: record for record in records}
    wanted = state.get_choice().studies.study_id
    if wanted is not None and wanted not in by_id:
        st.warning(escape_markdown(f"There is no study {shorten(wanted)!r} here; the newest one is shown instead."))
    st.session_state["study_chosen"] = wanted if wanted in by_id else records[0].study_id
    chosen = st.selectbox(
        "Study",
        list(by_id),
        format_func=lambda study_id: _name_study(by_id[study_id]),
        key="study_chosen",
        on_change=lambda: state.change("studies", study_id=st.session_state["study_chosen"], language=None),
    )
    state.change("studies", study_id=chosen)
    return by_id[chosen]


def _name_study(record: StudyRecord) -> str:
    """Always the same and never that of another one: the browser knows its choice by these words alone."""
    return f"{record.name}, {format_moment(record.status.created)} ({record.study_id[-4:]})"


def show_progress(record: StudyRecord) -> None:
    """The study's state, its cells, and what can be done with it now."""
    status = record.status
    with st.container(border=True):
        title, badge, button = st.columns([6, 1.2, 1.3], vertical_alignment="center")
        title.markdown(f"## {escape_markdown(record.name)}")
        badge.badge(format_name(STUDY_STATE_NAMES, status.state), color=_BADGE_COLOURS.get(status.state, "red"))
        with button:
            _show_button(record)
        if record.problem:
            st.error(escape_markdown(record.problem))
        if record.spec is None:
            return
        share = record.done_count / len(record.cells) if record.cells else 0.0
        st.progress(share, text=escape_markdown(count_cells(record.cells)))
        if status.message and status.message != record.problem:
            show = st.error if status.state in _BAD_ENDS else st.caption
            show(_make_sentence(status.message))
        ticked = show_grid(record)
        _show_runs(record, ticked)
        _show_messages(record.cells)
        if status.state in _BAD_ENDS and (log := record.read_log_tail(30)):
            with st.expander("End of the study's log"):
                st.code(log, language=None, wrap_lines=True)


def count_cells(cells: Sequence[CellState]) -> str:
    """How many runs are in which state, in one line."""
    counts = Counter(cell.state for cell in cells)
    parts = [f"{counts[state]:,} {name.lower()}" for state, name in CELL_STATE_NAMES.items() if counts[state]]
    return f"{format_noun(len(cells), 'run')}: {', '.join(parts)}"


def _make_sentence(message: str) -> str:
    text = message[:1].upper() + message[1:]
    return escape_markdown(text if text.endswith((".", "!", "?")) else text + ".")


def _show_button(record: StudyRecord) -> None:
    key = f"study_stop_{record.study_id}"
    if record.status.live and record.stop_requested:
        st.caption("Stopping…")
    elif record.status.live:
        st.button("Stop", icon=":material/stop_circle:", key=key, on_click=_stop, args=(record.study_id,))
    elif record.status.state in _CONTINUED and record.spec is not None:
        st.button(
            "Start" if record.status.state == "new" else "Continue",
            icon=":material/play_arrow:",
            key=f"study_continue_{record.study_id}",
            help="Runs that have finished are kept; one that was stopped goes on from its last checkpoint.",
            on_click=_go_on,
            args=(record.study_id,),
        )


def _stop(study_id: str) -> None:
    from kslottery_core.studies import stop_study

    try:
        st.toast(escape_markdown(stop_study(load_study_store(), study_id)))
    except KSLotteryError as problem:
        st.toast(escape_markdown(str(problem)), icon=":material/error:")


def _go_on(study_id: str) -> None:
    from kslottery_core.studies import start_study

    try:
        start_study(load_study_store(), study_id)
    except KSLotteryError as problem:
        st.toast(escape_markdown(str(problem)), icon=":material/error:")


def _show_runs(record: StudyRecord, ticked: CellState | None) -> None:
    """The run that works at present, and the one of the ticked cell, each with a way to its page."""
    running = [cell for cell in record.cells if cell.state == "running"]
    shown = [*running, *([ticked] if ticked is not None and ticked not in running else [])]
    for cell in shown:
        words, button = st.columns([6, 1.6], vertical_alignment="center")
        ended = format_name(CELL_STATE_NAMES, cell.state).lower()
        described = _describe_run(cell) if cell.state == "running" else ended
        words.markdown(f"**{escape_markdown(cell.cell.label)}**: {escape_markdown(described)}")
        if cell.run_id is not None and button.button(
            "Show this run", icon=":material/arrow_forward:", key=f"study_run_{cell.cell.key}"
        ):
            state.choose(run_id=cell.run_id)
            open_page("runs")
    if not shown:
        st.caption("Click a cell to come to its run.")


def _describe_run(cell: CellState) -> str:
    try:
        status = load_study_store().run_store.get(cell.run_id or "").status
    except KSLotteryError:
        return "running"
    phase = format_name(PHASE_NAMES, status.phase).lower() if status.phase else "running"
    return f"{phase}, {status.step:,} of {status.total:,}" if status.total and status.total > 1 else phase


def _show_messages(cells: Sequence[CellState]) -> None:
    """Why cells were left out or failed; equal reasons are told once."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        if cell.message and cell.state in ("skipped", "failed", "stopped"):
            reasons.setdefault((cell.state, cell.message), []).append(cell.cell.label)
    lines = [
        f"- {format_name(CELL_STATE_NAMES, state)}: **{escape_markdown(labels[0])}**"
        + (f" and {format_noun(len(labels) - 1, 'other')}" if len(labels) > 1 else "")
        + f". {_make_sentence(message)}"
        for (state, message), labels in reasons.items()
    ]
    if lines:
        st.markdown("\n".join(lines[:_MOST_MESSAGES]))
    if len(lines) > _MOST_MESSAGES:
        st.caption(f"And {format_noun(len(lines) - _MOST_MESSAGES, 'other reason')}; click a cell to come to its run.")
