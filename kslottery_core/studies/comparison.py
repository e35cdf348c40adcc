"""Each row of a study's table against one of them, sentence by sentence: sacrebleu's paired bootstrap test."""

from dataclasses import dataclass

from kslottery_core.errors import StudyError
from kslottery_core.runs import RunRecord, RunStore, load_run
from kslottery_core.studies.quality import Measure, Quality, prepare_metric, resample
from kslottery_core.studies.table import StudyRow, StudyTable


@dataclass(frozen=True)
class PairedComparison:
    """One run against the baseline's run of the same seed (or its only one); `row` is a position in the table.

    `difference` is the score less the baseline's. `p_value` is sacrebleu's: how often resampled test sets alone would
    give so large a difference (Koehn 2004); 1 for the same texts.
    """

    row: int
    seed: int | None
    score: float
    baseline_score: float
    difference: float
    p_value: float


def compute_comparisons(
    table: StudyTable, run_store: RunStore, baseline: int, measure: Measure
) -> tuple[PairedComparison, ...]:
    """Every other row with a score under `measure` against the row at position `baseline`, one for each seed of theirs.

    Rows that share no seed with a baseline of several seeds are left out. Raises `KSLotteryError` when the baseline has
    no score under that measure, or outputs are gone.
    """
    if not 0 <= baseline < len(table.rows):
        raise StudyError(f"baseline: expected a row from 0 to {len(table.rows) - 1}, found {baseline}.")
    base = _list_runs(table.rows[baseline], measure, run_store)
    if not base:
        raise StudyError(
            f"baseline: the row {table.rows[baseline].label!r} has no score in {measure.name}; choose one that has."
        )
    found = []
    for position, row in enumerate(table.rows):
        if position == baseline:
            continue
        for seed, run in _list_runs(row, measure, run_store).items():
            other = base.get(seed) or (next(iter(base.values())) if len(base) == 1 else None)
            if other is not None:
                found.append(_compare(position, seed, other, run, measure))
    return tuple(found)


def _list_runs(row: StudyRow, measure: Measure, run_store: RunStore) -> dict[int | None, RunRecord]:
    """The runs of a row that were scored under `measure`, by seed."""
    quality: Quality | None = row.get_quality(measure)
    if quality is None:
        return {}
    by_seed = dict(zip(row.seeds, row.run_ids, strict=True))
    return {seed: load_run(run_store.root / by_seed[seed]) for seed in quality.seeds}


def _compare(
    position: int, seed: int | None, baseline: RunRecord, run: RunRecord, measure: Measure
) -> PairedComparison:
    metric, baseline_texts, references = prepare_metric(baseline, measure)
    _, texts, own_references = prepare_metric(run, measure)
    if own_references != references:
        raise StudyError(
            f"runs {baseline.run_id!r} and {run.run_id!r}: expected outputs for the same sentences, found others; "
            "their files have been changed."
        )
    systems = [("baseline", baseline_texts), ("row", texts)]
    first, second = resample(metric, systems, references)
    # Where nothing differs sacrebleu counts no resample as more extreme, which it reports as its smallest p.
    p_value = 1.0 if texts == baseline_texts else float(second.p_value)
    return PairedComparison(position, seed, second.score, first.score, second.score - first.score, p_value)
