"""Start a run as a process of its own that outlives whoever started it, and stop it again."""

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kslottery_core import jobs
from kslottery_core.errors import RunError
from kslottery_core.runs.record import CANCEL_FILE, RunRecord, load_run
from kslottery_core.runs.spec import RunSpec
from kslottery_core.runs.status import load_status
from kslottery_core.runs.store import RunStore
from kslottery_core.tuning.processes import leave_launch

GRACE_SECONDS = 30.0  # a run that is asked politely may be in the middle of a long step
_SIGNAL_SECONDS = 10.0  # between SIGTERM and SIGKILL
_POLL_SECONDS = 0.1


def launch_run(store: RunStore, spec: RunSpec, *, command: Sequence[str] | None = None) -> RunRecord:
    """Create a run and start its worker, detached: own session, no inherited pipes, output to the run's `log.txt`.

    Returns at once. `command` is the worker's command line without the folder (default: this package's worker under
    this Python). Raises `KSLotteryError` when the spec is wrong or no process can be started.
    """
    return start_worker(store.create(spec), command)


def start_worker(record: RunRecord, command: Sequence[str] | None = None) -> RunRecord:
    """Start the process of a queued run; `command` as for `launch_run`. Raises `RunError`."""
    try:
        environment = leave_launch(dict(os.environ))
        process = jobs.start_process("kslottery_core.runs.worker", record.folder, environment, command)
    except OSError as problem:
        message = f"the run's process cannot be started ({problem})"
        jobs.save_status(record.folder, replace(record.status, state="failed", ended=time.time(), message=message))
        raise RunError(f"run {record.run_id!r}: {message}.") from None
    attempt = record.status.attempt
    jobs.watch_start(process, lambda exit_status: _report_stillbirth(record.folder, attempt, exit_status))
    return record


def _report_stillbirth(folder: Path, attempt: int, exit_status: int) -> None:
    """Record that the worker ended before it could write anything itself."""
    with contextlib.suppress(RunError, OSError):
        status = load_status(folder)
        # The run of a killed process may have been resumed by now, and wait for another one.
        if status.live and status.pid is None and status.attempt == attempt:
            message = f"the run's process ended with status {exit_status} before it could start; see {jobs.LOG_FILE}"
            jobs.save_status(folder, replace(status, state="failed", ended=time.time(), message=message))


def cancel_run(record: RunRecord, *, wait: bool = False, grace_seconds: float = GRACE_SECONDS) -> str:
    """Ask a run to stop and keep what is there; returns one sentence with the outcome.

    Without `wait` it returns at once. With `wait` it stays until the run has ended: after `grace_seconds` the
    process group gets SIGTERM, and SIGKILL when that does not help either; only a process whose pid and start time
    both match the record is ever signalled. Raises `RunError` for read-only runs.
    """
    if record.read_only:
        raise RunError(f"run {record.run_id!r}: it belongs to {record.folder.parent}, which is read-only.")
    status = load_run(record.folder).status
    if status.state == "died":
        return f"Nothing to cancel, the run has died: {status.message}"
    if not status.live:
        return f"Nothing to cancel: the run is {status.state}."
    try:
        (record.folder / CANCEL_FILE).touch()
    except OSError as problem:
        raise RunError(f"run {record.run_id!r}: it cannot be asked to stop ({problem}).") from None
    if not wait:
        return "The run has been asked to stop; what it has done so far is kept."
    if _wait_for_end(record.folder, grace_seconds):
        return _say_end(record.folder)
    if status.host != jobs.read_host():
        return f"The run has been asked to stop and has not answered; it was started on host {status.host}."
    signalled = False
    for kill in (False, True):
        if not _signal_run(record.folder, kill):
            break  # it has just ended by itself
        signalled = True
        if _wait_for_end(record.folder, _SIGNAL_SECONDS):
            break
    else:
        return "The run has been killed, but its process is still there; look at it by hand."
    return _say_end(record.folder, signalled)


def _wait_for_end(folder: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while load_run(folder).status.live:
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _signal_run(folder: Path, kill: bool) -> bool:
    """Signal the run's process group; False when its process is gone."""
    process = jobs.find_process(load_status(folder))
    if process is None:
        return False
    try:
        return jobs.signal_process(process, kill=kill)
    except PermissionError:
        raise RunError(f"process {process.pid}: it belongs to somebody else and cannot be stopped from here.") from None


def _say_end(folder: Path, signalled: bool = False) -> str:
    status = load_run(folder).status
    if status.state == "died" and signalled:
        message = "cancelled; it did not stop when asked and was killed"
        # Its only writer is gone, so nobody writes another status.
        jobs.save_status(folder, replace(load_status(folder), state="cancelled", ended=time.time(), message=message))
        return "The run did not stop when asked and has been killed; what it had saved is kept."
    if status.state == "cancelled":
        return "The run is cancelled; what it has done so far is kept."
    verb = "has" if status.state in ("died", "failed") else "is"
    return f"The run {verb} {status.state}" + (f": {status.message}" if status.message else ".")
