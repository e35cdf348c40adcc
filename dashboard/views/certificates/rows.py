"""Certificates as rows, for the page, files and the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from dashboard.views.certificates.figures import get_tally, list_points

if TYPE_CHECKING:
    from kslottery_core.certification import Certification


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
