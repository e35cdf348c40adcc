"""What happened in a run: its status, and one immutable look at its folder."""

import dataclasses
import functools
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kslottery_core import jobs
from kslottery_core.errors import KSLotteryError, RunError
from kslottery_core.progress import ProgressEvent
from kslottery_core.records import load_json, load_json_lines
from kslottery_core.runs.spec import RunSpec

ENDED_STATES = ("finished", "failed", "cancelled", "died")
SPEC_FILE = "spec.json"
METRICS_FILE = "metrics.jsonl"
RESULT_FILE = "result.json"
OUTPUTS_FILE = "outputs.jsonl"
CANCEL_FILE = "cancel"
CHECKPOINTS_FOLDER = "checkpoints"

_EVENT_FIELDS = tuple(entry.name for entry in dataclasses.fields(ProgressEvent))


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
    if _has_whole_result(folder, status):  # only its last status is missing
        return dataclasses.replace(status, state="finished", ended=status.heartbeat, message=None)
    if status.pid is not None and status.host == jobs.read_host():
        reason += " while it waited for its device" if status.state == "queued" else f" in the phase {status.phase}"
    return dataclasses.replace(status, state="died", message=reason)


def _has_whole_result(folder: Path, status: RunStatus) -> bool:
    """Whether this attempt of the run wrote the result of everything that it was asked for."""
    try:
        result = load_json(folder / RESULT_FILE, RunError)
        if result.get("attempt", 1) != status.attempt:
            return False
        if "complete" in result:
            return bool(result["complete"])
        # An older version did not record it, but it scored only whole test sets.
        scored = result["corpora"]["test"] is None or bool(result["scores"])
        return scored and not result["tuning"]["stopped"]
    except (RunError, AttributeError, KeyError, TypeError):
        return False


def _mark_other_host(status: RunStatus) -> RunStatus:
    if status.pid is None or status.host == jobs.read_host():
        return status
    origin = f"unknown: started on host {status.host}"
    return dataclasses.replace(status, message=origin if not status.message else f"{origin}; {status.message}")


@dataclass(frozen=True)
class RunRecord:
    """A run as its folder shows it at one moment; read again (`RunStore.get`) to see it move.

    `problem` says what in the folder cannot be read; `spec` is None when that includes `spec.json`. `read_only`
    runs can be looked at, not cancelled or deleted.
    """

    run_id: str
    folder: Path
    spec: RunSpec | None
    status: RunStatus
    result: dict[str, Any] | None = None
    problem: str | None = None
    read_only: bool = False

    @property
    def name(self) -> str:
        """The name that a person gave, or the run's id where the spec cannot be read."""
        return self.run_id if self.spec is None else self.spec.name

    @property
    def checkpoints(self) -> Path:
        """The folder with what the run saved; it may not exist yet."""
        return self.folder / CHECKPOINTS_FOLDER

    @property
    def cancel_requested(self) -> bool:
        """Whether someone has asked this run to stop."""
        return (self.folder / CANCEL_FILE).exists()

    @property
    def seconds(self) -> float | None:
        """Wall-clock seconds since the run got its device, to its end or (live) to now; None before that.

        For a resumed run this includes its earlier attempts, but not the time between them.
        """
        status = self.status
        if status.started is None:
            return status.seconds_before or None
        if status.worked_seconds is not None:
            since = max(0.0, time.time() - (status.heartbeat or 0.0)) if status.live else 0.0
            return status.seconds_before + status.worked_seconds + since
        # An older version did not measure them. A run that died recorded no end; its last sign is the heartbeat.
        end = time.time() if status.live else status.ended or status.heartbeat
        return None if end is None else status.seconds_before + max(0.0, end - status.started)

    @property
    def remaining_seconds(self) -> float | None:
        """Estimated seconds left in the current phase, from its own pace; None when it cannot be known."""
        return None if self.status.state != "running" else compute_remaining_seconds(self.read_metrics(), time.time())

    def read_metrics(self) -> tuple[ProgressEvent, ...]:
        """Every progress event so far, in order. Lines that are still being written or damaged are skipped."""
        events = map(_read_event, _load_lines(self.folder / METRICS_FILE))
        return tuple(event for event in events if event is not None)

    def read_outputs(self) -> tuple[dict[str, Any], ...]:
        """The test sentences with reference and output (`source`, `reference`, `text`, `stopped`, `tokens`)."""
        return tuple(_load_lines(self.folder / OUTPUTS_FILE))

    def read_log_tail(self, lines: int = 40) -> str:
        """The last lines of the run's log; of a line that a progress bar rewrote, only its last state."""
        return jobs.read_log_tail(self.folder, lines)


