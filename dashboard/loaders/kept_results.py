"""What was found out earlier about the same files and lies on disk, so that a pair seen before opens at once."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    from kslottery_core.ks import KSResult


def get_cached_result_path(key: str) -> Path:
    """Where the result of a comparison lies on disk."""
    return _get_cache_folder() / f"ks-{key}.npz"


def list_description_folders(demo: Path) -> tuple[Path, ...]:
    """Where it is kept what architectures are: the person's own folder, then what comes with the demo."""
    return _get_cache_folder(), demo / "first_view"


def load_kept_result(path: Path, demo: Path | None) -> KSResult | None:
    """The result in `path`, or that which comes with `demo`; None where neither is there, whole and of these files."""
    from kslottery_core.demo.first_view import load_first_result
    from kslottery_core.ks import load_ks_result

    with contextlib.suppress(KSLotteryError):
        return load_ks_result(path)
    return None if demo is None else load_first_result(demo)


def _get_cache_folder() -> Path:
    from kslottery_core.runs import get_home

    return get_home() / "cache"
