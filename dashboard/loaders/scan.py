"""Whole-model scans: what one would cost, what an earlier one left, and going on with it.

A scan is kept in `scans` in KS-Lottery's home folder, under a digest of both sides' files, the unit and the names asked
for; a matrix that was compared once is not compared again while the files stay as they are.
"""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.loaders import PairChoice
from kslottery_core.errors import KSLotteryError
from kslottery_core.progress import OnProgress, ShouldStop

if TYPE_CHECKING:
    from kslottery_core.checkpoints import ParameterPair
    from kslottery_core.scans import Scan

_SCAN_VERSION = "2"  # part of every folder's name: raise it when the meaning of a kept scan changes
_PATIENCE_SECONDS = 2.0


@dataclass(frozen=True, eq=False)
class PlannedScan:
    """A scan before it begins. `parameters` are the matrices it would compare, `folder` is where it is kept.

    `read_bytes` is what has to be read from both sides for all of them, None when a stored type's size is not known.
    """

    choice: PairChoice
    unit: str
    pattern: str
    pair: ParameterPair
    parameters: tuple[str, ...]
    read_bytes: int | None
    folder: Path


def plan_scan(choice: PairChoice, unit: str, pattern: str) -> PlannedScan:
    """Open both sides' headers and see what there is to compare. Reads no row. Raises KSLotteryError."""
    from kslottery_core.runs import get_home

    pair, signature = _open_parameters(choice)
    parameters = pair.select(pattern)
    sizes = [
        size
        for name in parameters
        for size in (pair.before.count_stored_bytes(name), pair.after.count_stored_bytes(pair.after_names[name]))
    ]
    asked = (_SCAN_VERSION, signature, choice.before, choice.after, unit, pattern)
    digest = hashlib.sha256("\n".join(map(str, asked)).encode()).hexdigest()[:32]
    return PlannedScan(
        choice=choice,
        unit=unit,
        pattern=pattern,
        pair=pair,
        parameters=parameters,
        read_bytes=None if None in sizes else sum(size for size in sizes if size is not None),
        folder=get_home() / "scans" / digest,
    )


@st.cache_resource(max_entries=8, show_spinner=False, validate=lambda opened: opened[1] == _sign(opened[0]))
def _open_parameters(choice: PairChoice) -> tuple[ParameterPair, str]:
    from kslottery_core.checkpoints import open_parameter_pair

    pair = open_parameter_pair(
        choice.before or "",
        choice.after or "",
        before_revision=choice.before_revision,
        after_revision=choice.after_revision,
    )
    return pair, _sign(pair)


def _sign(pair: ParameterPair) -> str:
    return f"{pair.before.file_signature} {pair.after.file_signature}"


def is_adapter(choice: PairChoice) -> bool:
    """Whether the after side is a PEFT adapter here: it may have changed other matrices than the embedding alone."""
    from kslottery_core.checkpoints.sources import find_source

    try:
        return find_source(choice.after or "", choice.after_revision).kind == "adapter"
    except KSLotteryError:
        return False


def load_kept_scan(plan: PlannedScan) -> Scan | None:
    """What has been compared so far, in this session or an earlier one; None when nothing has.

    Raises KSLotteryError when the folder is damaged.
    """
    try:
        stats = [(plan.folder / name).stat() for name in ("scan.json", "parameters.jsonl")]
    except OSError:
        return None
    return _load_scan(str(plan.folder), tuple((stat.st_mtime_ns, stat.st_size) for stat in stats))


@st.cache_resource(max_entries=8, show_spinner=False)
def _load_scan(folder: str, signature: tuple[tuple[int, int], ...]) -> Scan:
    from kslottery_core.scans import load_scan

    return load_scan(Path(folder))


def forget_scan(plan: PlannedScan) -> None:
    """Remove what is kept of a scan, so that it can begin anew. Raises KSLotteryError, also while one is under way."""
    import shutil

    from kslottery_core.scans import hold_folder

    try:
        with hold_folder(plan.folder):
            shutil.rmtree(plan.folder)
    except OSError as problem:
        raise KSLotteryError(f"{plan.folder}: the kept scan cannot be removed ({problem}).") from None


@st.cache_resource(show_spinner=False)
def _load_locks() -> dict[str, threading.Lock]:
    return {}


def go_on_scanning(plan: PlannedScan, progress: OnProgress, seconds: float) -> None:
    """Compare matrices that are not done yet for about `seconds`, to the end of a matrix; each is kept once it is done.

    Does nothing for a moment when another window is at it: what that one finds is kept in the same folder.
    Raises KSLotteryError, also when another process scans into that folder.
    """
    from kslottery_core.scans import scan_parameters

    lock = _load_locks().setdefault(str(plan.folder), threading.Lock())
    if not lock.acquire(timeout=_PATIENCE_SECONDS):
        return
    try:
        scan_parameters(
            plan.choice.before or "",
            plan.choice.after or "",
            plan.folder,
            pattern=plan.pattern,
            unit=plan.unit,
            before_revision=plan.choice.before_revision,
            after_revision=plan.choice.after_revision,
            progress=progress,
            should_stop=_stop_between_matrices(plan.folder / "parameters.jsonl", time.monotonic() + seconds),
        )
    finally:
        lock.release()


def _stop_between_matrices(lines: Path, deadline: float) -> ShouldStop:
    """Stopping inside a matrix would lose it, and one that takes longer than a slice would never be done."""
    kept = None

    def should_stop() -> bool:
        nonlocal kept
        try:
            size = lines.stat().st_size
        except OSError:
            size = 0
        is_between, kept = kept is not None and size != kept, size
        return is_between and time.monotonic() > deadline

    return should_stop
