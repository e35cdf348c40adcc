"""Start a run as a process of its own that outlives its caller, follow it, stop it and resume it."""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from kslottery_core import jobs
from kslottery_core.errors import RunError
from kslottery_core.progress import OnProgress
from kslottery_core.runs.preparing import check_spec
from kslottery_core.runs.record import CANCEL_FILE, RunRecord, RunStatus, load_run, load_status
from kslottery_core.runs.spec import RunSpec
from kslottery_core.runs.store import RunStore, hold_run
from kslottery_core.tuning.checkpointing import discard_checkpoints, find_last_step
from kslottery_core.tuning.processes import leave_launch

GRACE_SECONDS = 30.0  # a run that is asked to stop may be in the middle of a long step
_SIGNAL_SECONDS = 10.0  # between SIGTERM and SIGKILL
_POLL_SECONDS = 0.1
_FOLLOW_SECONDS = 0.3


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
    jobs.watch_start(process, lambda exit_status: _report_failed_start(record.folder, attempt, exit_status))
    return record


def _report_failed_start(folder: Path, attempt: int, exit_status: int) -> None:
    """Record that the worker ended before it could write anything itself."""
    with contextlib.suppress(RunError, OSError):
        status = load_status(folder)
        # The run of a killed process may have been resumed by now, and wait for another one.
        if status.live and status.pid is None and status.attempt == attempt:
            message = f"the run's process ended with status {exit_status} before it could start; see {jobs.LOG_FILE}"
            jobs.save_status(folder, replace(status, state="failed", ended=time.time(), message=message))


def cancel_run(record: RunRecord, *, wait: bool = False, grace_seconds: float = GRACE_SECONDS) -> str:
    """Ask a run to stop and keep what is there; returns one sentence with the outcome.

    Without `wait` it returns at once. With `wait` it waits until the run has ended: after `grace_seconds` the
    process group gets SIGTERM, then SIGKILL; only a process whose pid and start both match the record is ever
    signalled. Raises `RunError` for read-only runs.
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
        return _describe_end(record.folder)
    if status.host != jobs.read_host():
        return f"The run has been asked to stop and has not responded; it was started on host {status.host}."
    signalled = False
    for kill in (False, True):
        if not _signal_run(record.folder, kill):
            break  # it has just ended on its own
        signalled = True
        if _wait_for_end(record.folder, _SIGNAL_SECONDS):
            break
    else:
        return "The run has been killed, but its process is still there; end it yourself."
    return _describe_end(record.folder, signalled)


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


def _describe_end(folder: Path, signalled: bool = False) -> str:
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


def resume_run(store: RunStore, run_id: str, *, command: Sequence[str] | None = None) -> RunRecord:
    """Start a process that continues a run; returns at once.

    The training continues from its last checkpoint as if it had never ended, or starts from the beginning where it has
    none yet; what comes after the training follows. A run that already has its whole result is only marked as finished.
    `command` as for `launch_run`. Raises `KSLotteryError` when there is nothing to continue, or a file that the run
    needs is gone.
    """
    record = reopen_run(store, run_id)
    return start_worker(record, command) if record.status.live else record


def reopen_run(store: RunStore, run_id: str) -> RunRecord:
    """Queue an ended run again, or mark it as finished where its result is whole; raises as `resume_run` does.

    The results of the earlier attempt stay until the next one has read its checkpoint and begun to work.
    """
    check_resumable(store.get(run_id))
    # Two people, or one with two windows, must not start two processes in one folder.
    with hold_run(store.get(run_id).folder):
        record = store.get(run_id)
        spec, old = check_resumable(record), record.status
        try:
            if old.state == "finished":
                jobs.save_status(record.folder, old)
                discard_checkpoints(record.checkpoints)
                return load_run(record.folder)
            check_spec(spec)
            now = time.time()
            status = RunStatus(
                "queued",
                old.created,
                host=jobs.read_host(),
                heartbeat=now,
                queued_again=now,
                attempt=old.attempt + 1,
                seconds_before=record.seconds or old.seconds_before,
                message="waits for its process to start",
            )
            (record.folder / CANCEL_FILE).unlink(missing_ok=True)
            jobs.save_status(record.folder, status)
        except OSError as problem:
            raise RunError(f"run {run_id!r}: its folder cannot be written ({problem}).") from None
        return load_run(record.folder)


def check_resumable(record: RunRecord) -> RunSpec:
    """The spec of a run that can be resumed. Raises `RunError` with the reason where it cannot.

    A run that was killed after writing its result can be: only its final status is missing.
    """
    if record.read_only:
        raise RunError(f"run {record.run_id!r}: it belongs to {record.folder.parent}, which is read-only.")
    if record.status.live:
        raise RunError(f"run {record.run_id!r}: it is {record.status.state}; only a run that has ended can be resumed.")
    if record.status.state == "finished" and not load_status(record.folder).live:
        raise RunError(f"run {record.run_id!r}: it has finished, so there is nothing left to do; start a new run.")
    if record.spec is None or record.status.state == "broken":
        raise RunError(f"run {record.run_id!r}: it cannot be resumed. {record.problem}")
    return record.spec


def find_resume_step(record: RunRecord) -> int | None:
    """The step of the checkpoint that a resumed run continues from; None when it would start from the beginning."""
    return find_last_step(record.checkpoints)


def follow_run(
    store: RunStore, run_id: str, on_progress: OnProgress, on_wait: Callable[[str], None] = lambda text: None
) -> RunRecord:
    """Pass on every event of a run, and what it waits for while queued; returns its record when it has ended.

    Raises RunError when there is no such run.
    """
    reported, waits_for = 0, None
    while True:
        record = store.get(run_id)
        events = record.read_metrics()
        for event in events[reported:]:
            on_progress(event)
        reported = len(events)
        if not record.status.live:
            return record
        if record.status.state == "queued" and record.status.message not in (None, waits_for):
            waits_for = record.status.message
            on_wait(str(waits_for))
        time.sleep(_FOLLOW_SECONDS)
