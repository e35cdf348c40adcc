"""Whose turn it is: one run a device, in the order in which the runs were created.

The lock is the kernel's (`flock`), so it is free again the moment its process ends, however that happens.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import psutil

from kslottery_core.errors import RunError
from kslottery_core.progress import ShouldStop
from kslottery_core.runs.record import load_run
from kslottery_core.runs.status import RunStatus, load_derived_status, load_status, read_host
from kslottery_core.runs.store import list_run_folders

_POLL_SECONDS = 0.25


def resolve_device(device: str) -> str:
    """`auto` becomes `cuda:0` where there is a CUDA device and `cpu` elsewhere. Raises `RunError` for absent ones."""
    if device == "cpu":
        return device
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda:0" if count else "cpu"
    number = int(device.partition(":")[2] or 0)
    if number >= count:
        raise RunError(f"device: expected {device!r}, CUDA devices found here: {count}; choose cpu or auto.")
    return f"cuda:{number}"


def identify_queue(device: str) -> str:
    """What a run on `device` ("cpu" or "cuda:N") waits for: a GPU by its own id, the CPU of this batch job or machine.

    Two jobs on one node may both call their GPU cuda:0, and each owns the processors it was given: neither must wait
    for the other.
    """
    if device == "cpu":
        job = os.environ.get("SLURM_JOB_ID")
        return f"cpu-job-{job}" if job else "cpu"
    import torch

    properties = torch.cuda.get_device_properties(device)
    return f"cuda-{getattr(properties, 'uuid', device.partition(':')[2])}"


def choose_threads(processors: int, load: float, usual: int) -> int:
    """How many threads torch should use: the processors that are free, but no more than its own choice, or two.

    `load` is the number of processors that others keep busy, `usual` what torch takes by itself (physical cores).
    Threads that wait for one that lost its processor to another job cost far more than they bring.
    """
    return max(1, min(round(processors - load), max(usual, 2)))


def count_busy_processors(seconds: float = 1.0) -> float:
    """How many of this machine's processors were at work over the next `seconds`.

    Not the load average: it goes on counting a run that ended a moment ago, so each run of a study would leave most of
    the machine alone because of the one before it.
    """
    return psutil.cpu_percent(interval=seconds) / 100 * (psutil.cpu_count() or 1)


def use_free_cores() -> None:
    """Set torch's threads by what is free on this machine now; an OMP_NUM_THREADS that somebody set is left alone."""
    if "OMP_NUM_THREADS" not in os.environ:
        import torch

        usual = torch.get_num_threads()
        torch.set_num_threads(choose_threads(len(os.sched_getaffinity(0)), count_busy_processors(), usual))


def locate_lock(folder: Path, queue: str) -> Path:
    """The lock of a queue, in `locks` beside the store; with the host, as homes are shared between machines."""
    return folder.parent.parent / "locks" / f"{read_host()}-{queue.replace(':', '-')}.lock"


@contextlib.contextmanager
def hold_device(folder: Path, queue: str, *, on_wait: Callable[[str], None], should_stop: ShouldStop) -> Iterator[bool]:
    """Wait for the device of `queue` and hold it inside the block; yields False when `should_stop` came first.

    `on_wait` gets one short text whenever what the run waits for has changed.
    """
    path = locate_lock(folder, queue)
    own = load_status(folder)
    told = ""
    irrelevant = {folder}
    with _open_lock(path) as lock:
        while not should_stop():
            ahead = _find_runs_ahead(folder, own, queue, irrelevant)
            if not ahead and _try_lock(lock.fileno()):
                lock.truncate(0)
                lock.write(str(folder))
                lock.flush()
                yield True
                return
            waits_for = _describe_wait(folder, path, ahead)
            if waits_for != told:
                told = waits_for
                on_wait(waits_for)
            time.sleep(_POLL_SECONDS)
        yield False


def _open_lock(path: Path) -> TextIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+", encoding="utf-8")
    except OSError as problem:
        raise RunError(f"{path}: the lock of the device cannot be opened ({problem}); make it writable.") from None


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _find_runs_ahead(folder: Path, own: RunStatus, queue: str, irrelevant: set[Path]) -> list[Path]:
    """Live queued runs of the same store, host and queue that were created earlier, in their order.

    A run that does not know its queue yet counts too: it will within seconds. Folders that can never come first
    again are added to `irrelevant`, so that waiting beside a thousand ended runs costs nothing.
    """
    ahead = []
    for other in list_run_folders(folder.parent):
        if other in irrelevant:
            continue
        with contextlib.suppress(RunError):  # a broken or just deleted folder waits for nothing
            status = load_derived_status(other)
            earlier = (status.created, other.name) < (own.created, folder.name)
            if not earlier or status.state != "queued" or status.host != own.host:
                irrelevant.add(other)
            elif status.queue in (None, queue):
                ahead.append((status.created, other.name, other))
    return [other for _, _, other in sorted(ahead)]


def _describe_wait(folder: Path, path: Path, ahead: list[Path]) -> str:
    names = [load_run(other).name for other in ahead]
    holder = Path(path.read_text(encoding="utf-8").strip())
    with contextlib.suppress(RunError):  # the lock may be empty, or name a run that has been deleted
        if holder not in ahead and load_derived_status(holder).state == "running":
            names.insert(0, load_run(holder).name)
    if not names:
        return "waits for its device"
    rest = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"waits for {names[0]}{rest}"
