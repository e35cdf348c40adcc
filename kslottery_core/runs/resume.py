"""Go on with a run that was killed, cancelled or failed, in the same folder, from its last checkpoint."""

import time
from collections.abc import Sequence

from kslottery_core import jobs
from kslottery_core.errors import RunError
from kslottery_core.runs.launch import start_worker
from kslottery_core.runs.record import CANCEL_FILE, OUTPUTS_FILE, RESULT_FILE, RunRecord, load_run
from kslottery_core.runs.spec import RunSpec, check_spec
from kslottery_core.runs.status import RunStatus
from kslottery_core.runs.store import RunStore, hold_run
from kslottery_core.tuning.checkpointing import find_last_step


def resume_run(store: RunStore, run_id: str, *, command: Sequence[str] | None = None) -> RunRecord:
    """Start a process that goes on with a run; returns at once.

    The training continues from its last checkpoint as if it had never ended, or begins anew where it has none yet; what
    was still to come after it follows. `command` as for `launch_run`. Raises `KSLotteryError` when there is nothing to
    go on with, or a file that the run needs is gone.
    """
    return start_worker(reopen_run(store, run_id), command)


def reopen_run(store: RunStore, run_id: str) -> RunRecord:
    """Make an ended run a queued one again, for whoever works on it next; raises as `resume_run` does."""
    check_resumable(store.get(run_id))
    # Two people, or one with two windows, must not start two processes in one folder.
    with hold_run(store.get(run_id).folder):
        record = store.get(run_id)
        check_spec(check_resumable(record))
        now, old = time.time(), record.status
        try:
            for name in (CANCEL_FILE, RESULT_FILE, OUTPUTS_FILE):  # what was said of the run as it ended before
                (record.folder / name).unlink(missing_ok=True)
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
            jobs.save_status(record.folder, status)
        except OSError as problem:
            raise RunError(f"run {run_id!r}: its folder cannot be written ({problem}).") from None
        return load_run(record.folder)


def check_resumable(record: RunRecord) -> RunSpec:
    """What a run was asked to do, if it can be gone on with. Raises `RunError` with the reason where it cannot."""
    if record.read_only:
        raise RunError(f"run {record.run_id!r}: it belongs to {record.folder.parent}, which is read-only.")
    if record.status.live:
        raise RunError(f"run {record.run_id!r}: it is {record.status.state}; only a run that has ended can be resumed.")
    if record.status.state == "finished":
        raise RunError(f"run {record.run_id!r}: it has finished, so there is nothing left to do; start a new run.")
    if record.spec is None or record.status.state == "broken":
        raise RunError(f"run {record.run_id!r}: it cannot be resumed. {record.problem}")
    return record.spec


def find_resume_step(record: RunRecord) -> int | None:
    """The step of the checkpoint that a resumption goes on from; None when the training would begin anew."""
    return find_last_step(record.checkpoints)
