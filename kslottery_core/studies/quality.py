"""How good the runs of one row are: each score under its own measure, with an interval."""

import contextlib
import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kslottery_core.errors import KSLotteryError, StudyError
from kslottery_core.evaluation import EXTRACTIONS, METRICS
from kslottery_core.records import load_json, read_record, save_json
from kslottery_core.runs import RunRecord

INTERVALS_FOLDER = "intervals"
RESAMPLES = 1000
"""sacrebleu's own number of bootstrap resamples, drawn with its own seed."""
BOOTSTRAP_KIND = "95% bootstrap over sentences"
_SAME = 1e-6  # two sums of the same numbers


@dataclass(frozen=True)
class Measure:
    """What a score measures: only scores of one measure are averaged, put in one column or ranked.

    Every language pair has measures of its own, since its test set and its filled prompt are.
    """

    metric: str
    extraction: str
    signature: str
    decoding: str
    prompt_hash: str
    test_set_hash: str
    sentences: int
    language: str

    @property
    def name(self) -> str:
        """Metric and part of the output, as `BLEU, first line`."""
        return f"{self.metric}, {self.extraction}"


@dataclass(frozen=True)
class Quality:
    """A row's scores under one measure, on sacrebleu's scale of 0 to 100: their mean, and how far to trust it.

    `per_seed` are the scores of `seeds` (None: a method without). `interval_kind` says in words what `low` and `high`
    are; all three are None where there is no interval. A bootstrap interval lies around the mean of the resamples, as
    in sacrebleu.
    """

    measure: Measure
    mean: float
    low: float | None
    high: float | None
    per_seed: tuple[float, ...]
    seeds: tuple[int | None, ...]
    interval_kind: str | None

    @property
    def metric(self) -> str:
        return self.measure.metric

    @property
    def extraction(self) -> str:
        return self.measure.extraction

    @property
    def signature(self) -> str:
        return self.measure.signature


@dataclass(frozen=True)
class _Interval:
    """As kept on disk; `problem` says why there are no ends, and is not kept."""

    metric: str
    extraction: str
    low: float | None = None
    high: float | None = None
    problem: str | None = None


def read_scores(record: RunRecord, language: str) -> dict[Measure, float]:
    """The scores that a run recorded. One without all that makes a measure is left out: nobody can say what it is."""
    scores = {}
    for entry in (record.result or {}).get("scores") or []:
        with contextlib.suppress(KSLotteryError, KeyError, TypeError, ValueError):
            fields = {name: entry[name] for name in Measure.__annotations__ if name != "language"}
            scores[read_record(Measure, {**fields, "language": language}, "score")] = float(entry["value"])
    return scores


def compute_quality(
    folder: Path, runs: Sequence[tuple[int | None, RunRecord]], language: str, with_intervals: bool
) -> tuple[tuple[Quality, ...], tuple[str, ...]]:
    """The qualities of one row from its finished runs by seed, and sentences about intervals that are missing.

    Of several seeds the interval is their range. Of one it is sacrebleu's bootstrap over the run's own outputs, kept
    in the study's `folder`; with `with_intervals` off only what is kept already is given.
    """
    by_measure: dict[Measure, list[tuple[int | None, float, RunRecord]]] = {}
    for seed, record in runs:
        for measure, value in read_scores(record, language).items():
            by_measure.setdefault(measure, []).append((seed, value, record))
    qualities, problems = [], []
    for measure, found in by_measure.items():
        values = tuple(value for _, value, _ in found)
        low: float | None = min(values)
        high: float | None = max(values)
        kind = f"lowest and highest of {len(values)} seeds"
        if len(values) == 1:
            interval = _find_interval(folder, found[0][2], measure, values[0], with_intervals)
            low, high = (None, None) if interval is None else (interval.low, interval.high)
            kind = BOOTSTRAP_KIND
            if interval is not None and interval.problem is not None:
                problems.append(interval.problem)
        seeds = tuple(seed for seed, _, _ in found)
        mean = sum(values) / len(values)
        qualities.append(Quality(measure, mean, low, high, values, seeds, None if low is None else kind))
    return tuple(qualities), tuple(dict.fromkeys(problems))


