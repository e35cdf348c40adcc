"""Where a job stands: its `status.json`, and whether the process behind it is still alive."""

import dataclasses
import errno
import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from kslottery_core.errors import KSLotteryError
from kslottery_core.jobs.machine import read_host
from kslottery_core.jobs.process import find_process
from kslottery_core.records import load_json, read_record, replace_file

STATUS_FILE = "status.json"
LIVE_STATES = ("queued", "running")
FULL_DISK_ERRORS = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
STARTUP_SECONDS = 60.0  # a started process that has not written its pid by then never started
STALE_SECONDS = 60.0  # on another host only the heartbeat tells


@dataclass(frozen=True)
class JobStatus:
    """One moment of a job. Times are unix seconds.

    `pid`, `process_started` (psutil's start time), `process_identity` (see `identify_process`) and `host` are of the
    process that works on it; None before it has started. `worked_seconds` counts from the moment when this attempt
    began to run, by a clock that nobody can set, up to the `heartbeat`.
    """

    state: str
    created: float
    pid: int | None = None
    process_started: float | None = None
    host: str | None = None
    started: float | None = None
    ended: float | None = None
    heartbeat: float | None = None
    message: str | None = None
    attempt: int = 1
    process_identity: str | None = None
    worked_seconds: float | None = None

    @property
    def live(self) -> bool:
        """Whether a process works on it or waits for its turn."""
        return self.state in LIVE_STATES


Status = TypeVar("Status", bound=JobStatus)


@dataclass(frozen=True)
class JobKind(Generic[Status]):
    """One kind of job: what messages call it, its error, and the states that its `status.json` may have."""

    name: str
    plural: str
    error: type[KSLotteryError]
    status_class: type[Status]
    states: tuple[str, ...]


def load_status(folder: Path, kind: JobKind[Status]) -> Status:
    """Read `status.json` as it was stored, deriving nothing. Raises the kind's error."""
    path = folder / STATUS_FILE
    status = read_record(kind.status_class, load_json(path, kind.error), str(path), kind.error)
    if status.state not in kind.states:
        raise kind.error(
            f"{path}: field 'state': expected one of {', '.join(kind.states)}, found {status.state!r}; it was written "
            "by a newer version or has been damaged."
        )
    return status


def find_death(status: JobStatus, kind: JobKind[Any], now: float | None = None) -> str | None:
    """Why nobody works on a live job any more, in words; None while somebody may."""
    if not status.live:
        return None
    now = time.time() if now is None else now
    silent_seconds = now - max(status.created, status.heartbeat or 0.0)
    if status.pid is None:
        late = silent_seconds > STARTUP_SECONDS
        return f"the {kind.name}'s process did not start within {STARTUP_SECONDS:.0f} seconds" if late else None
    if status.host != read_host():
        if silent_seconds <= STALE_SECONDS:
            return None
        return (
            f"the {kind.name} was started on host {status.host} and has given no sign of life for "
            f"{silent_seconds:.0f} seconds"
        )
    if find_process(status) is not None:
        return None
    return f"the {kind.name}'s process (pid {status.pid}) ended unexpectedly"


class StatusWriter(Generic[Status]):
    """The only writer of a job's `status.json` while its process lives; safe to share between threads."""

    def __init__(self, folder: Path, status: Status) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._status = status
        self._running_since: float | None = None

    @property
    def status(self) -> Status:
        """What was written last."""
        return self._status

    def write(self, **changes: Any) -> None:
        """Change these fields and write the file; every write is also a heartbeat. Raises OSError."""
        with self._lock:
            if not self._status.live:  # a heartbeat that comes late must not bring an ended job back to life
                return
            if changes.get("state") == "running":
                self._running_since = time.monotonic()
            if self._running_since is not None:
                changes["worked_seconds"] = time.monotonic() - self._running_since
            self._status = dataclasses.replace(self._status, heartbeat=time.time(), **changes)
            save_status(self._folder, self._status)


def save_status(folder: Path, status: JobStatus) -> None:
    """Write `status.json` so that no reader sees half of it, on a full disk too.

    Never makes a folder that has been removed. Raises OSError.
    """
    path = folder / STATUS_FILE
    text = json.dumps(dataclasses.asdict(status), ensure_ascii=False)
    try:
        replace_file(path, text + "\n")
    except OSError as problem:
        if problem.errno not in FULL_DISK_ERRORS or not path.exists():
            raise
        # How a job ended must be recorded on a full disk too: overwriting what is there needs no new block.
        with path.open("r+", encoding="utf-8") as status_file:
            status_file.write(text + "\n")
            status_file.truncate()
