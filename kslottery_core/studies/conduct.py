"""The work behind a study: its cells one after another as runs of the store, each waited for until it ends."""

import dataclasses
import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kslottery_core import jobs
from kslottery_core.errors import KSLotteryError, StudyError
from kslottery_core.runs import RunRecord, RunStore, cancel_run, load_run, reopen_run
from kslottery_core.runs.launch import start_worker
from kslottery_core.studies.candidates import CandidateRuns
from kslottery_core.studies.cells import StudyCell, list_cells
from kslottery_core.studies.identity import build_run_spec
from kslottery_core.studies.pair_results import locate_tuned_model
from kslottery_core.studies.record import (
    SCORED_STATES,
    STOP_FILE,
    CellEntry,
    list_claimed_runs,
    load_entries,
    load_study_spec,
    locate_runs,
    save_entries,
)
from kslottery_core.studies.rows import NoRowsError, RowChooser
from kslottery_core.studies.status import StudyStatus, load_study_status, save_study_status
from kslottery_core.studies.store import hold_study_lock

LOCK_FILE = "conduct.lock"
_POLL_SECONDS = 0.25
_HEARTBEAT_SECONDS = 5.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def conduct(
    folder: Path | str,
    *,
    command: Sequence[str] | None = None,
    on_message: Callable[[str], None] = lambda text: None,
) -> StudyStatus:
    """Do what is left of the queued study in `folder`, in this process, and return how it ended.

    A cell that a finished run of the store already answers is not run again, one whose run still lives is waited for,
    one whose run ended early is gone on with. After a cell that failed the others follow. SIGTERM, Ctrl-C and the file
    `stop` end the study with the run that it is at. `command` is the command line of the runs' worker, as for
    `launch_run`. Raises `StudyError` when the folder holds no queued study, or another process conducts it.
    """
    folder = Path(folder).resolve()
    load_study_spec(folder)
    with hold_study_lock(folder / LOCK_FILE, timeout=0) as held:
        status = load_study_status(folder)
        if not held or status.state != "queued":
            found = "one that another process conducts" if not held else f"one that is {status.state}"
            raise StudyError(f"{folder}: expected a queued study that nobody works on, found {found}.")
        return _Conductor(folder, status, command, on_message).perform()


class _Stopped(Exception):
    """Leaves the cells when somebody asked for it."""


