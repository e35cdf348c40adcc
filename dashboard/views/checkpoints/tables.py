"""A series of checkpoints as rows, for the page, files and the report."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from dashboard.loaders.series import SeriesComparison, SeriesSelection


def build_checkpoint_table(
    comparison: SeriesComparison,
    selection: SeriesSelection,
    labels: Sequence[str],
    steps: Sequence[int | None],
) -> pd.DataFrame:
    """One row a checkpoint."""
    rows = zip(labels, steps, comparison.sources, comparison.found.results, selection.thresholds, strict=True)
    return pd.DataFrame(
        [
            {
                "Label": label,
                "Step": step,
                "Winners": int(size),
                "Share": 100 * int(size) / result.vocabulary_size,
                "Wins from D": threshold,
                "Rows changed": result.changed_count,
                "Largest D": float(result.statistics.max()),
                "Checkpoint": source,
            }
            for (label, step, source, result, threshold), size in zip(rows, selection.overlap.sizes, strict=True)
        ]
    ).astype({"Step": "Int64"})


def build_overlap_table(selection: SeriesSelection, labels: Sequence[str]) -> pd.DataFrame:
    """One row for each two checkpoints; an undefined Jaccard (two empty tickets) is empty."""
    overlap = selection.overlap
    return pd.DataFrame(
        [
            {
                "First": labels[one],
                "Second": labels[other],
                "In first": int(overlap.sizes[one]),
                "In second": int(overlap.sizes[other]),
                "In both": int(overlap.intersections[one, other]),
                "Jaccard": float(overlap.jaccard[one, other]),
                "By chance": float(overlap.expected_jaccard[one, other]),
            }
            for one, other in combinations(range(len(labels)), 2)
        ]
    )
