"""Where a run stands: `status.json`, and whether the process behind it is still there."""

import dataclasses
import errno
import json
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from kslottery_core.errors import RunError
from kslottery_core.records import load_json, read_record, save_json

STORED_STATES = ("queued", "running", "finished", "failed", "cancelled")
LIVE_STATES = ("queued", "running")
ENDED_STATES = ("finished", "failed", "cancelled", "died")

STATUS_FILE = "status.json"
FULL_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT)
STARTUP_SECONDS = 60.0  # a launched process that has not written its pid by then never started
STALE_SECONDS = 60.0  # on another host only the heartbeat tells
_CLOCK_SECONDS = 2.0  # psutil derives start times from the boot time, which moves a little when the clock is set


@dataclass(frozen=True)
class RunStatus:
    """One moment of a run. Times are unix seconds; `process_started` is psutil's start time of `pid`.

    `queue` names what the run waits for and holds: one piece of hardware (see `identify_queue`). A resumed run is at
    its second `attempt` or a later one, waits since `queued_again`, and had worked for `seconds_before` until then.
    `state` is one of `STORED_STATES` on disk. Reading a folder may derive two more: `died` (the process is gone
    without a last word) and `broken` (no readable status).
    """

    state: str
    created: float
    pid: int | None = None
    process_started: float | None = None
    host: str | None = None
    device: str | None = None
    queue: str | None = None
    started: float | None = None
    ended: float | None = None
    heartbeat: float | None = None
    phase: str | None = None
    step: int = 0
    total: int = 0
    message: str | None = None
    attempt: int = 1
    queued_again: float | None = None
    seconds_before: float = 0.0

    @property
    def live(self) -> bool:
        """Whether a process still works on it or waits for its turn."""
        return self.state in LIVE_STATES


def read_host() -> str:
    """The name of this machine, as written into every status."""
    return socket.gethostname()


def load_status(folder: Path) -> RunStatus:
    """Read `status.json` as it was stored, deriving nothing. Raises `RunError`."""
    path = folder / STATUS_FILE
    status = read_record(RunStatus, load_json(path, RunError), str(path), RunError)
    if status.state not in STORED_STATES:
        raise RunError(f"{path}: field 'state': expected one of {', '.join(STORED_STATES)}, found {status.state!r}.")
    return status


def load_derived_status(folder: Path, now: float | None = None) -> RunStatus:
    """Read `status.json` and derive `died` when the process behind it is gone. Raises `RunError`."""
    status = load_status(folder)
    if not status.live:
        return status
    reason = _find_death(status, time.time() if now is None else now)
    if reason is None:
        return _mark_other_host(status)
    status = load_status(folder)  # it may have ended well between the first reading and the look at the process
    if not status.live:
        return status
    return dataclasses.replace(status, state="died", message=reason)


def find_process(status: RunStatus) -> psutil.Process | None:
    """The live process of this status on this host, or None. Pid and start time must both match."""
    if status.pid is None or status.process_started is None or status.host != read_host():
        return None
    try:
        process = psutil.Process(status.pid)
        if abs(process.create_time() - status.process_started) > _CLOCK_SECONDS:
            return None
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.Error:
        return None


def _find_death(status: RunStatus, now: float) -> str | None:
    last_word = max(status.created, status.heartbeat or 0.0)
    if status.pid is None:
        if now - last_word <= STARTUP_SECONDS:
            return None
        return f"the run's process did not start within {STARTUP_SECONDS:.0f} seconds"
    if status.host != read_host():
        if now - last_word <= STALE_SECONDS:
            return None
        return (
            f"the run was started on host {status.host} and has given no sign of life for {now - last_word:.0f} seconds"
        )
    if find_process(status) is not None:
        return None
    doing = "while it waited for its device" if status.state == "queued" else f"in the phase {status.phase}"
    return f"the run's process (pid {status.pid}) ended without a last word {doing}"


def _mark_other_host(status: RunStatus) -> RunStatus:
    if status.pid is None or status.host == read_host():
        return status
    origin = f"unknown: started on host {status.host}"
    return dataclasses.replace(status, message=origin if not status.message else f"{origin}; {status.message}")


class StatusWriter:
    """The one writer of a run's `status.json` while its process lives; safe to share between threads."""

    def __init__(self, folder: Path, status: RunStatus) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._status = status

    @property
    def status(self) -> RunStatus:
        """What was written last."""
        return self._status

    def write(self, **changes: Any) -> None:
        """Change these fields and write the file; every writing is also a heartbeat."""
        with self._lock:
            # A heartbeat that comes late must not bring an ended run back to life.
            if self._status.state in LIVE_STATES:
                self._status = dataclasses.replace(self._status, heartbeat=time.time(), **changes)
                save_status(self._folder, self._status)


def save_status(folder: Path, status: RunStatus) -> None:
    """Write `status.json` so that no reader sees half of it."""
    write_status_file(folder / STATUS_FILE, dataclasses.asdict(status))


def write_status_file(path: Path, content: dict[str, Any]) -> None:
    """Write the last word on something, on a full disk too. Raises OSError when nothing helps."""
    try:
        save_json(path, content)
    except OSError as problem:
        if problem.errno not in FULL_DISK_ERRORS or not path.exists():
            raise
        # How a run ended must be told on a full disk too: writing over what is there needs no new block.
        with path.open("r+", encoding="utf-8") as status_file:
            status_file.write(json.dumps(content, ensure_ascii=False) + "\n")
            status_file.truncate()
