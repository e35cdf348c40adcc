"""Where a study stands: its `status.json`, and whether the process that conducts it is still there."""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kslottery_core.errors import StudyError
from kslottery_core.records import load_json, read_record
from kslottery_core.runs.status import (
    STALE_SECONDS,
    STARTUP_SECONDS,
    RunStatus,
    find_process,
    read_host,
    write_status_file,
)

STUDY_STATES = ("new", "queued", "running", "finished", "stopped", "failed")
STATUS_FILE = "status.json"


@dataclass(frozen=True)
class StudyStatus:
    """One moment of a study. Times are unix seconds; `process_started` is psutil's start time of `pid`.

    `state` is one of `STUDY_STATES` on disk: `new` was never started, `queued` waits for its process. A folder that is
    read may also be `died` (the process is gone without a last word) or `broken` (no readable status).
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
    attempt: int = 0

    @property
    def live(self) -> bool:
        """Whether a process conducts it or is about to."""
        return self.state in ("queued", "running")


def load_study_status(folder: Path) -> StudyStatus:
    """Read `status.json` as it was stored, deriving nothing. Raises `StudyError`."""
    path = folder / STATUS_FILE
    status = read_record(StudyStatus, load_json(path, StudyError), str(path), StudyError)
    if status.state not in STUDY_STATES:
        raise StudyError(f"{path}: field 'state': expected one of {', '.join(STUDY_STATES)}, found {status.state!r}.")
    return status


def load_derived_study_status(folder: Path, now: float | None = None) -> StudyStatus:
    """Read `status.json` and derive `died` when the process behind it is gone. Raises `StudyError`."""
    status = load_study_status(folder)
    reason = _find_death(status, time.time() if now is None else now)
    if reason is None:
        return status
    status = load_study_status(folder)  # it may have ended well between the first reading and the look at the process
    return dataclasses.replace(status, state="died", message=reason) if status.live else status


def _find_death(status: StudyStatus, now: float) -> str | None:
    if not status.live:
        return None
    silent_seconds = now - max(status.created, status.heartbeat or 0.0)
    if status.pid is None:
        late = silent_seconds > STARTUP_SECONDS
        return f"the study's process did not start within {STARTUP_SECONDS:.0f} seconds" if late else None
    if status.host != read_host():
        if silent_seconds <= STALE_SECONDS:
            return None
        return f"it was started on host {status.host}, which has given no sign of life for {silent_seconds:.0f} seconds"
    run_status = RunStatus(
        "running", status.created, pid=status.pid, process_started=status.process_started, host=status.host
    )
    if find_process(run_status) is not None:
        return None
    return f"the study's process (pid {status.pid}) ended without a last word"


def save_study_status(folder: Path, status: StudyStatus, **changes: Any) -> StudyStatus:
    """Write `status.json` with these fields changed and a new heartbeat; returns what was written."""
    status = dataclasses.replace(status, **{"heartbeat": time.time(), **changes})
    write_status_file(folder / STATUS_FILE, dataclasses.asdict(status))
    return status
