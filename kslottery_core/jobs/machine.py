"""What this machine offers to a job: its name, processors and memory. Works on Linux, macOS and Windows."""

import os
import socket
import sys

import psutil


def read_host() -> str:
    """The name of this machine, as written into every status."""
    return socket.gethostname()


def count_processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    if hasattr(psutil.Process, "cpu_affinity"):
        return len(psutil.Process().cpu_affinity())
    return psutil.cpu_count() or 1


def count_busy_processors(seconds: float = 1.0) -> float:
    """How many of this machine's processors were at work over the next `seconds`.

    Not the load average: it goes on counting a run that ended a moment ago, so each run of a study would leave most of
    the machine idle because of the one before it.
    """
    return psutil.cpu_percent(interval=seconds) / 100 * (psutil.cpu_count() or 1)


def choose_threads(processors: int, load: float, usual: int) -> int:
    """How many threads torch should use: the free processors, but no more than torch's own choice, or two.

    `load` is the number of processors that others keep busy, `usual` what torch takes by itself (physical cores).
    Waiting for a thread that lost its processor to another process costs far more than the thread brings.
    """
    return max(1, min(round(processors - load), max(usual, 2)))


def use_free_cores() -> None:
    """Set torch's threads by what is free on this machine now, unless OMP_NUM_THREADS is set."""
    if "OMP_NUM_THREADS" not in os.environ:
        import torch

        usual = torch.get_num_threads()
        torch.set_num_threads(choose_threads(count_processors(), count_busy_processors(), usual))


def measure_peak_process_bytes() -> int | None:
    """The largest resident memory of this process so far, in bytes; None where the system does not record it."""
    try:
        import resource
    except ImportError:  # Windows
        return getattr(psutil.Process().memory_info(), "peak_wset", None)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts kibibytes
