"""Several after checkpoints against one before: which there are, what comparing them found, what wins at an alpha.

A comparison is kept under `cache` in KS-Lottery's home folder, as those of pairs are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from dashboard import loaders
from dashboard.loaders import AlphaChoice, PairChoice
from dashboard.loaders.kept_results import list_description_folders
from dashboard.loaders.shelf import ResultShelf
from kslottery_core.errors import KSLotteryError
from kslottery_core.progress import OnProgress, ignore_progress

if TYPE_CHECKING:
    from kslottery_core.checkpoints import EmbeddingSeries
    from kslottery_core.ks import KSSeries
    from kslottery_core.runs import RunRecord
    from kslottery_core.tickets import Overlap

_SERIES_VERSION = "1"  # part of every file's name: raise it when the meaning of a stored series changes


@dataclass(frozen=True, eq=False)
class SeriesComparison:
    """Open checkpoints and what the KS tests found; `key` digests all files. `groups` (A,) tell trainings apart.

    `cache_problem` says why the result could not be kept for next time.
    """

    sources: tuple[str, ...]
    opened: EmbeddingSeries
    found: KSSeries
    groups: tuple[str, ...]
    key: str
    cache_problem: str | None = None


@dataclass(frozen=True, eq=False)
class SeriesSelection:
    """The tickets of all A checkpoints at one alpha: their overlap, and from which D a token wins in each (or None)."""

    overlap: Overlap
    thresholds: tuple[float | None, ...]
    least_level: float | None


@dataclass(frozen=True)
class ComparableRun:
    """A run whose checkpoint began at the same before model."""

    name: str
    source: str


def expand_sources(lines: Sequence[str]) -> tuple[str, ...]:
    """One source a line; a folder that is no model but holds checkpoints with steps in their names stands for them."""
    from kslottery_core.checkpoints import check_source, find_step

    sources: list[str] = []
    for line in (line.strip() for line in lines):
        folder, inner = Path(line).expanduser(), []
        if line and folder.is_dir():
            try:
                check_source(line)
            except KSLotteryError:
                steps = {str(path): find_step(path.name) for path in folder.iterdir() if path.is_dir()}
                known = {path: step for path, step in steps.items() if step is not None}
                inner = sorted(known, key=lambda path: (known[path], path))
        sources += inner or ([line] if line else [])
    return tuple(dict.fromkeys(sources))


def list_demo_series() -> tuple[str, ...]:
    """The folder of the demo's checkpoints of several trainings; none without it."""
    folder = loaders.DEMO_PATH / "series"
    return (str(folder),) if folder.is_dir() else ()


def split_revision(source: str) -> tuple[str, str | None]:
    """`organisation/name@revision` into its parts; what is a path here stays whole."""
    name, sign, revision = source.rpartition("@")
    if not sign or Path(source).expanduser().exists():
        return source, None
    return name, revision


def list_series_downloads(choice: PairChoice, sources: Sequence[str]) -> tuple[str, ...]:
    """Which checkpoints are no path on this disk, so that opening them asks the model hub."""
    found = [
        loaders.list_downloads(PairChoice(choice.before, name, choice.before_revision, revision))
        for name, revision in map(split_revision, sources)
    ]
    return tuple(dict.fromkeys(name for names in found for name in names))


def list_comparable_runs(choice: PairChoice) -> tuple[ComparableRun, ...]:
    """Ended runs that left a checkpoint and began at the before model of `choice`, newest first; equal names numbered.

    Raises KSLotteryError when the runs cannot be listed.
    """
    found: list[ComparableRun] = []
    seen: dict[str, int] = {}
    for record in loaders.load_run_store().list():
        folder = _find_checkpoint(record, choice)
        if folder is not None:
            seen[record.name] = seen.get(record.name, 0) + 1
            name = record.name if seen[record.name] == 1 else f"{record.name} ({seen[record.name]})"
            found.append(ComparableRun(name, str(folder)))
    return tuple(found)


def _find_checkpoint(record: RunRecord, choice: PairChoice) -> Path | None:
    from kslottery_core.checkpoints.ticket_folder import find_ticket_base

    if record.spec is None or record.status.live:
        return None
    base = (record.spec.model, record.spec.revision)
    ticket, model = record.checkpoints / "ticket", record.checkpoints / "model"
    if (ticket / "base.json").is_file():
        try:
            base = find_ticket_base(ticket)  # a moved run, as the demo's, finds its base from its own folder
        except KSLotteryError:
            return None
    folder = next((place for place in (ticket, model) if place.is_dir()), None)
    return folder if _is_same(base, (choice.before or "", choice.before_revision)) else None


def _is_same(one: tuple[str, str | None], other: tuple[str, str | None]) -> bool:
    paths = [Path(source).expanduser() for source, _ in (one, other)]
    if all(path.exists() for path in paths):
        return paths[0].resolve() == paths[1].resolve()
    return one == other


@st.cache_resource(max_entries=8, show_spinner=False, validate=lambda opened: opened[1] == _sign(opened[0]))
def _open_series(choice: PairChoice, sources: tuple[str, ...]) -> tuple[EmbeddingSeries, str]:
    from kslottery_core.checkpoints import open_series

    names, revisions = zip(*map(split_revision, sources), strict=True)
    opened = open_series(
        choice.before or "",
        names,
        parameter=choice.parameter,
        before_revision=choice.before_revision,
        after_revisions=revisions,
        description_folders=list_description_folders(loaders.DEMO_PATH),
    )
    return opened, _sign(opened)


