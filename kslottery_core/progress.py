"""What long work reports while it runs: one event per step, one JSON line each in a run's `metrics.jsonl`."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ProgressEvent:
    """How far long work is. `time` is in unix seconds; `loss` and `learning_rate` are set only while tuning."""

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
    """A listener that does nothing."""


def never_stop() -> bool:
    """Never asks work to stop."""
    return False
