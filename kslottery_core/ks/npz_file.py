"""How a result or a series lies on disk: one NumPy .npz file, whole or not there."""

from pathlib import Path
from typing import Any

import numpy as np

from kslottery_core.errors import KSInputError
from kslottery_core.records import make_scratch_path

RESULT_ARRAYS = ("counts", "changed", "l2_shift", "cosine", "mean_shift", "spread_ratio")
"""The arrays of a `KSResult`, by the names they have in a file."""


def save_arrays(content: dict[str, Any], path: Path, what: str) -> None:
    """Write `content` to a file with exactly this name. Raises KSInputError, naming `what`, when the disk refuses."""
    scratch = make_scratch_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("wb") as file:  # a handle, since NumPy would append .npz to a bare name
            np.savez(file, **content)
        scratch.replace(path)
    except OSError as problem:
        raise KSInputError(f"{path}: the {what} cannot be written there ({problem}); choose another --out.") from None
