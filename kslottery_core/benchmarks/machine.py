"""Where a measurement was made: processor, cores, memory, device and versions."""

import datetime
import importlib.metadata
import os
import platform
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
