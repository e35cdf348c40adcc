"""Watch a run from outside until it ends, by reading its folder."""

import time
from collections.abc import Callable

from kslottery_core.progress import OnProgress
from kslottery_core.runs.record import RunRecord
from kslottery_core.runs.store import RunStore

POLL_SECONDS = 0.3


def follow_run(
    store: RunStore, run_id: str, on_progress: OnProgress, on_wait: Callable[[str], None] = lambda text: None
) -> RunRecord:
    """Hand on every event of a run, and what it waits for while queued; returns its record when it has ended.

    Raises RunError when there is no such run.
    """
    told, waits_for = 0, None
    while True:
        record = store.get(run_id)
        events = record.read_metrics()
        for event in events[told:]:
            on_progress(event)
        told = len(events)
        if not record.status.live:
            return record
        if record.status.state == "queued" and record.status.message not in (None, waits_for):
            waits_for = record.status.message
            on_wait(str(waits_for))
        time.sleep(POLL_SECONDS)
