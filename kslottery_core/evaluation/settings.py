"""What a person may set about generating and scoring; validated before a model is loaded."""

from dataclasses import dataclass

from kslottery_core.errors import EvaluationError


@dataclass(frozen=True)
class EvaluationSettings:
    """Decoding of one evaluation. `beams` = 1 is greedy; lengths are in tokens; `batch_size` in sentences."""

    beams: int = 1
    max_new_tokens: int = 64
    batch_size: int = 32

    def __post_init__(self) -> None:
        for name in ("beams", "max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise EvaluationError(f"{name}: expected a whole number of at least 1, found {getattr(self, name)!r}.")