def _sign(opened: EmbeddingSeries) -> str:
    files = [matrix.file_signature for matrix in (opened.before, *opened.afters)]
    return hashlib.sha256("\n".join([_SERIES_VERSION, *files]).encode()).hexdigest()[:32]


def get_cached_series_path(key: str) -> Path:
    """Where what was found lies on disk."""
    from kslottery_core.runs import get_home

    return get_home() / "cache" / f"series-{key}.npz"


def load_series(
    choice: PairChoice, sources: tuple[str, ...], progress: OnProgress = ignore_progress
) -> SeriesComparison:
    """Open the before side of `choice` and every source, and compare them, or take what an earlier comparison found.

    Raises KSLotteryError, naming which source it is.
    """
    opened, key = _open_series(choice, sources)
    found, cache_problem = _compare(key, opened, progress)
    return SeriesComparison(sources, opened, found, _name_groups(sources, opened.steps), key, cache_problem)


def load_kept_series(choice: PairChoice, sources: tuple[str, ...]) -> SeriesComparison | None:
    """What an earlier comparison of these checkpoints found; None when there was none. Compares nothing.

    Raises KSLotteryError, naming which source it is.
    """
    opened, key = _open_series(choice, sources)
    shelf = _load_shelf()
    with shelf.get_lock(key):
        found = shelf.get(key) or _load_kept(key, opened)
        if found is None:
            return None
        shelf.put(key, found)
    return SeriesComparison(sources, opened, found[0], _name_groups(sources, opened.steps), key, found[1])


@st.cache_resource(show_spinner=False)
def _load_shelf() -> ResultShelf[tuple[KSSeries, str | None]]:
    return ResultShelf()


def _compare(key: str, opened: EmbeddingSeries, progress: OnProgress) -> tuple[KSSeries, str | None]:
    shelf = _load_shelf()
    with shelf.get_lock(key):
        found = shelf.get(key) or _load_kept(key, opened) or _compute(key, opened, progress)
        shelf.put(key, found)
    return found


def _load_kept(key: str, opened: EmbeddingSeries) -> tuple[KSSeries, None] | None:
    from kslottery_core.ks import load_ks_series

    path = get_cached_series_path(key)
    if not path.exists():
        return None
    try:
        kept = load_ks_series(path)
    except KSLotteryError:
        return None  # a torn file is computed again and written anew
    fits = (kept.vocabulary_size, len(kept.results)) == (opened.vocabulary_size, len(opened.pairs))
    return (kept, None) if fits else None


def _compute(key: str, opened: EmbeddingSeries, progress: OnProgress) -> tuple[KSSeries, str | None]:
    from kslottery_core.ks import compute_series_ks, save_ks_series

    found = compute_series_ks(opened.before, opened.afters, progress=progress, labels=opened.labels, steps=opened.steps)
    try:
        save_ks_series(found, get_cached_series_path(key))
    except KSLotteryError as problem:
        return found, str(problem)
    return found, None


def _name_groups(sources: Sequence[str], steps: Sequence[int | None]) -> tuple[str, ...]:
    """What is left of a name without its step: checkpoints of one training share it."""
    names = []
    for source, step in zip(sources, steps, strict=True):
        head, sign, tail = source.rpartition(str(step)) if step is not None else (source, "", "")
        names.append(f"{head.rstrip('0')}*{tail}" if sign else source)
    return tuple(names)


@st.cache_resource(max_entries=32, show_spinner=False)
def _select(key: str, alpha: AlphaChoice, _found: KSSeries) -> SeriesSelection:
    from kslottery_core.tickets import compute_least_count, compute_overlap, compute_ticket_curve, compute_ticket_mask

    rule = (alpha.significance_level, alpha.correction, alpha.p_value_method)
    masks = np.stack([compute_ticket_mask(result, *rule) for result in _found.results])
    counts = [compute_least_count(result, *rule) for result in _found.results]
    curves = [compute_ticket_curve(result, alpha.correction, alpha.p_value_method) for result in _found.results]
    levels = [float(curve.significance_levels[0]) for curve in curves if len(curve.significance_levels)]
    return SeriesSelection(
        overlap=compute_overlap(masks),
        thresholds=tuple(None if count is None else count / _found.width for count in counts),
        least_level=min(levels, default=None),
    )


def load_series_selection(comparison: SeriesComparison, alpha: AlphaChoice) -> SeriesSelection:
    """The tickets of all checkpoints at this alpha and how far they agree."""
    return _select(comparison.key, alpha, comparison.found)


@st.cache_resource(max_entries=32, show_spinner=False)
def _mark(key: str, alpha: AlphaChoice, _found: KSSeries) -> np.ndarray:
    from kslottery_core.tickets import compute_ticket_mask, select_top_k_ticket

    masks = np.zeros((len(_found.results), _found.vocabulary_size), dtype=bool)
    for mask, result in zip(masks, _found.results, strict=True):
        if alpha.top_k is not None:
            ticket = select_top_k_ticket(result, min(alpha.top_k, result.vocabulary_size))
            mask[list(ticket.token_ids)] = True
        else:
            mask[:] = compute_ticket_mask(result, alpha.significance_level, alpha.correction, alpha.p_value_method)
    return masks


def load_series_winners(comparison: SeriesComparison, alpha: AlphaChoice) -> np.ndarray:
    """Which tokens are in the ticket of each of the A checkpoints by this rule, (A, V) bool."""
    return _mark(comparison.key, alpha, comparison.found)
