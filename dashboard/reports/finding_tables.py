"""Scans, series of checkpoints and certificates as rows, for pages, files and reports."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import pandas as pd

from dashboard.figures.certificate import get_tally, list_points

if TYPE_CHECKING:
    from dashboard.loaders.series import SeriesComparison, SeriesSelection
    from kslottery_core.certification import Certification
    from kslottery_core.scans import Scan

_SCAN_COLUMNS = {
    "parameter": "Matrix",
    "layer": "Layer",
    "units": "Units",
    "width": "Width",
    "changed": "Changed",
    "winners": "Winners",
    "winners share": "Share",
    "wins from D": "Wins from D",
    "largest D": "Largest D",
    "median D": "Median D",
    "median L2 shift": "Median L2 shift",
    "note": "Note",
}


def build_scan_table(
    scan: Scan, significance_level: float, correction: str = "none", p_value_method: str = "exact"
) -> pd.DataFrame:
    """One row a matrix, compared ones first, under the names of this page; the share in percent.

    What was not compared has empty numbers and says why in its note. Raises TicketError or KSInputError.
    """
    from kslottery_core.scans import scan_to_table

    table = scan_to_table(scan, significance_level, correction, p_value_method)
    table["winners share"] *= 100
    return table[list(_SCAN_COLUMNS)].rename(columns=_SCAN_COLUMNS)


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


def build_curve_table(certification: Certification) -> pd.DataFrame:
    """One row an alpha, counts of predictions and of whole outputs."""
    rows = []
    for point in list_points(certification):
        row: dict[str, object] = {
            "α": point.significance_level,
            "Tokens in the ticket": point.ticket_size,
            "Left behind": point.left_behind,
        }
        for kind, noun in (("predictions", "predictions"), ("outputs", "outputs")):
            tally = get_tally(point, kind)
            row[f"All {noun}"] = tally.total
            for level in certification.levels:
                found = tally.get_level(level.name)
                row[f"Certified {noun} ({level.title})"] = found.certified
                row[f"Certified and correct {noun} ({level.title})"] = found.correct
                row[f"Violating {noun} ({level.title})"] = found.violations
            row[f"Agreeing {noun}"] = tally.agreed
            row[f"Correct {noun}, tuned model"] = tally.reference_correct
            row[f"Correct {noun}, partial model"] = tally.partial_correct
        rows.append(row)
    return pd.DataFrame(rows)


def build_tally_table(certification: Certification, kind: str) -> pd.DataFrame:
    """One row an alpha, counts of "predictions" or of "outputs" alone, in columns that fit a sheet of paper."""
    rows = []
    for point in list_points(certification):
        tally = get_tally(point, kind)
        row: dict[str, object] = {
            "α": point.significance_level,
            "Tokens in the ticket": point.ticket_size,
            "Left behind": point.left_behind,
        }
        for level in certification.levels:
            found = tally.get_level(level.name)
            row[f"Certified, {level.title}"] = found.certified
            row[f"Violations, {level.title}"] = found.violations
        last = certification.levels[-1]
        row |= {
            f"Certified and correct, {last.title}": tally.get_level(last.name).correct,
            "Agreeing": tally.agreed,
            "Correct, tuned model": tally.reference_correct,
            "Correct, partial model": tally.partial_correct,
            "All": tally.total,
        }
        rows.append(row)
    return pd.DataFrame(rows)
