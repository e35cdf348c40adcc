"""A study's table as CSV: a line for each score of each row, so that no column ever mixes measures."""

from kslottery_core.csv_file import format_csv
from kslottery_core.studies.quality import Quality
from kslottery_core.studies.table import COSTS, StudyRow, StudyTable

_OF_MEASURE = ("metric", "extraction", "signature", "decoding", "prompt_hash", "test_set_hash", "sentences")
CSV_COLUMNS = (
    *("label", "method", "language", "learning_rate", "steps", "seeds", "planned_seeds", "ticket_size"),
    *("metric", "extraction", "mean", "low", "high", "interval_kind", "per_seed"),
    *(*COSTS, "copied_parameters", "selection_seconds", "stopped_share"),
    *("signature", "decoding", "prompt_hash", "test_set_hash", "sentences", "run_ids"),
)


def format_study_csv(table: StudyTable) -> str:
    """The whole table; a field with several values separates them by spaces, and what was not measured is empty."""
    lines = (_list_fields(row, quality) for row in table.rows for quality in row.quality or (None,))
    return format_csv(CSV_COLUMNS, lines)


def _list_fields(row: StudyRow, quality: Quality | None) -> dict[str, object]:
    fields: dict[str, object] = {name: getattr(row, name) for name in CSV_COLUMNS if hasattr(row, name)}
    fields["seeds"] = " ".join(str(seed) for seed in row.seeds if seed is not None)
    fields["run_ids"] = " ".join(row.run_ids)
    if quality is not None:
        fields |= {name: getattr(quality.measure, name) for name in _OF_MEASURE}
        fields |= {name: getattr(quality, name) for name in ("mean", "low", "high", "interval_kind")}
        fields["per_seed"] = " ".join(repr(score) for score in quality.per_seed)
    return fields
