"""Whose turn it is on a device: one job at a time, each waiting job by its place in the queue."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kslottery_core.errors import RunError
from kslottery_core.jobs.lock import hold_lock, read_holder
from kslottery_core.jobs.machine import read_host
from kslottery_core.jobs.store import get_home
from kslottery_core.progress import ShouldStop

_POLL_SECONDS = 0.25


@dataclass(frozen=True)
class QueuedJob:
    """Who holds or waits for a device: a `name` for people, and the job's folder where it has one."""

    name: str
    folder: Path | None = None


def resolve_device(device: str) -> str:
    """`auto` becomes `cuda:0` where there is a CUDA device and `cpu` elsewhere; `mps` is Apple's GPU.

    Raises `RunError` for devices that are not there.
    """
    if device == "cpu":
        return device
    import torch

    if device == "mps":
        if not torch.backends.mps.is_available():
            raise RunError("device: expected Apple's GPU, 'mps', which torch does not find here; choose cpu or auto.")
        return device
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda:0" if count else "cpu"
    number = int(device.partition(":")[2] or 0)
    if number >= count:
        raise RunError(f"device: expected {device!r}, CUDA devices found here: {count}; choose cpu or auto.")
    return f"cuda:{number}"


def identify_queue(device: str) -> str:
    """What a job on a resolved device waits for: a GPU by its own id, the CPU of this batch job or machine.

    Two jobs on one node may both call their GPU cuda:0, and each owns the processors it was given: neither must wait
    for the other.
    """
    if device == "cpu":
        job = os.environ.get("SLURM_JOB_ID")
        return f"cpu-job-{job}" if job else "cpu"
    if device == "mps":
        return device
    import torch

    properties = torch.cuda.get_device_properties(device)
    return f"cuda-{getattr(properties, 'uuid', device.partition(':')[2])}"


def locate_device_lock(home: Path, queue: str) -> Path:
    """The lock of a queue, in `locks` of a home folder; with the host, as homes are shared between machines."""
    return home / "locks" / f"{read_host()}-{queue.replace(':', '-')}.lock"


@contextlib.contextmanager
def hold_device(
    lock: Path,
    own: QueuedJob,
    *,
    list_ahead: Callable[[], Sequence[QueuedJob]] = tuple,
    on_wait: Callable[[str], None],
    should_stop: ShouldStop,
) -> Iterator[bool]:
    """Wait for the device of `lock` and hold it inside the block; yields False when `should_stop` came first.

    Jobs that `list_ahead` gives go first, even when the device is free. `on_wait` gets one short text whenever what the
    job waits for has changed. Raises `RunError` when the lock cannot be opened.
    """
    reported = ""
    while not should_stop():
        ahead = list_ahead()
        with contextlib.ExitStack() as stack:
            if not ahead and _take(stack, lock, own):
                yield True
                return
        waits_for = _describe_wait(lock, ahead)
        if waits_for != reported:
            reported = waits_for
            on_wait(waits_for)
        time.sleep(_POLL_SECONDS)
    yield False


@contextlib.contextmanager
def hold_turn(device: str, name: str, *, on_wait: Callable[[str], None], should_stop: ShouldStop) -> Iterator[bool]:
    """The turn of work without a folder, called `name`, on a device ("auto" too), as `hold_device` gives it.

    Where the home folder cannot be written nobody queues, and the turn is taken at once.
    """
    lock = locate_device_lock(get_home(), identify_queue(resolve_device(device)))
    with contextlib.ExitStack() as stack:
        try:
            held = stack.enter_context(hold_device(lock, QueuedJob(name), on_wait=on_wait, should_stop=should_stop))
        except RunError:
            held = True
        yield held


def _take(stack: contextlib.ExitStack, lock: Path, own: QueuedJob) -> bool:
    holder = f"{own.folder or ''}\n{own.name}"
    try:
        return stack.enter_context(hold_lock(lock, timeout=0, holder=holder))
    except OSError as problem:
        raise RunError(f"{lock}: the lock of the device cannot be opened ({problem}); make it writable.") from None


def _describe_wait(lock: Path, ahead: Sequence[QueuedJob]) -> str:
    names = [job.name for job in ahead]
    folder, _, name = read_holder(lock).partition("\n")
    # The lock may still name a job that has been removed, or come from an older version, which wrote no name.
    if name and (not folder or Path(folder).is_dir()) and Path(folder) not in [job.folder for job in ahead]:
        names.insert(0, name)
    if not names:
        return "waits for its device"
    rest = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"waits for {names[0]}{rest}"
