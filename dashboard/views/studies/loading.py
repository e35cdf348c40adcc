"""Studies: where they lie, how much work one would be, and what a study has found so far."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from kslottery_core.studies import StudyRecord, StudySpec, StudyStore, StudyTable, TicketSizePoint

CellSignature = tuple[tuple[str, str, str | None], ...]
FileSignature = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class StudyPlan:
    """How much work a study is: its `cells`, how many train, how many a finished run answers already.

    Of `unknown` cells that is only known once their rows have been chosen.
    """

    cells: int
    trained: int
    reused: int
    unknown: int


def load_study_store() -> StudyStore:
    """The person's studies."""
    from kslottery_core.studies import StudyStore

    return StudyStore()


def plan_study(spec: StudySpec) -> StudyPlan:
    """Count the runs of a study and those that are done already. Raises KSLotteryError."""
    runs = load_study_store().run_store.list()
    finished = tuple(sorted(record.run_id for record in runs if record.status.state == "finished"))
    return _plan(spec, finished)


@st.cache_resource(max_entries=16, show_spinner="Looking for finished runs…")
def _plan(spec: StudySpec, finished: tuple[str, ...]) -> StudyPlan:
    from kslottery_core.studies import ROW_METHODS, list_cells
    from kslottery_core.studies.candidates import CandidateRuns
    from kslottery_core.studies.identity import build_run_spec
    from kslottery_core.tuning.settings import TRAINED_METHODS

    cells = list_cells(spec)
    methods = [spec.arms[cell.arm].method for cell in cells]
    known = [cell for cell, method in zip(cells, methods, strict=True) if method not in ROW_METHODS]
    candidates = CandidateRuns(load_study_store().run_store, spec, since=math.inf)  # no study, so no runs of its own
    reused = 0
    for cell in known if finished else ():
        keeps_model = any(other.needs == cell.key for other in cells)
        found = candidates.find(build_run_spec(spec, cell), None, keeps_model, set())
        reused += found is not None and found.record.run_id in finished
    trained = sum(method in TRAINED_METHODS for method in methods)
    return StudyPlan(len(cells), trained, reused, len(cells) - len(known))


def sign_cells(record: StudyRecord) -> CellSignature:
    """What the results of a study depend on: which cells have ended how, by which run."""
    return tuple((state.cell.key, state.state, state.run_id) for state in record.cells)


def load_study_table(record: StudyRecord) -> StudyTable:
    """Every row of a study, with the intervals that are kept in its folder. Raises KSLotteryError."""
    return _load_table(str(record.folder), sign_cells(record), _sign_intervals(record), record)


@st.cache_resource(max_entries=8, show_spinner=False)
def _load_table(folder: str, cells: CellSignature, intervals: FileSignature, _record: StudyRecord) -> StudyTable:
    from kslottery_core.studies import compute_study_table

    return compute_study_table(_record, load_study_store().run_store, with_intervals=False)


def _sign_intervals(record: StudyRecord) -> FileSignature:
    from kslottery_core.studies.quality import INTERVALS_FOLDER

    files = sorted((record.folder / INTERVALS_FOLDER).glob("*.json"))
    return tuple((file.name, file.stat().st_mtime_ns) for file in files)


def complete_intervals(record: StudyRecord) -> bool:
    """Compute the intervals that are not kept yet, about a second each; whether there were any. Raises KSLotteryError.

    An interrupted call has kept what it had found.
    """
    kept = _sign_intervals(record)
    _complete(str(record.folder), sign_cells(record), record)
    return _sign_intervals(record) != kept


@st.cache_resource(max_entries=64, show_spinner=False)
def _complete(folder: str, cells: CellSignature, _record: StudyRecord) -> None:
    from kslottery_core.studies import compute_study_table

    compute_study_table(_record, load_study_store().run_store)


def load_ticket_sizes(record: StudyRecord, significance_level: float) -> tuple[TicketSizePoint, ...]:
    """Tokens that win at alpha after each embedding tuning of a study. Raises KSLotteryError."""
    return _load_sizes(str(record.folder), sign_cells(record), significance_level, record)


@st.cache_resource(max_entries=64, show_spinner="Comparing the tuned embeddings…")
def _load_sizes(
    folder: str, cells: CellSignature, significance_level: float, _record: StudyRecord
) -> tuple[TicketSizePoint, ...]:
    from kslottery_core.studies import compute_ticket_sizes

    return compute_ticket_sizes(_record, load_study_store().run_store, significance_level)