def _load_lines(path: Path) -> list[dict[str, Any]]:
    try:
        return [content for content in load_json_lines(path) if isinstance(content, dict)]
    except OSError:
        return []


def _read_event(content: dict[str, Any]) -> ProgressEvent | None:
    if not {"phase", "step", "total", "time"} <= content.keys():
        return None
    for name in ("step", "total", "time"):
        if not isinstance(content[name], int | float):
            return None
    return ProgressEvent(**{name: content[name] for name in _EVENT_FIELDS if name in content})


def compute_remaining_seconds(events: tuple[ProgressEvent, ...], now: float) -> float | None:
    """Seconds left in the phase of the last event: steps left at the phase's mean pace, less the time since then.

    None when the phase has no total, or fewer than two events at different steps.
    """
    if not events or events[-1].total <= 0:
        return None
    last = events[-1]
    first = last
    for event in reversed(events):
        if event.phase != last.phase or event.step > first.step:  # another phase, or the same one begun anew
            break
        first = event
    steps, seconds = last.step - first.step, last.time - first.time
    if steps <= 0 or seconds <= 0 or not math.isfinite(seconds):
        return None
    remaining = (last.total - last.step) * seconds / steps
    return max(0.0, remaining - max(0.0, now - last.time))


@functools.lru_cache(maxsize=1024)
def _load_spec(path: Path, modified_ns: int, size: int) -> RunSpec:
    """Specs never change, so a list that is drawn every second parses each of them (and its ticket) once."""
    return RunSpec.from_json(load_json(path, RunError), str(path))


def load_run(folder: Path, read_only: bool = False) -> RunRecord:
    """Look at one run's folder. Broken files become `problem`, never an exception."""
    spec, result = None, None
    problems = []
    try:
        path = folder / SPEC_FILE
        if path.exists():
            stat = path.stat()
            spec = _load_spec(path, stat.st_mtime_ns, stat.st_size)
        else:
            problems.append(f"{path}: the file is missing, so what this run was asked to do is unknown.")
    except (KSLotteryError, OSError) as problem:
        problems.append(str(problem))
    try:
        status = load_derived_status(folder)
    except KSLotteryError as problem:
        problems.append(str(problem))
        status = RunStatus(state="broken", created=jobs.read_folder_age(folder), message=str(problem))
    if (folder / RESULT_FILE).exists():
        try:
            result = load_json(folder / RESULT_FILE, RunError)
            if not isinstance(result, dict):
                raise RunError(f"{folder / RESULT_FILE}: expected a JSON object, found {str(result)[:80]!r}.")
            if status.live and result.get("attempt", 1) != status.attempt:
                result = None  # of an earlier attempt, which this one goes on from
        except RunError as problem:
            result = None
            problems.append(str(problem))
    elif status.state == "finished":
        problems.append(f"{folder / RESULT_FILE}: the run finished but its result is missing.")
    record = RunRecord(folder.name, folder, spec, status, result, " ".join(problems) or None, read_only)
    return _add_last_words(record) if status.state == "died" else record


def _add_last_words(record: RunRecord) -> RunRecord:
    """Put the end of the log into the message: it is often all that a dead process left behind."""
    last_line = record.read_log_tail(1).strip()
    ending = f"its log ends with: {last_line[:300]}" if last_line else "its log is empty"
    message = f"{record.status.message}; {ending}"
    return dataclasses.replace(record, status=dataclasses.replace(record.status, message=message))
