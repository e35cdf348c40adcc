"""What a person may set about training; validated before a model is loaded."""

from dataclasses import dataclass

from kslottery_core.errors import TuningError

METHODS = ("base", "full", "embedding", "ticket", "transfer")
"""`base` trains nothing; `transfer` (Partial Transfer) copies rows and trains nothing; the others train."""

TRAINED_METHODS = ("full", "embedding", "ticket")
SCHEDULES = ("cosine", "linear", "constant")
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class TuningSettings:
    """Hyper-parameters of one training.

    `batch_size` is the number of sentence pairs a step and device sees at once; the optimizer steps every
    `gradient_accumulation` batches. `max_steps`, when given, overrides `epochs`. `warmup_share` is a share of all
    steps. `max_length` is in tokens, prompt and target together.
    """

    learning_rate: float = 5e-3
    epochs: float = 3.0
    max_steps: int | None = None
    batch_size: int = 16
    gradient_accumulation: int = 1
    weight_decay: float = 0.0
    schedule: str = "cosine"
    warmup_share: float = 0.03
    seed: int = 42
    max_length: int = 256
    precision: str = "auto"

    def __post_init__(self) -> None:
        positive = {
            "learning_rate": self.learning_rate,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "gradient_accumulation": self.gradient_accumulation,
            "max_length": self.max_length,
        }
        if self.max_steps is not None:
            positive["max_steps"] = self.max_steps
        for name, value in positive.items():
            if not 0 < value < float("inf"):
                raise TuningError(f"{name}: expected a number above 0, found {value!r}.")
        if not 0 <= self.weight_decay < float("inf"):
            raise TuningError(f"weight_decay: expected a number of at least 0, found {self.weight_decay!r}.")
        if not 0 <= self.warmup_share < 1:
            raise TuningError(f"warmup_share: expected a share from 0 up to 1, found {self.warmup_share!r}.")
        if not 0 <= self.seed < 2**32:
            raise TuningError(f"seed: expected a whole number from 0 to {2**32 - 1}, found {self.seed!r}.")
        if self.schedule not in SCHEDULES:
            raise TuningError(f"schedule: expected one of {', '.join(SCHEDULES)}, found {self.schedule!r}.")
        if self.precision not in PRECISIONS:
            raise TuningError(f"precision: expected one of {', '.join(PRECISIONS)}, found {self.precision!r}.")
