"""A study as one table: a row an arm, text, learning rate and number of steps, over its seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kslottery_core.errors import StudyError
from kslottery_core.runs import RunRecord, RunStore, load_run
from kslottery_core.studies.quality import Measure, Quality, compute_quality
from kslottery_core.studies.record import SCORED_STATES, CellState, StudyRecord

COSTS = (
    "trained_parameters",
    "optimizer_bytes",
    "peak_memory_bytes",
    "step_seconds",
    "total_seconds",
    "saved_bytes",
)


@dataclass(frozen=True)
class StudyRow:
    """One arm on one text at one learning rate and number of steps; None where an axis does not concern its method.

    `seeds` are those that have a finished run, of `planned_seeds`. Numbers are means over these runs, None where not
    measured; a run's peak memory, seconds a step and so on are as its result says. `ticket_size` counts rows.
    `selection_seconds` is what the embedding tuning took that the rows are read or copied from, which no other number
    contains; None where they come from none. Rows that are only as many as a ticket's need no such tuning.
    """

    label: str
    method: str
    language: str
    learning_rate: float | None
    steps: int | None
    seeds: tuple[int | None, ...]
    planned_seeds: int
    ticket_size: float | None = None
    quality: tuple[Quality, ...] = ()
    stopped_share: float | None = None
    trained_parameters: float | None = None
    copied_parameters: float | None = None
    optimizer_bytes: float | None = None
    peak_memory_bytes: float | None = None
    step_seconds: float | None = None
    total_seconds: float | None = None
    selection_seconds: float | None = None
    saved_bytes: float | None = None
    notes: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()

    @property
    def seconds_with_selection(self) -> float | None:
        """Seconds of the run and of the embedding tuning that its rows come from; None where not measured."""
        return None if self.total_seconds is None else self.total_seconds + (self.selection_seconds or 0.0)

    def get_cost(self, cost: str) -> float | None:
        """One of `COSTS`, as rows are held against each other by it: the time is that with the choosing of rows."""
        return self.seconds_with_selection if cost == "total_seconds" else getattr(self, cost)

    def get_quality(self, measure: Measure) -> Quality | None:
        """The row's quality under a measure; None where it was not scored by it."""
        return next((quality for quality in self.quality if quality.measure == measure), None)


@dataclass(frozen=True)
class StudyTable:
    """All rows that the study plans, in the order of its grid, and the measures that any of them was scored by."""

    rows: tuple[StudyRow, ...]
    measures: tuple[Measure, ...]


def compute_study_table(record: StudyRecord, run_store: RunStore, *, with_intervals: bool = True) -> StudyTable:
    """The table as far as the study has come. Intervals that are not kept yet take about a second a run and metric.

    Raises `StudyError` when the study cannot be read.
    """
    if record.spec is None:
        raise StudyError(f"study {record.study_id!r}: it has no table. {record.problem}")
    groups: dict[tuple[Any, ...], list[CellState]] = {}
    for state in sorted(record.cells, key=lambda state: (state.cell.text, state.cell.arm)):
        cell = state.cell
        groups.setdefault((cell.text, cell.arm, cell.steps, cell.learning_rate), []).append(state)
    rows = tuple(_build_row(record, run_store, states, with_intervals) for states in groups.values())
    measures = dict.fromkeys(quality.measure for row in rows for quality in row.quality)
    return StudyTable(rows, tuple(measures))


def list_finished_runs(
    states: Sequence[CellState], run_store: RunStore
) -> tuple[list[tuple[CellState, RunRecord]], list[str]]:
    """The finished runs of some cells, and sentences about those that are gone."""
    found, problems = [], []
    for state in states:
        if state.state not in SCORED_STATES or state.run_id is None:
            continue
        record = load_run(run_store.root / state.run_id)
        if record.result is None:
            problems.append(f"The run {state.run_id} cannot be read any more. {record.problem or ''}".strip())
        else:
            found.append((state, record))
    return found, problems


def _build_row(record: StudyRecord, run_store: RunStore, states: Sequence[CellState], with_intervals: bool) -> StudyRow:
    assert record.spec is not None
    cell = states[0].cell
    arm, language = record.spec.arms[cell.arm], record.spec.texts[cell.text].language
    found, problems = list_finished_runs(states, run_store)
    runs = [run for _, run in found]
    by_seed = [(state.cell.seed, run) for state, run in found]
    quality, missing = compute_quality(record.folder, by_seed, language, with_intervals)
    notes = [f"{state.cell.label}: {state.message}" for state in states if state.message is not None]
    notes += [note for run in runs for note in (run.result or {}).get("notes") or []]
    notes += [run.spec.ticket.note for run in runs if run.spec and run.spec.ticket and run.spec.ticket.note]
    return StudyRow(
        label=arm.label,
        method=arm.method,
        language=language,
        learning_rate=cell.learning_rate,
        steps=cell.steps,
        seeds=tuple(seed for seed, _ in by_seed),
        planned_seeds=len(states),
        ticket_size=_average([run.spec.ticket.size for run in runs if run.spec and run.spec.ticket]),
        quality=quality,
        stopped_share=_average_result(runs, lambda result: result.get("stopped_share")),
        copied_parameters=_average_cost(runs, "copied_parameters"),
        selection_seconds=(
            _compute_selection_seconds(record, run_store, [state for state, _ in found])
            if arm.method == "transfer" or (arm.rows is not None and arm.rows.rule == "ks")
            else None
        ),
        **{name: _average_cost(runs, name) for name in COSTS},
        notes=tuple(dict.fromkeys((*problems, *missing, *notes))),
        run_ids=tuple(run.run_id for run in runs),
    )


def _compute_selection_seconds(record: StudyRecord, run_store: RunStore, states: Sequence[CellState]) -> float | None:
    needed = {state.cell.needs for state in states}
    found, _ = list_finished_runs([state for state in record.cells if state.cell.key in needed], run_store)
    return _average_cost([run for _, run in found], "total_seconds")


def _average_cost(runs: Sequence[RunRecord], name: str) -> float | None:
    return _average_result(runs, lambda result: (result.get("cost") or {}).get(name))


def _average_result(runs: Sequence[RunRecord], read: Callable[[dict[str, Any]], Any]) -> float | None:
    return _average([read(run.result) for run in runs if run.result is not None])


def _average(values: Sequence[Any]) -> float | None:
    """The mean; None when one is missing, as a mean of the others would stand for all."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return sum(numbers) / len(numbers) if numbers and len(numbers) == len(values) else None


def find_pareto(rows: Sequence[StudyRow], measure: Measure, cost: str) -> tuple[int, ...]:
    """Positions of the rows that no other beats, with at least the quality at no more cost and better in one of them.

    `cost` is one of `COSTS`, and time is that with the choosing of rows. Rows without a quality under `measure` or
    without that cost are left out. Raises `StudyError` for another cost.
    """
    if cost not in COSTS:
        raise StudyError(f"cost: expected one of {', '.join(COSTS)}, found {cost!r}.")
    points = []
    for position, row in enumerate(rows):
        quality, price = row.get_quality(measure), row.get_cost(cost)
        if quality is not None and price is not None:
            points.append((position, quality.mean, price))
    return tuple(
        position
        for position, mean, price in points
        if not any(
            other >= mean and other_price <= price and (other > mean or other_price < price)
            for _, other, other_price in points
        )
    )
