"""What a finished run says, flattened for tables; runs that may be ranked together are grouped. Knows no Streamlit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kslottery_core.evaluation import Score
    from kslottery_core.runs import RunRecord


@dataclass(frozen=True)
class RunSummary:
    """One finished run. None is not measured, or no ticket. Times in seconds, sizes in bytes, shares from 0 to 1."""

    run_id: str
    name: str
    method: str
    ticket_size: int | None
    scores: tuple[Score, ...]
    stopped_share: float | None
    trained_parameters: int | None
    tuning_seconds: float | None
    total_seconds: float | None
    peak_memory_bytes: int | None
    saved_bytes: int | None
    test_name: str | None
    notes: tuple[str, ...]
    ticket_rule: str | None = None

    def get_score(self, metric: str, extraction: str) -> Score | None:
        """The score of this metric and part of the output, or None when it was not measured."""
        for score in self.scores:
            if (score.metric, score.extraction) == (metric, extraction):
                return score
        return None


@dataclass(frozen=True)
class RunGroup:
    """Runs that were tested on the same text, with the same prompt and decoding: only these may be ranked together."""

    test_set_hash: str
    prompt_hash: str
    decoding: str
    runs: tuple[RunSummary, ...]

    @property
    def sentences(self) -> int:
        """Number of test sentences."""
        return self.runs[0].scores[0].sentences

    @property
    def test_name(self) -> str:
        """The name of the test text, as the first run that knows it has it."""
        return next((run.test_name for run in self.runs if run.test_name), "test text")


def summarise_run(record: RunRecord) -> RunSummary:
    """Read a run's result. What an older or damaged result does not hold counts as not measured."""
    from kslottery_core.evaluation import Score
    from kslottery_core.records import read_record

    result = record.result or {}
    scores = []
    for position, content in enumerate(_read_list(result.get("scores"))):
        try:
            scores.append(read_record(Score, content, f"{record.run_id}: score {position + 1}"))
        except Exception:  # a number without its signature is never shown
            continue
    cost, tuning = _read_mapping(result.get("cost")), _read_mapping(result.get("tuning"))
    test = _read_mapping(_read_mapping(result.get("corpora")).get("test"))
    notes = [*_read_list(result.get("notes")), *_read_list(tuning.get("notes"))]
    ticket = None if record.spec is None else record.spec.ticket
    return RunSummary(
        run_id=record.run_id,
        name=record.name,
        method="" if record.spec is None else record.spec.method,
        ticket_size=None if ticket is None else ticket.size,
        scores=tuple(scores),
        stopped_share=_read_number(result.get("stopped_share")),
        trained_parameters=_read_integer(cost.get("trained_parameters")),
        tuning_seconds=_read_number(cost.get("tuning_seconds")),
        total_seconds=_read_number(cost.get("total_seconds")),
        peak_memory_bytes=_read_integer(cost.get("peak_memory_bytes")),
        saved_bytes=_read_integer(cost.get("saved_bytes")),
        test_name=test.get("name") if isinstance(test.get("name"), str) else None,
        notes=tuple(dict.fromkeys(note for note in notes if isinstance(note, str))),
        ticket_rule=None if ticket is None else ticket.rule,
    )


def _read_mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _read_list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _read_number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _read_integer(value: Any) -> int | None:
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None


def group_runs(runs: Iterable[RunSummary]) -> tuple[RunGroup, ...]:
    """Put together what may be ranked together, the largest group first. Runs without a score are left out."""
    groups: dict[tuple[str, str, str], list[RunSummary]] = {}
    for run in runs:
        if run.scores:
            first = run.scores[0]
            groups.setdefault((first.test_set_hash, first.prompt_hash, first.decoding), []).append(run)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return tuple(RunGroup(*key, runs=tuple(members)) for key, members in ordered)


def describe_group_differences(groups: Sequence[RunGroup]) -> tuple[str, ...]:
    """In which respects the groups differ, in words; empty for fewer than two."""
    respects = (
        ("the test text", "test_set_hash"),
        ("the prompt", "prompt_hash"),
        ("the decoding", "decoding"),
    )
    return tuple(words for words, name in respects if len({getattr(group, name) for group in groups}) > 1)


def list_measures(runs: Iterable[RunSummary]) -> tuple[tuple[str, str], ...]:
    """Every (metric, part of the output) that any run has, in the order of first appearance."""
    return tuple(dict.fromkeys((score.metric, score.extraction) for run in runs for score in run.scores))


def list_values(runs: Iterable[RunSummary], measure: tuple[str, str]) -> list[float]:
    """The values of one (metric, part of the output), of the runs that have it."""
    return [score.value for run in runs if (score := run.get_score(*measure)) is not None]


def group_scores(group: RunGroup, measure: tuple[str, str]) -> dict[str, list[tuple[str, str, float, str]]]:
    """(run name, method, value, signature) of the runs that have this measure, by signature.

    Different signatures are different rules of computing: only scores of one of them may stand in one picture.
    """
    by_signature: dict[str, list[tuple[str, str, float, str]]] = {}
    for run in group.runs:
        score = run.get_score(*measure)
        if score is not None:
            by_signature.setdefault(score.signature, []).append((run.name, run.method, score.value, score.signature))
    return by_signature
