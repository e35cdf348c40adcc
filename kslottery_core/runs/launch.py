"""Start a run as a process of its own that outlives whoever started it, and stop it again."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil

import kslottery_core
from kslottery_core.errors import RunError
from kslottery_core.runs.record import CANCEL_FILE, LOG_FILE, RunRecord, load_run
from kslottery_core.runs.spec import RunSpec
from kslottery_core.runs.status import find_process, load_status, read_host, save_status
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
        process = start_process("kslottery_core.runs.worker", record.folder, LOG_FILE, command)
    except OSError as problem:
        message = f"the run's process cannot be started ({problem})"
        save_status(record.folder, replace(record.status, state="failed", ended=time.time(), message=message))
        raise RunError(f"run {record.run_id!r}: {message}.") from None
    threading.Thread(target=_watch, args=(process, record.folder, record.status.attempt), daemon=True).start()
    return record


def start_process(
    module: str, folder: Path, log_name: str, command: Sequence[str] | None = None
) -> "subprocess.Popen[bytes]":
    """Start `module` (or `command`) on a folder: own session, no inherited pipes, output to a file in the folder.

    Raises OSError when it cannot be started.
    """
    # -P keeps the working folder off the import path; the package's own place goes on it (see `_make_environment`).
    start = tuple(command) if command else (sys.executable, "-P", "-m", module)
    with (folder / log_name).open("ab") as log:
        return subprocess.Popen(
            [*start, str(folder)],
            cwd=folder.parent,
            env=_make_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            close_fds=True,
        )


def _make_environment() -> dict[str, str]:
    environment = leave_launch(dict(os.environ, PYTHONUNBUFFERED="1"))
    package_parent = Path(kslottery_core.__file__).resolve().parent.parent
    if package_parent.name not in ("site-packages", "dist-packages"):  # a checkout: not importable from elsewhere
        paths = [str(package_parent), *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment


def _watch(process: subprocess.Popen[bytes], folder: Path, attempt: int) -> None:
    """Wait for the worker, so that it leaves no zombie, and say so if it ended before it could speak for itself."""
    exit_status = process.wait()
    with contextlib.suppress(RunError, OSError):
        status = load_status(folder)
        # The run of a killed process may have been resumed by now, and wait for another one.
        if status.live and status.pid is None and status.attempt == attempt:
            message = f"the run's process ended with status {exit_status} before it could start; see {LOG_FILE}"
            save_status(folder, replace(status, state="failed", ended=time.time(), message=message))


def cancel_run(record: RunRecord, *, wait: bool = False, grace_seconds: float = GRACE_SECONDS) -> str:
    """Ask a run to stop and keep what is there; returns one sentence that says what came of it.

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
    if status.host != read_host():
        return f"The run has been asked to stop and has not answered; it was started on host {status.host}."
    signalled = False
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not _signal_run(record.folder, number):
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


def _signal_run(folder: Path, number: int) -> bool:
    """Signal the run's process group; False when its process is gone."""
    process = find_process(load_status(folder))
    if process is None:
        return False
    try:
        # Only a worker that leads its group was launched by us; a foreground one shares the group of its shell.
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
    except (PermissionError, psutil.AccessDenied):
        raise RunError(f"process {process.pid}: it belongs to somebody else and cannot be stopped from here.") from None
    return True


def _say_end(folder: Path, signalled: bool = False) -> str:
    status = load_run(folder).status
    if status.state == "died" and signalled:
        message = "cancelled; it did not stop when asked and was killed"
        # Its only writer is gone, so this is the last word on it.
        save_status(folder, replace(load_status(folder), state="cancelled", ended=time.time(), message=message))
        return "The run did not stop when asked and has been killed; what it had saved is kept."
    if status.state == "cancelled":
        return "The run is cancelled; what it has done so far is kept."
    verb = "has" if status.state in ("died", "failed") else "is"
    return f"The run {verb} {status.state}" + (f": {status.message}" if status.message else ".")
