"""Time and memory of one call."""

import contextlib
import ctypes
import datetime
import gc
import importlib.metadata
import os
import platform
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kslottery_core.jobs import count_processors

LIBRARIES = ("kslottery", "numpy", "numba", "scipy", "torch", "transformers", "peft", "triton", "alibi-detect")


def describe_machine() -> dict[str, Any]:
    """What a reader needs to judge a time; a library that is not installed is None."""
    import torch

    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _read_processor(),
        "cores": count_processors(),
        "load_at_start": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "device": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "versions": {name: _read_version(name) for name in LIBRARIES},
    }


def _read_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    models = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    return ", ".join(sorted(models)) or platform.processor() or "unknown"


def _read_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


_STATUS = Path("/proc/self/status")
_PAUSE_SECONDS = 0.01


@dataclass(frozen=True)
class Measurement:
    """Times of several calls in seconds, the most memory a further call took beyond the start, and what it returned.

    Memory is anonymous memory of the process, or memory on the CUDA device; None where the system does not tell.
    """

    seconds: tuple[float, ...]
    peak_bytes: int | None
    returned: Any

    @property
    def best_seconds(self) -> float:
        """The least disturbed of the calls."""
        return min(self.seconds)


def measure(call: Callable[[], Any], repeats: int, *, device: str = "cpu", warm_up: bool = True) -> Measurement:
    """Call once unmeasured (`warm_up`), then `repeats` times for the time, watching memory in the first of them."""
    if warm_up:
        call()
    seconds, peak, returned = [], None, None
    for repeat in range(repeats):
        watch = _watch_device(device) if device != "cpu" else _watch_process()
        started = time.perf_counter()
        returned = call()
        _wait_for(device)
        seconds.append(time.perf_counter() - started)
        found = watch()
        peak = found if repeat == 0 else peak
    return Measurement(tuple(seconds), peak, returned)


def _wait_for(device: str) -> None:
    if device != "cpu":
        import torch

        torch.cuda.synchronize()


def _watch_device(device: str) -> Callable[[], int]:
    import torch

    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats(device)
    start = torch.cuda.memory_allocated(device)
    return lambda: torch.cuda.max_memory_allocated(device) - start


def _read_anonymous_bytes() -> int | None:
    try:
        found = re.search(r"RssAnon:\s+(\d+) kB", _STATUS.read_text())
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _return_free_memory() -> None:
    """Hand memory that earlier calls freed back to the system; else a call that reuses it would seem to need none."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


def _watch_process() -> Callable[[], int | None]:
    _return_free_memory()
    start = _read_anonymous_bytes()
    if start is None:
        return lambda: None
    done = threading.Event()
    peaks = [start]

    def watch() -> None:
        while not done.wait(_PAUSE_SECONDS):
            peaks.append(_read_anonymous_bytes() or 0)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()

    def stop() -> int:
        peaks.append(_read_anonymous_bytes() or 0)
        done.set()
        watcher.join()
        return max(peaks) - start

    return stop
