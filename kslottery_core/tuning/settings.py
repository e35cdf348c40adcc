"""What a person may set about training; validated before a model is loaded."""

import importlib.util
from dataclasses import dataclass, field

from kslottery_core.errors import TuningError

METHODS = ("base", "full", "embedding", "ticket", "transfer", "lora", "prefix")
"""`base` trains nothing; `transfer` (Partial Transfer) copies rows and trains nothing; the others train."""

TRAINED_METHODS = ("full", "embedding", "ticket", "lora", "prefix")
ADAPTER_METHODS = ("lora", "prefix")
"""What is trained is a PEFT adapter beside the model."""

TICKET_ROWS = ("input", "input_and_head")
"""Which rows a ticket trains: those of the input embedding, or of the one matrix that a tied model uses at both ends.
"""
SCHEDULES = ("cosine", "linear", "constant")
DEFAULT_LEARNING_RATES = {"full": 1e-4, "embedding": 5e-3, "ticket": 1e-2, "lora": 1e-3, "prefix": 1e-2}
"""Peak learning rates where nobody names one: starts that worked on the small models measured here. A few rows bear,
and need, far larger steps than a whole model."""

PRECISIONS = ("auto", "float32", "bfloat16")
QUANTIZATIONS = ("none", "8bit", "4bit")
"""How the frozen linear layers are held while something beside them is trained (bitsandbytes)."""

QUANTIZED_METHODS = ("ticket", *ADAPTER_METHODS)


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank changes (alpha / rank) * B @ A of linear layers (arXiv 2106.09685).

    `target_modules` are names of linear layers, such as "q_proj", or endings of their paths; empty means every linear
    layer of the architecture but its output head. `dropout` is the share of inputs of A that are dropped in training.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    target_modules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise TuningError(f"lora rank: expected a whole number of at least 1, found {self.rank!r}.")
        if not 0 < self.alpha < float("inf"):
            raise TuningError(f"lora alpha: expected a number above 0, found {self.alpha!r}.")
        if not 0 <= self.dropout < 1:
            raise TuningError(f"lora dropout: expected a share from 0 up to 1, found {self.dropout!r}.")
        if not all(name.strip() for name in self.target_modules):
            raise TuningError("lora target modules: expected names of linear layers, found an empty one.")


@dataclass(frozen=True)
class PrefixSettings:
    """Trained keys and values before the text in every layer (arXiv 2101.00190), `virtual_tokens` positions long."""

    virtual_tokens: int = 20

    def __post_init__(self) -> None:
        if self.virtual_tokens < 1:
            raise TuningError(f"virtual tokens: expected a whole number of at least 1, found {self.virtual_tokens!r}.")


@dataclass(frozen=True)
class TuningSettings:
    """Hyper-parameters of one training.

    `batch_size` is the number of sentence pairs a step and device sees at once; the optimizer steps every
    `gradient_accumulation` batches. `max_steps`, when given, overrides `epochs`. `warmup_share` is a share of all
    steps. `max_length` is in tokens, prompt and target together. `ticket_rows`, `lora` and `prefix` concern the method
    of their name alone. `quantization` holds a frozen model's linear layers, but not its head, in 8 or 4 bits
    (bitsandbytes). Where several processes train together, `batch_size` is each one's, and an optimizer step sees
    batch_size * gradient_accumulation * processes pairs. After the first and every `checkpoint_steps` steps a killed
    training can be gone on from, 0 keeps nothing for that; results do not depend on it.
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
    ticket_rows: str = "input"
    checkpoint_steps: int = 100
    quantization: str = "none"
    lora: LoraSettings = field(default_factory=LoraSettings)
    prefix: PrefixSettings = field(default_factory=PrefixSettings)

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
        if self.checkpoint_steps < 0:
            raise TuningError(
                f"checkpoint_steps: expected a whole number of steps, or 0 for none, found {self.checkpoint_steps!r}."
            )
        if not 0 <= self.seed < 2**32:
            raise TuningError(f"seed: expected a whole number from 0 to {2**32 - 1}, found {self.seed!r}.")
        for name, choice, known in (
            ("schedule", self.schedule, SCHEDULES),
            ("precision", self.precision, PRECISIONS),
            ("ticket_rows", self.ticket_rows, TICKET_ROWS),
            ("quantization", self.quantization, QUANTIZATIONS),
        ):
            if choice not in known:
                raise TuningError(f"{name}: expected one of {', '.join(known)}, found {choice!r}.")


def choose_learning_rate(method: str, named: float | None = None) -> float:
    """The peak learning rate that was named, else the method's own of DEFAULT_LEARNING_RATES.

    A method that trains nothing has none, and gets the one of TuningSettings, which nothing reads.
    """
    if named is not None:
        return named
    return DEFAULT_LEARNING_RATES.get(method, TuningSettings.learning_rate)


def check_quantization(method: str, quantization: str) -> None:
    """Raise TuningError where the method trains the model's own weights, or bitsandbytes is not installed."""
    if method not in QUANTIZED_METHODS:
        raise TuningError(
            f"quantization: {quantization} is for methods that keep the model frozen and train something beside it "
            f"({', '.join(QUANTIZED_METHODS)}), found the method {method}; leave it out."
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise TuningError(
            f"quantization: {quantization} needs the package bitsandbytes, which is not installed here; install it "
            "(pip install bitsandbytes) or leave the quantization out."
        )


def check_method_settings(method: str, settings: TuningSettings, output: str) -> None:
    """Raise TuningError for settings or an output that cannot go with the method."""
    if settings.ticket_rows != "input" and method != "ticket":
        raise TuningError(
            f"ticket_rows: {settings.ticket_rows!r} belongs to the method ticket, found the method {method}; leave it "
            "out or train a ticket."
        )
    if settings.quantization != "none":
        check_quantization(method, settings.quantization)
    if method == "prefix" and output == "checkpoint":
        raise TuningError(
            "output: a prefix is no change of weights and cannot be merged into a whole checkpoint; keep it as an "
            "adapter (output rows)."
        )
