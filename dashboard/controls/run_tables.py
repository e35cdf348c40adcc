"""Runs as rows, for pages, files and reports: quality with what it is understood by, and every cost."""

from __future__ import annotations

from collections.abc import Sequence

from dashboard.controls.run_summary import RunSummary, list_measures
from dashboard.wording import METHOD_NAMES, RULE_NAMES, format_name

COST_COLUMNS = ("Trained parameters", "Tuning (s)", "Total (s)", "Peak memory (MB)", "Saved (kB)")
"""Those columns of `build_comparison_rows` that say what a run took."""


def build_comparison_rows(
    runs: Sequence[RunSummary], *, with_signatures: bool = False
) -> list[dict[str, str | int | float | None]]:
    """One row a run with readable column names; `with_signatures` adds what each score needs to be understood alone."""
    measures = list_measures(runs)
    rows = []
    for run in runs:
        row: dict[str, str | int | float | None] = {
            "Run": run.name,
            "Method": format_name(METHOD_NAMES, run.method),
            "Ticket (tokens)": run.ticket_size,
            "Rows chosen by": None if run.ticket_rule is None else format_name(RULE_NAMES, run.ticket_rule),
        }
        for metric, extraction in measures:
            score = run.get_score(metric, extraction)
            column = f"{metric}, {extraction}"
            row[column] = None if score is None else score.value
            if with_signatures:
                row[f"{column}: signature"] = None if score is None else score.signature
        row["Outputs that stop (%)"] = None if run.stopped_share is None else 100 * run.stopped_share
        row["Trained parameters"] = run.trained_parameters
        row["Tuning (s)"] = run.tuning_seconds
        row["Total (s)"] = run.total_seconds
        row["Peak memory (MB)"] = None if run.peak_memory_bytes is None else run.peak_memory_bytes / 1e6
        row["Saved (kB)"] = None if run.saved_bytes is None else run.saved_bytes / 1e3
        if with_signatures:
            first = run.scores[0] if run.scores else None
            row["Decoding"] = None if first is None else first.decoding
            row["Prompt fingerprint"] = None if first is None else first.prompt_hash
            row["Test text fingerprint"] = None if first is None else first.test_set_hash
            row["Test sentences"] = None if first is None else first.sentences
            row["Run id"] = run.run_id
        rows.append(row)
    return rows
