"""Where a run stands: its `status.json`, and whether the process behind it is still alive."""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

from kslottery_core import jobs
from kslottery_core.errors import RunError

ENDED_STATES = ("finished", "failed", "cancelled", "died")


@dataclass(frozen=True)
class RunStatus(jobs.JobStatus):
    """One moment of a run. Times are unix seconds.

    `queue` names what the run waits for and holds: one piece of hardware (see `identify_queue`). A resumed run is at
    its second `attempt` or a later one, waits since `queued_again`, and had worked for `seconds_before` until then.
    `state` is one of `RUN.states` on disk. Reading a folder may derive two more: `died` (the process ended
    unexpectedly) and `broken` (no readable status).
    """

    device: str | None = None
    queue: str | None = None
    phase: str | None = None
    step: int = 0
    total: int = 0
    queued_again: float | None = None
    seconds_before: float = 0.0


RUN = jobs.JobKind("run", "runs", RunError, RunStatus, ("queued", "running", "finished", "failed", "cancelled"))


def load_status(folder: Path) -> RunStatus:
    """Read `status.json` as it was stored, deriving nothing. Raises `RunError`."""
    return jobs.load_status(folder, RUN)


def load_derived_status(folder: Path, now: float | None = None) -> RunStatus:
    """Read `status.json` and derive `died` when the process behind it is gone. Raises `RunError`."""
    status = load_status(folder)
    if not status.live:
        return status
    now = time.time() if now is None else now
    if jobs.find_death(status, RUN, now) is None:
        return _mark_other_host(status)
    status = load_status(folder)  # it may have ended well between the first reading and the look at the process
    reason = jobs.find_death(status, RUN, now)
    if reason is None:
        return status
    if status.pid is not None and status.host == jobs.read_host():
        reason += " while it waited for its device" if status.state == "queued" else f" in the phase {status.phase}"
    return dataclasses.replace(status, state="died", message=reason)


def _mark_other_host(status: RunStatus) -> RunStatus:
    if status.pid is None or status.host == jobs.read_host():
        return status
    origin = f"unknown: started on host {status.host}"
    return dataclasses.replace(status, message=origin if not status.message else f"{origin}; {status.message}")
