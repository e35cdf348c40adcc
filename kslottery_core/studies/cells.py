"""The cells of a study's grid: each is one run, and they are listed in the order in which they run."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from kslottery_core.studies.spec import ROW_METHODS, StudySpec
from kslottery_core.tuning.settings import TRAINED_METHODS


@dataclass(frozen=True)
class StudyCell:
    """One run of a study: `arm` and `text` are positions in its spec.

    Axes that do not concern the method are None: an untuned model has one cell a text. `needs` is the key of the
    embedding tuning that the cell takes its rows from. `key` is a digest of its place in the grid.
    """

    key: str
    arm: int
    text: int
    seed: int | None
    steps: int | None
    learning_rate: float | None
    label: str
    needs: str | None = None


def list_cells(spec: StudySpec) -> tuple[StudyCell, ...]:
    """All cells in the order in which they run: the first seed of every arm, then the second; what others need first.

    So a study that is stopped early has something to say about every arm.
    """
    embedding = spec.embedding_arm or 0
    order = sorted(
        range(len(spec.arms)),
        key=lambda arm: (max(arm, embedding), 1) if spec.needs_embedding(spec.arms[arm]) else (arm, 0),
    )
    cells: dict[str, StudyCell] = {}
    for seed in spec.seeds:
        for steps in spec.steps:
            for text in range(len(spec.texts)):
                for arm in order:
                    for cell in _list_rates(spec, arm, text, seed, steps):
                        cells.setdefault(cell.key, cell)  # an axis that does not concern the method repeats a cell
    return tuple(cells.values())


def _list_rates(spec: StudySpec, arm: int, text: int, seed: int, steps: int) -> Iterator[StudyCell]:
    method = spec.arms[arm].method
    if method not in (*TRAINED_METHODS, *ROW_METHODS):
        yield _make_cell(spec, arm, text, None, None, None)
        return
    needs = None
    if spec.needs_embedding(spec.arms[arm]):
        assert spec.embedding_arm is not None  # the spec refuses to be without
        first_rate = spec.arms[spec.embedding_arm].rates[0]
        needs = _compute_key(spec.embedding_arm, text, seed, steps, first_rate)
    for rate in spec.arms[arm].rates:
        yield _make_cell(spec, arm, text, seed, steps, rate, needs)


def _make_cell(
    spec: StudySpec,
    arm: int,
    text: int,
    seed: int | None,
    steps: int | None,
    rate: float | None,
    needs: str | None = None,
) -> StudyCell:
    parts = [spec.arms[arm].label, spec.texts[text].language]
    parts += [] if seed is None else [f"seed {seed}"]
    parts += [] if steps is None else [f"{steps} steps"]
    parts += [] if rate is None else [f"rate {rate:g}"]
    return StudyCell(_compute_key(arm, text, seed, steps, rate), arm, text, seed, steps, rate, ", ".join(parts), needs)


def _compute_key(arm: int, text: int, seed: int | None, steps: int | None, rate: float | None) -> str:
    return hashlib.sha256(json.dumps([arm, text, seed, steps, rate]).encode()).hexdigest()[:12]
