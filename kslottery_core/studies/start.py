"""Start a study, go on with it, stop it: its process is one of its own that outlives whoever started it."""

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from kslottery_core import jobs
from kslottery_core.errors import StudyError
from kslottery_core.runs import cancel_run, load_run
from kslottery_core.studies.checks import check_study
from kslottery_core.studies.record import (
    SCORED_STATES,
    STOP_FILE,
    StudyRecord,
    load_entries,
    load_study,
    locate_runs,
)
from kslottery_core.studies.status import load_study_status, save_study_status
from kslottery_core.studies.store import StudyStore, hold_study_lock
from kslottery_core.tuning.processes import leave_launch

STOP_SECONDS = 60.0  # a run that is asked to stop may be in the middle of a long step
_POLL_SECONDS = 0.1


def start_study(store: StudyStore, study_id: str, *, command: Sequence[str] | None = None) -> StudyRecord:
    """Start a new study, or go on with one that was stopped, died or failed; returns at once.

    What is finished stays; a run that still goes on is waited for and not started twice; one that ended early is gone
    on with. `command` is the process's command line without the folder (default: this package's own under this
    Python). Raises `KSLotteryError` when it runs already, nothing is left to do, or a file that it needs is gone.
    """
    record = queue_study(store, study_id)
    try:
        environment = leave_launch(dict(os.environ))
        process = jobs.start_process("kslottery_core.studies.process", record.folder, environment, command)
    except OSError as problem:
        message = f"the study's process cannot be started ({problem})"
        save_study_status(record.folder, record.status, state="failed", ended=time.time(), message=message)
        raise StudyError(f"study {study_id!r}: {message}.") from None
    attempt = record.status.attempt
    jobs.watch_start(process, lambda exit_status: _report_stillbirth(record.folder, attempt, exit_status))
    return record


def _report_stillbirth(folder: Path, attempt: int, exit_status: int) -> None:
    """Record that the process ended before it could write anything itself."""
    with contextlib.suppress(StudyError, OSError):
        status = load_study_status(folder)
        if status.state == "queued" and status.pid is None and status.attempt == attempt:
            message = f"the study's process ended with status {exit_status} before it could start; see {jobs.LOG_FILE}"
            save_study_status(folder, status, state="failed", ended=time.time(), message=message)


def queue_study(store: StudyStore, study_id: str) -> StudyRecord:
    """Make a study one that waits for its process, for whoever conducts it next; raises as `start_study` does."""
    # Two people, or one with two windows, must not start it twice.
    with hold_study_lock(jobs.locate_job_lock(store.get(study_id).folder)):
        record = store.get(study_id)
        check_startable(record)
        assert record.spec is not None
        check_study(record.spec)
        try:
            (record.folder / STOP_FILE).unlink(missing_ok=True)
            save_study_status(
                record.folder,
                record.status,
                state="queued",
                pid=None,
                process_started=None,
                process_identity=None,
                host=jobs.read_host(),
                ended=None,
                message="waits for its process to start",
                attempt=record.status.attempt + 1,
            )
        except OSError as problem:
            raise StudyError(f"study {study_id!r}: its folder cannot be written ({problem}).") from None
        return load_study(record.folder)


def check_startable(record: StudyRecord) -> None:
    """Raise `StudyError` with the reason when there is nothing to start or to go on with."""
    where = f"study {record.study_id!r}"
    if record.spec is None or record.status.state == "broken" or record.problem is not None:
        raise StudyError(f"{where}: it cannot be started. {record.problem}")
    if record.status.live:
        raise StudyError(f"{where}: it is {record.status.state} already; look at it or stop it.")
    if all(cell.state in (*SCORED_STATES, "skipped") for cell in record.cells):
        raise StudyError(f"{where}: every run of it is done, so there is nothing left to do; make a new study.")


def stop_study(store: StudyStore, study_id: str, *, wait: bool = False) -> str:
    """Ask a study to stop, and the run that it is at; returns one sentence that says what came of it.

    What is finished stays, and `start_study` goes on from there. With `wait` it stays until the study has ended.
    """
    record = store.get(study_id)
    if not record.status.live:
        return _stop_left_runs(record) or f"Nothing to stop: the study is {_describe_state(record)}."
    try:
        (record.folder / STOP_FILE).touch()
    except OSError as problem:
        raise StudyError(f"study {study_id!r}: it cannot be asked to stop ({problem}).") from None
    asked = "The study has been asked to stop; what it has done so far is kept."
    if not wait:
        return asked
    deadline = time.monotonic() + STOP_SECONDS
    while load_study(record.folder).status.live:
        if time.monotonic() >= deadline:
            return f"{asked} It has not ended yet."
        time.sleep(_POLL_SECONDS)
    record = load_study(record.folder)
    return f"The study is {_describe_state(record)}; what it has done so far is kept."


def _describe_state(record: StudyRecord) -> str:
    words = {"new": "not started yet", "died": f"dead ({record.status.message})"}
    return words.get(record.status.state, record.status.state)


def _stop_left_runs(record: StudyRecord) -> str | None:
    """Of a study whose process is gone, the run that may have outlived it."""
    entries = load_entries(record.folder) if record.problem is None else {}
    for entry in entries.values():
        folder = locate_runs(record.folder) / str(entry.run_id)
        if entry.state == "running" and entry.own and folder.is_dir() and load_run(folder).status.live:
            cancel_run(load_run(folder))
            return "The study's process is gone; the run that it had started has been asked to stop."
    return None
