"""A study as its folder shows it at one moment."""

import contextlib
import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path

from kslottery_core import jobs
from kslottery_core.errors import KSLotteryError, StudyError
from kslottery_core.records import load_json, read_record, save_json
from kslottery_core.runs import load_run
from kslottery_core.studies.cells import StudyCell, list_cells
from kslottery_core.studies.spec import StudySpec
from kslottery_core.studies.status import StudyStatus, load_derived_study_status

SPEC_FILE = "study.json"
CELLS_FILE = "cells.json"
STOP_FILE = "stop"

CELL_STATES = ("waiting", "running", "finished", "reused", "skipped", "failed", "stopped")
OVER_STATES = ("finished", "reused", "skipped", "failed")
SCORED_STATES = ("finished", "reused")


@dataclass(frozen=True)
class CellEntry:
    """What `cells.json` says of one cell; `own` runs were made for this study, others only stand for its cell."""

    state: str = "waiting"
    run_id: str | None = None
    message: str | None = None
    own: bool = True


@dataclass(frozen=True)
class CellState:
    """A cell and where it stands (one of `CELL_STATES`), with the run that is or stands for it."""

    cell: StudyCell
    state: str
    run_id: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class StudyRecord:
    """A study at one moment; read again (`StudyStore.get`) to see it move. `cells` are in the order in which they run.

    `problem` says what in the folder cannot be read; `spec` is None, and `cells` empty, when `study.json` is part of
    that.
    """

    study_id: str
    folder: Path
    spec: StudySpec | None
    status: StudyStatus
    cells: tuple[CellState, ...] = ()
    problem: str | None = None

    @property
    def name(self) -> str:
        """The name that a person gave, or the study's id where the spec cannot be read."""
        return self.study_id if self.spec is None else self.spec.name

    @property
    def done_count(self) -> int:
        """How many cells are over, however they ended."""
        return sum(cell.state in OVER_STATES for cell in self.cells)

    @property
    def stop_requested(self) -> bool:
        """Whether someone has asked this study to stop."""
        return (self.folder / STOP_FILE).exists()

    def read_log_tail(self, lines: int = 40) -> str:
        """The last lines of what the study's process said."""
        return jobs.read_log_tail(self.folder, lines)


def load_study(folder: Path) -> StudyRecord:
    """Look at one study's folder. Broken files become `problem`, never an exception."""
    spec: StudySpec | None = None
    cells: tuple[CellState, ...] = ()
    problems = []
    try:
        status = load_derived_study_status(folder)
    except KSLotteryError as problem:
        problems.append(str(problem))
        status = StudyStatus("broken", jobs.read_folder_age(folder), message=str(problem))
    try:
        spec = load_study_spec(folder)
        cells = _load_cells(folder, spec, status.live)
    except KSLotteryError as problem:
        problems.append(str(problem))
    return StudyRecord(folder.name, folder, spec, status, cells, " ".join(problems) or None)


def load_study_spec(folder: Path) -> StudySpec:
    """Read `study.json`. Raises `KSLotteryError`."""
    path = folder / SPEC_FILE
    try:
        stat = path.stat()
    except OSError:
        raise StudyError(
            f"{path}: expected the description of a study, found no file there; this is no study's folder, or it has "
            "been damaged."
        ) from None
    return _parse_spec(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=256)
def _parse_spec(path: Path, modified_ns: int, size: int) -> StudySpec:
    """Specs never change, so a page that is drawn every second parses each of them (and its tickets) once."""
    return StudySpec.from_json(load_json(path, StudyError), str(path))


def load_entries(folder: Path) -> dict[str, CellEntry]:
    """What `cells.json` says, by the key of the cell; nothing before the first cell. Raises `KSLotteryError`."""
    path = folder / CELLS_FILE
    if not path.exists():
        return {}
    content = load_json(path, StudyError)
    if not isinstance(content, dict):
        raise StudyError(f"{path}: expected a JSON object of cells, found {str(content)[:80]!r}; it has been damaged.")
    entries = {key: read_record(CellEntry, entry, f"{path}: {key}", StudyError) for key, entry in content.items()}
    for key, entry in entries.items():
        if entry.state not in CELL_STATES:
            raise StudyError(
                f"{path}: {key}: expected a state among {', '.join(CELL_STATES)}, found {entry.state!r}; it was "
                "written by a newer program or has been damaged."
            )
    return entries


def save_entries(folder: Path, entries: dict[str, CellEntry]) -> None:
    """Write `cells.json`."""
    save_json(folder / CELLS_FILE, {key: dataclasses.asdict(entry) for key, entry in entries.items()})


def list_claimed_runs(root: Path) -> set[str]:
    """The ids of all runs that the studies under `root` have noted; studies that cannot be read have none."""
    claimed = set()
    for path in root.glob(f"*/{CELLS_FILE}"):
        with contextlib.suppress(KSLotteryError):
            claimed |= {entry.run_id for entry in load_entries(path.parent).values() if entry.run_id is not None}
    return claimed


def locate_runs(folder: Path) -> Path:
    """The root of the run store that a study's folder belongs to: `runs` beside `studies`."""
    return folder.parent.parent / "runs"


def _load_cells(folder: Path, spec: StudySpec, live: bool) -> tuple[CellState, ...]:
    entries = load_entries(folder)
    states = []
    for cell in list_cells(spec):
        entry = entries.get(cell.key, CellEntry())
        if entry.state == "running" and not live:
            entry = _look_at_run(folder, entry)
        if entry.state in SCORED_STATES and not (locate_runs(folder) / str(entry.run_id)).is_dir():
            entry = CellEntry("waiting", message=f"its run {entry.run_id} has been deleted; continue the study")
        states.append(CellState(cell, entry.state, entry.run_id, entry.message))
    return tuple(states)


def _look_at_run(folder: Path, entry: CellEntry) -> CellEntry:
    """Runs outlive the process that started them: what became of one that nobody waits for."""
    run_folder = locate_runs(folder) / str(entry.run_id)
    state = load_run(run_folder).status.state if run_folder.is_dir() else "stopped"
    if state in ("queued", "running"):
        return entry
    return dataclasses.replace(entry, state="finished" if state == "finished" else "stopped")
