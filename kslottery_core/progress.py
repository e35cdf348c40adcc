"""What long work reports while it runs: one event a step, written as one JSON line in a run's `metrics.jsonl`."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ProgressEvent:
    """Where a long piece of work stands. `time` is in unix seconds; `loss` and `learning_rate` only while tuning."""

    phase: str
    step: int
    total: int
    loss: float | None = None
    learning_rate: float | None = None
    message: str | None = None
    time: float = field(default_factory=time.time)


OnProgress = Callable[[ProgressEvent], None]
ShouldStop = Callable[[], bool]


def ignore_progress(event: ProgressEvent) -> None:
    """The listener of work that nobody watches."""


def never_stop() -> bool:
    """The answer for work that nobody can cancel."""
    return False