def _find_interval(
    folder: Path, record: RunRecord, measure: Measure, value: float, with_intervals: bool
) -> _Interval | None:
    path = folder / INTERVALS_FOLDER / f"{record.run_id}.json"
    kept: list[_Interval] = []
    if path.exists():
        with contextlib.suppress(StudyError):
            content = load_json(path, StudyError)
            found = [read_record(_Interval, entry, str(path), StudyError) for entry in content]
            kept = [interval for interval in found if interval.problem is None]  # older programs kept problems too
    for interval in kept:
        if (interval.metric, interval.extraction) == (measure.metric, measure.extraction):
            return interval
    if not with_intervals:
        return None
    interval = _compute_interval(record, measure, value)
    if interval.problem is not None:  # tomorrow the outputs may be back, or the metric be installed
        return interval
    with contextlib.suppress(OSError):  # a disk that does not take it only costs the time again
        save_json(path, [dataclasses.asdict(entry) for entry in (*kept, interval)])
    return interval


def _compute_interval(record: RunRecord, measure: Measure, value: float) -> _Interval:
    """sacrebleu's bootstrap, if the outputs on disk give the recorded score at all."""
    empty = _Interval(measure.metric, measure.extraction)
    try:
        metric, texts, references = prepare_metric(record, measure)
    except KSLotteryError as error:
        return dataclasses.replace(empty, problem=f"No interval: {error}")
    score = metric.corpus_score(texts, [references]).score
    if abs(score - value) > _SAME:
        problem = (
            f"No interval for {measure.name} of the run {record.run_id}: its outputs on disk give {score:.2f}, "
            f"its result says {value:.2f}."
        )
        return dataclasses.replace(empty, problem=problem)
    (result,) = resample(metric, [("run", texts)], references)
    low, high = max(0.0, result.mean - result.ci), min(100.0, result.mean + result.ci)
    return dataclasses.replace(empty, low=float(low), high=float(high))


def resample(metric: Any, systems: list[tuple[str, list[str]]], references: list[str]) -> list[Any]:
    """sacrebleu's paired bootstrap: for each named system its score, mean and half width of the resamples (`ci`).

    All but the first have a `p_value` against the first.
    """
    from sacrebleu.significance import PairedTest

    named: Any = systems
    _, results = PairedTest(named, {"metric": metric}, [references], "bs", RESAMPLES)()
    return next(list(found) for name, found in results.items() if name != "System")


def prepare_metric(record: RunRecord, measure: Measure) -> tuple[Any, list[str], list[str]]:
    """sacrebleu's metric of a measure, with the run's texts as evaluation extracts them, and its references.

    Raises `KSLotteryError` for a metric that is not to be had here, or outputs that are gone.
    """
    # sacrebleu warns on its log about texts that end in a tokenized period; scores of raw text are what is wanted.
    logging.getLogger("sacrebleu").setLevel(logging.ERROR)
    if measure.metric not in METRICS or measure.extraction not in EXTRACTIONS:
        raise StudyError(f"{measure.name}: this program does not know the measure; another version made the score.")
    outputs = record.read_outputs()
    texts = [output.get("text") for output in outputs]
    references = [output.get("reference") for output in outputs]
    if len(outputs) != measure.sentences or not all(isinstance(text, str) for text in (*texts, *references)):
        raise StudyError(
            f"run {record.run_id!r}: expected the outputs of {measure.sentences:,} sentences, found {len(outputs):,}."
        )
    extract = EXTRACTIONS[measure.extraction]
    return METRICS[measure.metric](), [extract(str(text)) for text in texts], [str(text) for text in references]
