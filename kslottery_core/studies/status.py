"""Where a study stands: its `status.json`, and whether the process that conducts it is still alive."""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kslottery_core import jobs
from kslottery_core.errors import StudyError

STUDY_STATES = ("new", "queued", "running", "finished", "stopped", "failed")


@dataclass(frozen=True)
class StudyStatus(jobs.JobStatus):
    """One moment of a study.

    `state` is one of `STUDY_STATES` on disk: `new` was never started, `queued` waits for its process. A folder that is
    read may also be `died` (the process ended unexpectedly) or `broken` (no readable status).
    """

    attempt: int = 0


STUDY = jobs.JobKind("study", "studies", StudyError, StudyStatus, STUDY_STATES)


def load_study_status(folder: Path) -> StudyStatus:
    """Read `status.json` as it was stored, deriving nothing. Raises `StudyError`."""
    return jobs.load_status(folder, STUDY)


def load_derived_study_status(folder: Path, now: float | None = None) -> StudyStatus:
    """Read `status.json` and derive `died` when the process behind it is gone. Raises `StudyError`."""
    status = load_study_status(folder)
    reason = jobs.find_death(status, STUDY, now)
    if reason is None:
        return status
    status = load_study_status(folder)  # it may have ended well between the first reading and the look at the process
    return dataclasses.replace(status, state="died", message=reason) if status.live else status


def save_study_status(folder: Path, status: StudyStatus, **changes: Any) -> StudyStatus:
    """Write `status.json` with these fields changed and a new heartbeat; returns what was written."""
    status = dataclasses.replace(status, **{"heartbeat": time.time(), **changes})
    jobs.save_status(folder, status)
    return status
