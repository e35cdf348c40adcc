"""Several checkpoints against one: a KS result each over the rows that all of them have, and how D grows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kslottery_core.errors import KSInputError
from kslottery_core.ks.engine import CommonRows, compute_several_ks
from kslottery_core.ks.result import RESULT_ARRAYS, KSResult, save_arrays
from kslottery_core.progress import OnProgress, ignore_progress

if TYPE_CHECKING:
    from kslottery_core.checkpoints import EmbeddingMatrix


@dataclass(frozen=True, eq=False)
class KSSeries:
    """A comparisons of V rows of width d with one before side, in the order given.

    `labels` (A,) name the after sides; `steps` (A,) are their training steps, None where unknown. Raises KSInputError
    when the three do not match, or the results differ in V or d.
    """

    results: tuple[KSResult, ...]
    labels: tuple[str, ...]
    steps: tuple[int | None, ...]

    def __post_init__(self) -> None:
        if not self.results or not len(self.results) == len(self.labels) == len(self.steps):
            raise KSInputError(
                f"series: expected a label and a step for each of at least one result, found {len(self.results)} "
                f"results, {len(self.labels)} labels and {len(self.steps)} steps."
            )
        for number, result in enumerate(self.results, 1):
            if (result.vocabulary_size, result.width) != (self.vocabulary_size, self.width):
                raise KSInputError(
                    f"series: expected results of one shape, found {self.vocabulary_size} rows of width {self.width} "
                    f"in number 1 and {result.vocabulary_size} of {result.width} in number {number}; compare the rows "
                    "that all of them have."
                )

    @property
    def vocabulary_size(self) -> int:
        """V, the number of rows compared in each."""
        return self.results[0].vocabulary_size

    @property
    def width(self) -> int:
        """d, the number of coordinates of a row."""
        return self.results[0].width

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know: notes of the comparison, and checkpoints with the same content."""
        notes = list(dict.fromkeys(note for result in self.results for note in result.notes))
        same: dict[str, list[str]] = {}
        for result, label in zip(self.results, self.labels, strict=True):
            if result.fingerprint_after is not None:
                same.setdefault(result.fingerprint_after, []).append(label)
        notes += [
            f"{' and '.join(labels)} hold the same rows, so their results are equal and count as one observation."
            for labels in same.values()
            if len(labels) > 1
        ]
        return tuple(notes)

    @property
    def step_range(self) -> tuple[int, int] | None:
        """The first and the last known training step; None unless two different ones are known."""
        known = [step for step in self.steps if step is not None]
        if len(set(known)) < 2:
            return None
        return min(known), max(known)

    def get_statistics(self, token_ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """D of the given tokens in every checkpoint, float64 (A, n), in the order of the results.

        Raises KSInputError for an id outside 0 .. V - 1.
        """
        wanted = np.asarray(token_ids, dtype=np.int64).reshape(-1)
        outside = wanted[(wanted < 0) | (wanted >= self.vocabulary_size)]
        if outside.size:
            raise KSInputError(
                f"series: expected token ids from 0 to {self.vocabulary_size - 1}, found {int(outside[0])}."
            )
        return np.stack([result.counts[wanted] for result in self.results]) / self.width

    def compute_growth(self) -> np.ndarray | None:
        """By how much D of every token grows from the first training step to the last, float64 (V,).

        Where several checkpoints stand at such a step (seeds), it is the mean over them. None without two known steps.
        """
        ends = self.step_range
        if ends is None:
            return None
        first, last = (
            np.mean([result.counts for result, at in zip(self.results, self.steps, strict=True) if at == step], axis=0)
            for step in ends
        )
        return (last - first) / self.width


def compute_series_ks(
    before: "EmbeddingMatrix",
    afters: "Sequence[EmbeddingMatrix]",
    device: str = "auto",
    progress: OnProgress = ignore_progress,
    *,
    labels: Sequence[str] = (),
    steps: Sequence[int | None] = (),
) -> KSSeries:
    """`compute_ks` of one before matrix against each after matrix over the rows that all of them have.

    The before rows are read once for the counts, and once for the fingerprint. `labels` are the sources when not given,
    `steps` unknown. Raises KSInputError as `compute_several_ks` does.
    """
    rows = min(matrix.shape[0] for matrix in (before, *afters))
    sources = [CommonRows(matrix, (rows, matrix.shape[1])) for matrix in (before, *afters)]
    results = compute_several_ks(sources[0], sources[1:], device, progress=progress)
    return KSSeries(
        results=tuple(
            replace(result, fingerprint_before=before.fingerprint, fingerprint_after=after.fingerprint)
            for result, after in zip(results, afters, strict=True)
        ),
        labels=tuple(labels) or tuple(after.source for after in afters),
        steps=tuple(steps) or (None,) * len(afters),
    )


def save_ks_series(series: KSSeries, path: str | Path) -> None:
    """Write every result's arrays, stacked to (A, V), with labels and steps to a NumPy .npz file of exactly this name.

    Unknown steps and seconds are stored as NaN and missing texts empty, since the format knows no None. Raises
    KSInputError when the disk does not take it.
    """
    path = Path(path)
    results = series.results
    content: dict[str, Any] = {name: np.stack([getattr(result, name) for result in results]) for name in RESULT_ARRAYS}
    content |= {
        "width": np.int64(series.width),
        "labels": np.array(series.labels, dtype=np.str_),
        "steps": np.array([np.nan if step is None else step for step in series.steps], dtype=np.float64),
        "seconds": np.array([np.nan if r.seconds is None else r.seconds for r in results], dtype=np.float64),
        "devices": np.array([result.device for result in results], dtype=np.str_),
        "fingerprints_before": np.array([result.fingerprint_before or "" for result in results], dtype=np.str_),
        "fingerprints_after": np.array([result.fingerprint_after or "" for result in results], dtype=np.str_),
    }
    content |= {f"notes_{number}": np.array(r.notes, dtype=np.str_) for number, r in enumerate(results, 1)}
    save_arrays(content, path, "series")


def load_ks_series(path: str | Path) -> KSSeries:
    """Read what `save_ks_series` wrote. Raises KSInputError for a missing, torn or foreign file."""
    path = Path(path)
    try:
        # NumPy leaks a handle of its own when the archive is torn; one opened here is closed whatever happens.
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {name: file[name] for name in RESULT_ARRAYS}
            seconds, steps = file["seconds"].tolist(), file["steps"].tolist()
            return KSSeries(
                results=tuple(
                    KSResult(
                        width=int(file["width"]),
                        device=str(file["devices"][at]),
                        seconds=None if np.isnan(seconds[at]) else seconds[at],
                        fingerprint_before=str(file["fingerprints_before"][at]) or None,
                        fingerprint_after=str(file["fingerprints_after"][at]) or None,
                        notes=tuple(str(note) for note in file[f"notes_{at + 1}"]),
                        **{name: array[at] for name, array in arrays.items()},
                    )
                    for at in range(len(arrays["counts"]))
                ),
                labels=tuple(str(label) for label in file["labels"]),
                steps=tuple(None if np.isnan(step) else int(step) for step in steps),
            )
    except FileNotFoundError:
        raise KSInputError(f"{path}: expected a KS series (.npz), found no file there; check the path.") from None
    except Exception as problem:  # NumPy raises many kinds for a broken archive
        raise KSInputError(
            f"{path}: this is not a series that `ks --out` wrote for several checkpoints ({problem})."
        ) from None
