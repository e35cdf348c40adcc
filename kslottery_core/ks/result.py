"""The record of one comparison. Everything shown later derives from `counts` and `width`."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kslottery_core.errors import KSInputError
from kslottery_core.ks.p_values import compute_p_values
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


def format_statistic(value: float) -> str:
    """D with four decimals, halves rounded up as a browser does: k/d often ends in one where d is a power of two."""
    return str(Decimal(float(value)).quantize(Decimal("0.0001"), ROUND_HALF_UP))


def format_level(significance_level: float) -> str:
    """An alpha of at most six digits as people write it: 0.05, 1e-5."""
    return f"{significance_level:g}".replace("e-0", "e-")


@dataclass(frozen=True, eq=False)
class KSResult:
    """KS comparison of V row pairs of width d.

    counts        int32 (V,)    k = d * D exactly, 0 <= k <= d
    changed       bool (V,)     whether any coordinate differs
    l2_shift      float64 (V,)  Euclidean distance between the two rows
    cosine        float64 (V,)  cosine similarity of the two rows; NaN where a row is all zeros
    mean_shift    float64 (V,)  mean of the after row minus mean of the before row
    spread_ratio  float64 (V,)  standard deviation after / before; NaN where the before row is constant
    """

    counts: np.ndarray
    width: int
    changed: np.ndarray
    l2_shift: np.ndarray
    cosine: np.ndarray
    mean_shift: np.ndarray
    spread_ratio: np.ndarray
    device: str = "cpu"
    seconds: float | None = None
    fingerprint_before: str | None = None
    fingerprint_after: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def vocabulary_size(self) -> int:
        """V, the number of row pairs compared."""
        return len(self.counts)

    @property
    def changed_count(self) -> int:
        """How many rows differ in at least one coordinate."""
        return int(self.changed.sum())

    @cached_property
    def statistics(self) -> np.ndarray:
        """D of every token, float64 (V,)."""
        return self.counts / self.width

    @cached_property
    def p_values(self) -> np.ndarray:
        """Exact two-sided p of every token, float64 (V,). Not calibrated: before and after are paired."""
        return compute_p_values(self.width)[self.counts]

    @cached_property
    def histogram(self) -> np.ndarray:
        """How many tokens have each count k = 0 .. d, int64 (d + 1,)."""
        return np.bincount(self.counts, minlength=self.width + 1).astype(np.int64)


def save_ks_result(result: KSResult, path: str | Path) -> None:
    """Write `counts`, `width` and the shift arrays to a NumPy .npz file with exactly this name.

    Missing texts are stored empty and missing seconds as NaN, since the format knows no None. Raises KSInputError when
    the disk does not take it.
    """
    path = Path(path)
    content: dict[str, Any] = {name: getattr(result, name) for name in RESULT_ARRAYS}
    content |= {
        "width": np.int64(result.width),
        "seconds": np.float64(np.nan if result.seconds is None else result.seconds),
        "notes": np.array(result.notes, dtype=np.str_),
        "device": np.str_(result.device),
        "fingerprint_before": np.str_(result.fingerprint_before or ""),
        "fingerprint_after": np.str_(result.fingerprint_after or ""),
    }
    save_arrays(content, path, "KS result")


def load_ks_result(path: str | Path) -> KSResult:
    """Read what `save_ks_result` wrote. Raises KSInputError for a missing, torn or foreign file."""
    path = Path(path)
    try:
        # NumPy leaks a handle of its own when the archive is torn; one opened here is closed whatever happens.
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {name: file[name] for name in RESULT_ARRAYS}
            seconds = float(file["seconds"])
            return KSResult(
                width=int(file["width"]),
                device=str(file["device"]),
                seconds=None if np.isnan(seconds) else seconds,
                fingerprint_before=str(file["fingerprint_before"]) or None,
                fingerprint_after=str(file["fingerprint_after"]) or None,
                notes=tuple(str(note) for note in file["notes"]),
                **arrays,
            )
    except FileNotFoundError:
        raise KSInputError(f"{path}: expected a KS result (.npz), found no file there; check the path.") from None
    except Exception as problem:  # NumPy raises many kinds for a broken archive
        raise KSInputError(f"{path}: this is not a KS result that `ks --out` wrote ({problem}).") from None
