"""What one tuning did and what it cost."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kslottery_core.tuning.training import TrainingOutcome


@dataclass(frozen=True)
class TuningReport:
    """What one tuning did and cost; None means not measured.

    `total_parameters` counts the model's own, `trained_parameters` what the optimizer moved, in the model or beside
    it. `saved_bytes` is the size of what was written: of a ticket or adapter without its base. `effective_batch` is how
    many pairs an optimizer step saw, over all `processes`. `optimizer_bytes` is the size of the optimizer's state at
    the end, in one process; `step_seconds` the median time of an optimizer step, the first left out.
    """

    method: str
    trained_parameters: int
    copied_parameters: int
    total_parameters: int
    steps: int
    planned_steps: int
    first_loss: float | None
    final_loss: float | None
    seconds: float | None
    peak_memory_bytes: int | None
    peak_memory_kind: str
    examples: int
    target_tokens: int
    precision: str
    stopped: bool
    untied_head: bool
    saved_path: str | None
    saved_bytes: int | None
    notes: tuple[str, ...] = ()
    quantization: str = "none"
    processes: int = 1
    sharded: bool = False
    effective_batch: int | None = None
    optimizer_bytes: int | None = None
    step_seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def describe_outcome(outcome: "TrainingOutcome | None") -> dict[str, Any]:
    """The fields of a report that tell of the training; where nothing was trained they are 0, False and None."""
    if outcome is None:
        return {
            "steps": 0,
            "planned_steps": 0,
            "first_loss": None,
            "final_loss": None,
            "seconds": None,
            "stopped": False,
        }
    return {
        "steps": outcome.steps,
        "planned_steps": outcome.planned_steps,
        "first_loss": outcome.first_loss,
        "final_loss": outcome.final_loss,
        "seconds": outcome.seconds,
        "stopped": outcome.stopped,
        "effective_batch": outcome.effective_batch,
        "optimizer_bytes": outcome.optimizer_bytes,
        "step_seconds": outcome.step_seconds,
    }
