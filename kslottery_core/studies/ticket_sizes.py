"""How many tokens win after each embedding tuning of a study: a ticket's size grows with learning rate and steps."""

from dataclasses import dataclass

from kslottery_core.errors import StudyError
from kslottery_core.ks import check_significance_level
from kslottery_core.runs import RunStore
from kslottery_core.studies.pair_results import open_pair_result
from kslottery_core.studies.record import StudyRecord
from kslottery_core.studies.table import list_finished_runs
from kslottery_core.tickets import compute_ticket_mask


@dataclass(frozen=True)
class TicketSizePoint:
    """One embedding tuning: how many tokens win at alpha (uncorrected), how many rows changed at all, the largest D."""

    language: str
    seed: int
    learning_rate: float
    steps: int
    size: int
    changed_rows: int
    largest_distance: float


def compute_ticket_sizes(
    record: StudyRecord, run_store: RunStore, significance_level: float
) -> tuple[TicketSizePoint, ...]:
    """A point for every finished embedding tuning of the study, in the order in which they ran.

    The comparison is computed once a run and kept in the study's folder. Raises `KSLotteryError`: an alpha outside
    0 < alpha < 1, or a tuned model that is gone before anything of it was kept.
    """
    check_significance_level(significance_level)
    spec = record.spec
    if spec is None:
        raise StudyError(f"study {record.study_id!r}: it has no ticket sizes. {record.problem}")
    states = [state for state in record.cells if spec.arms[state.cell.arm].method == "embedding"]
    points = []
    for state, run in list_finished_runs(states, run_store)[0]:
        cell = state.cell
        assert cell.seed is not None and cell.learning_rate is not None and cell.steps is not None
        result = open_pair_result(record.folder, spec.model, spec.revision, run)
        points.append(
            TicketSizePoint(
                language=spec.texts[cell.text].language,
                seed=cell.seed,
                learning_rate=cell.learning_rate,
                steps=cell.steps,
                size=int(compute_ticket_mask(result, significance_level).sum()),
                changed_rows=result.changed_count,
                largest_distance=float(result.statistics.max()),
            )
        )
    return tuple(points)
