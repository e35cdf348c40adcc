"""A study as rows, for the page, files and the report: quality with what it is understood by, and every cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from dashboard.views.studies.figures import COSTS, ParetoSummary, StudyPoint
from dashboard.wording import METHOD_NAMES, format_name, format_noun, format_number

if TYPE_CHECKING:
    from kslottery_core.studies import Measure, StudyRow

_COSTS = {
    "Trained parameters": "trained_parameters",
    "Optimizer (bytes)": "optimizer_bytes",
    "Peak memory (bytes)": "peak_memory_bytes",
    "Step (s)": "step_seconds",
    "Total (s)": "total_seconds",
    "Choosing rows (s)": "selection_seconds",
    "Saved (bytes)": "saved_bytes",
}


_COST_FIELDS = {"parameters": "trained_parameters", "seconds": "total_seconds"}


def build_result_rows(rows: Sequence[StudyRow], measures: Sequence[Measure]) -> pd.DataFrame:
    """One line a row of the study, numbers as they are; what was not measured is empty.

    Every measure gets its value, its interval and what it is to be understood by.
    """
    lines = []
    for row in rows:
        line: dict[str, object] = {
            "Arm": row.label,
            "Method": format_name(METHOD_NAMES, row.method),
            "Languages": row.language,
            "Learning rate": row.learning_rate,
            "Steps": row.steps,
            "Seeds finished": len(row.seeds),
            "Seeds planned": row.planned_seeds,
        }
        for measure in measures:
            quality = row.get_quality(measure)
            name = _name_measure(measure, measures)
            line[name] = None if quality is None else quality.mean
            line[f"{name}: low"] = None if quality is None else quality.low
            line[f"{name}: high"] = None if quality is None else quality.high
            line[f"{name}: interval"] = None if quality is None else quality.interval_kind
            line[f"{name}: each seed"] = (
                None if quality is None else " ".join(format_number(value, 6) for value in quality.per_seed)
            )
            line[f"{name}: signature"] = None if quality is None else measure.signature
        line["Outputs that stop (%)"] = None if row.stopped_share is None else 100 * row.stopped_share
        line["Ticket (tokens)"] = row.ticket_size
        for name, field in _COSTS.items():
            line[name] = getattr(row, field)
        line["Runs"] = " ".join(row.run_ids)
        lines.append(line)
    return pd.DataFrame(lines)


def _name_measure(measure: Measure, measures: Sequence[Measure]) -> str:
    """The measure's name, with language and place where another of the same name stands beside it."""
    same = [other for other in measures if other.name == measure.name]
    if len(same) == 1:
        return measure.name
    language = [other for other in same if other.language == measure.language]
    place = "" if len(language) == 1 else f" ({language.index(measure) + 1})"
    return f"{measure.name}, {measure.language}{place}"


def summarise_pareto(rows: Sequence[StudyRow], measure: Measure, arms: tuple[str, ...]) -> ParetoSummary:
    """Quality of the rows that have it against each cost, with the rows that nothing beats."""
    from kslottery_core.studies import find_pareto

    scored = [row for row in rows if row.get_quality(measure) is not None]
    points = []
    for row in scored:
        quality = row.get_quality(measure)
        if quality is not None:
            points.append(
                StudyPoint(
                    arm=row.label,
                    setting=_name_setting(row),
                    quality=quality.mean,
                    low=quality.low,
                    high=quality.high,
                    parameters=row.trained_parameters,
                    seconds=row.seconds_with_selection,
                )
            )
    fronts = tuple(tuple(find_pareto(scored, measure, _COST_FIELDS[cost])) for cost in COSTS)
    return ParetoSummary(measure.name, arms, tuple(points), fronts)


def _name_setting(row: StudyRow) -> str:
    parts = [] if row.learning_rate is None else [f"learning rate {format_number(row.learning_rate)}"]
    parts += [] if row.steps is None else [format_noun(row.steps, "step")]
    parts += [format_noun(len(row.seeds), "seed")] if row.planned_seeds > 1 else []
    return ", ".join(parts)