class _Conductor:
    def __init__(
        self, folder: Path, status: StudyStatus, command: Sequence[str] | None, on_message: Callable[[str], None]
    ) -> None:
        self._folder, self._status, self._command, self._on_message = folder, status, command, on_message
        self._spec = load_study_spec(folder)
        self._cells = list_cells(self._spec)
        self._entries = load_entries(folder)
        self._runs = RunStore(locate_runs(folder))
        self._asked = threading.Event()
        self._last_heartbeat = 0.0
        self._chooser = RowChooser(self._spec, folder)

    def perform(self) -> StudyStatus:
        """Everything, and the last word on how it ended."""
        handles = threading.current_thread() is threading.main_thread()
        before = {number: signal.getsignal(number) for number in _SIGNALS} if handles else {}
        for number in before:
            signal.signal(number, lambda number, frame: self._asked.set())
        try:
            self._write(
                state="running",
                **jobs.describe_own_process(),
                started=self._status.started or time.time(),
                message=None,
            )
            state, message = self._perform_cells(self._make_candidates())
        except _Stopped:
            over = sum(entry.state in (*SCORED_STATES, "skipped", "failed") for entry in self._entries.values())
            state, message = "stopped", f"stopped after {over} of {len(self._cells)} runs"
        except KSLotteryError as problem:
            state, message = "failed", str(problem)
        except OSError as problem:
            full = problem.errno in jobs.FULL_DISK_ERRORS
            reason = f"the disk of {self._folder} is full; free some space and continue the study"
            state, message = "failed", reason if full else f"the study's folder cannot be used ({problem})"
        except Exception as problem:
            self._log(traceback.format_exc())
            message = f"the study ended with an unexpected {type(problem).__name__}; the details are in {jobs.LOG_FILE}"
            state = "failed"
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        self._log(state if message is None else f"{state}: {message}")
        self._write(state=state, ended=time.time(), message=message)
        return self._status

    def _make_candidates(self) -> CandidateRuns:
        return CandidateRuns(
            self._runs, self._spec, self._status.created, lambda: list_claimed_runs(self._folder.parent)
        )

    def _perform_cells(self, candidates: CandidateRuns) -> tuple[str, str | None]:
        for number, cell in enumerate(self._cells, 1):
            self._raise_if_asked()
            self._write(message=f"run {number} of {len(self._cells)}: {cell.label}")
            try:
                self._perform_cell(cell, candidates)
            except NoRowsError as problem:  # no rows to train is an answer, not an accident
                self._set(cell, CellEntry("skipped", message=str(problem)))
            except KSLotteryError as problem:
                # Whose run it was stays noted: somebody else's is not gone on with as an own one.
                self._set(cell, dataclasses.replace(self._get(cell), state="failed", message=str(problem)))
        for state, ending in (("failed", "failed"), ("stopped", "stopped by somebody")):
            cells = [cell for cell in self._cells if self._get(cell).state == state]
            if cells:
                first = f"the first is {cells[0].label!r}: {self._get(cells[0]).message}"
                return state, f"{len(cells)} of {len(self._cells)} runs {ending}; {first}"
        return "finished", None

    def _perform_cell(self, cell: StudyCell, candidates: CandidateRuns) -> None:
        arm = self._spec.arms[cell.arm]
        embedding = None if cell.needs is None else self._find_embedding(cell.needs)
        ticket = None if arm.rows is None else self._chooser.choose(cell, embedding)
        after = str(locate_tuned_model(embedding)) if embedding is not None and arm.method == "transfer" else None
        wanted = build_run_spec(self._spec, cell, ticket, after)
        keeps_model = any(other.needs == cell.key for other in self._cells)
        passed_over: set[str] = set()
        while True:
            with hold_study_lock(self._make_lock()):  # two studies with a cell in common must not both start it
                run_id = self._get(cell).run_id if self._get(cell).own else None
                found = candidates.find(wanted, run_id, keeps_model, passed_over)
                if found is not None and found.record.status.state == "finished":
                    state = "finished" if found.own else "reused"
                    self._set(cell, CellEntry(state, found.record.run_id, own=found.own))
                    return
                if found is None:
                    record, own = self._runs.create(wanted), True
                elif found.record.status.live:
                    record, own = found.record, found.own
                else:
                    record, own = reopen_run(self._runs, found.record.run_id), True
                self._set(cell, CellEntry("running", record.run_id, own=own))
                starts = found is None or not found.record.status.live
                if starts:
                    start_worker(record, self._command)
            record = self._wait(cell, record, own, starts)
            if record.status.state == "finished" and own:
                self._set(cell, CellEntry("finished", record.run_id))
                return
            if record.status.state == "finished":
                continue  # somebody else's: judged like any other that has finished
            if own and not starts and record.status.state == "died":
                continue  # it outlived an earlier process of the study, but not to its end: go on with it
            if own:
                state = "stopped" if record.status.state == "cancelled" else "failed"
                self._set(cell, CellEntry(state, record.run_id, record.status.message))
                return
            passed_over.add(record.run_id)  # it was somebody else's, and they ended it

    def _wait(self, cell: StudyCell, record: RunRecord, own: bool, started_here: bool) -> RunRecord:
        """Until the run has ended; when the study is to stop, an own run is stopped with it."""
        # On a busy machine a process may start late; of one of ours `start_worker` tells if it never does.
        while record.status.live or (started_here and record.status.state == "died" and record.status.pid is None):
            if self._is_asked():
                if own:
                    self._log(cancel_run(record, wait=True))
                    record = load_run(record.folder)
                    state = "finished" if record.status.state == "finished" else "stopped"
                    self._set(cell, CellEntry(state, record.run_id, record.status.message))
                else:
                    self._set(cell, CellEntry("waiting"))
                raise _Stopped
            if time.monotonic() - self._last_heartbeat >= _HEARTBEAT_SECONDS:
                self._write()
            time.sleep(_POLL_SECONDS)
            record = load_run(record.folder)
        return record

    def _find_embedding(self, key: str) -> RunRecord:
        entry = self._entries.get(key, CellEntry())
        if entry.state not in SCORED_STATES or entry.run_id is None:
            label = next(cell.label for cell in self._cells if cell.key == key)
            raise StudyError(f"its rows come from {label!r}, which did not finish; continue the study to try it again.")
        return self._runs.get(entry.run_id)

    def _get(self, cell: StudyCell) -> CellEntry:
        return self._entries.get(cell.key, CellEntry())

    def _set(self, cell: StudyCell, entry: CellEntry) -> None:
        self._entries[cell.key] = entry
        save_entries(self._folder, self._entries)
        run = f" ({entry.run_id})" if entry.run_id else ""
        self._log(f"{cell.label}: {entry.state}{run}" + (f": {entry.message}" if entry.message else ""))

    def _make_lock(self) -> Path:
        return self._folder.parent / ".cells.lock"

    def _is_asked(self) -> bool:
        return self._asked.is_set() or (self._folder / STOP_FILE).exists()

    def _raise_if_asked(self) -> None:
        if self._is_asked():
            raise _Stopped

    def _write(self, **changes: Any) -> None:
        self._last_heartbeat = time.monotonic()
        self._status = save_study_status(self._folder, self._status, **changes)

    def _log(self, text: str) -> None:
        self._on_message(text)
        jobs.append_log_line(self._folder, text)
