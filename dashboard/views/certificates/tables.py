"""Certificates as tables, for the page, its CSV files and the report: one row per alpha, or per prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from dashboard.views.certificates.figures import get_tally, list_points
from dashboard.wording import CERTIFIED_TEXTS, format_number
from kslottery_core.ks import format_statistic

if TYPE_CHECKING:
    from dashboard.views.certificates.sentence_figure import SentenceStory
    from kslottery_core.certification import Certification, LostPrediction, TokenProbability, Violation

FIRST, SECOND, MARGIN, BOUND = "First choice", "Second choice", "Margin", "Bound"
LOGIT_COLUMNS = ("Margin (logits)", "Least margin (logits)")
COLUMN_HELP = {
    FIRST: "Probability that the embedding-tuned model gives its most likely token",
    SECOND: "Probability that it gives the second most likely token",
    MARGIN: "First choice minus second choice",
    BOUND: "Twice the sum of D over the changed tokens left behind; the KS bound certifies a prediction with a larger "
    "margin",
}
"""The columns that say how sure the embedding-tuned model is of a prediction, explained."""


def build_curve_table(certification: Certification) -> pd.DataFrame:
    """One row per alpha, with counts of predictions and of whole outputs."""
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
    """One row per alpha, with counts of "predictions" or of "outputs" only, in columns that fit a sheet of paper."""
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


def build_prediction_table(story: SentenceStory) -> pd.DataFrame:
    """One row per predicted position, with everything that the drawing shows."""
    return pd.DataFrame(
        [
            {
                "Position": shown.position,
                "Token": shown.token.label,
                "Tuned model predicts": shown.predicted,
                "Partial model predicts": shown.partial,
                FIRST: shown.first_probability,
                SECOND: shown.second_probability,
                MARGIN: shown.margin,
                BOUND: shown.bound,
                "Left behind": shown.left_behind,
                "Certified by": shown.level or "",
                "Violation": shown.verdict == "violation",
            }
            for shown in story.predictions
        ]
    )


def build_violation_table(certification: Certification, sources: Sequence[str]) -> pd.DataFrame:
    """One row per listed violation; sentences count from 1, positions from 0 as in the sentence view."""
    titles = {level.name: level.title for level in certification.levels}
    listed, width = certification.chosen.violations, certification.width
    return pd.DataFrame([_list_violation(one, sources[one.sentence], titles, width) for one in listed])


def _list_violation(one: Violation, source: str, titles: dict[str, str], width: int) -> dict[str, object]:
    def name_top(ranked: tuple[TokenProbability, ...]) -> str:
        return ", ".join(f"{entry.label} {format_number(entry.probability)}" for entry in ranked)

    return {
        "Sentence": one.sentence + 1,
        "Text": CERTIFIED_TEXTS.get(one.text, one.text),
        "Position": one.position,
        "Source": source,
        "Tuned model": name_top(one.reference_top),
        "Partial model": name_top(one.partial_top),
        FIRST: one.first_probability,
        SECOND: one.second_probability,
        MARGIN: one.first_probability - one.second_probability,
        BOUND: 2 * one.counts / width,
        "Certified by": ", ".join(titles.get(level, level) for level in one.levels),
        "Left behind": ", ".join(
            f"{token.label} (D {format_statistic(token.count / width)})" for token in one.left_behind
        ),
    }


def build_lost_table(certification: Certification, sources: Sequence[str]) -> pd.DataFrame:
    """One row per listed prediction that some larger ticket changes, numbered as violations are."""
    tried = certification.chosen.larger_tickets
    return pd.DataFrame([_list_lost(one, sources[one.sentence]) for one in (() if tried is None else tried.listed)])


def _list_lost(one: LostPrediction, source: str) -> dict[str, object]:
    return {
        "Sentence": one.sentence + 1,
        "Text": CERTIFIED_TEXTS.get(one.text, one.text),
        "Position": one.position,
        "Source": source,
        "Tuned model": one.label,
        LOGIT_COLUMNS[0]: one.margin,
        LOGIT_COLUMNS[1]: one.least_margin,
        "Rows that break it": ", ".join(token.label for token in one.kept_before),
    }
