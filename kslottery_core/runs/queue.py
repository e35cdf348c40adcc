"""Whose turn it is: one run a device, in the order in which the runs were created."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from kslottery_core import jobs
from kslottery_core.errors import RunError
from kslottery_core.progress import ShouldStop
from kslottery_core.runs.record import load_run
from kslottery_core.runs.status import RUN, load_derived_status, load_status


@contextlib.contextmanager
def hold_device(folder: Path, queue: str, *, on_wait: Callable[[str], None], should_stop: ShouldStop) -> Iterator[bool]:
    """Wait for the device of `queue` and hold it inside the block; yields False when `should_stop` came first.

    `on_wait` gets one short text whenever what the run waits for has changed.
    """
    own = load_status(folder)
    irrelevant = {folder}

    def list_ahead() -> list[jobs.QueuedJob]:
        """Live queued runs of the same store, host and queue that were created earlier, in their order.

        A run that does not know its queue yet counts too: it will within seconds. Folders that can never come first
        again become irrelevant, so that waiting beside a thousand ended runs costs nothing.
        """
        ahead = []
        for other in jobs.list_folders(folder.parent, RUN):
            if other in irrelevant:
                continue
            with contextlib.suppress(RunError):  # a broken or just deleted folder waits for nothing
                status = load_derived_status(other)
                earlier = (status.created, other.name) < (own.created, folder.name)
                if not earlier or status.state != "queued" or status.host != own.host:
                    irrelevant.add(other)
                elif status.queue in (None, queue):
                    ahead.append((status.created, other.name, other))
        return [jobs.QueuedJob(load_run(other).name, other) for _, _, other in sorted(ahead)]

    lock = jobs.locate_device_lock(folder.parent.parent, queue)
    turn = jobs.QueuedJob(load_run(folder).name, folder)
    with jobs.hold_device(lock, turn, list_ahead=list_ahead, on_wait=on_wait, should_stop=should_stop) as held:
        yield held
