"""What one tuning is to do, checked for completeness before a model is loaded."""

from dataclasses import dataclass, field

from kslottery_core.corpora import Corpus, CorpusSpec
from kslottery_core.errors import TuningError
from kslottery_core.tickets import Ticket
from kslottery_core.tuning.settings import (
    ADAPTER_METHODS,
    METHODS,
    TRAINED_METHODS,
    TuningSettings,
    check_method_settings,
)


@dataclass(frozen=True, eq=False)
class TuningTask:
    """One method applied to one model. Construction raises TuningError when something the method needs is missing.

    `model` and `after` are sources that `kslottery_core.checkpoints` opens; `after` is where `transfer` copies rows
    from. `corpus` holds the pairs, `languages` says which they are, `prompt` is the template around a source.
    `output` is "rows" or "checkpoint": whether a ticket or a LoRA is also written out as a whole model.
    """

    method: str
    model: str
    revision: str | None = None
    ticket: Ticket | None = None
    after: str | None = None
    after_revision: str | None = None
    corpus: Corpus | None = None
    languages: CorpusSpec | None = None
    prompt: str | None = None
    settings: TuningSettings = field(default_factory=TuningSettings)
    device: str = "cpu"
    output: str = "rows"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise TuningError(f"method: expected one of {', '.join(METHODS)}, found {self.method!r}.")
        check_method_settings(self.method, self.settings, self.output)
        if self.method in ("ticket", "transfer") and self.ticket is None:
            raise TuningError(f"ticket: the method {self.method} needs one, found none; select a ticket first.")
        if self.method == "transfer" and self.after is None:
            raise TuningError("after: the method transfer copies rows from a tuned checkpoint, found none; name it.")
        if self.trains and (self.corpus is None or self.languages is None or self.prompt is None):
            raise TuningError(f"training text: the method {self.method} needs a corpus and a prompt, found none.")

    @property
    def trains(self) -> bool:
        """Whether an optimizer runs."""
        return self.method in TRAINED_METHODS

    @property
    def keeps_the_rest_frozen(self) -> bool:
        """Whether no parameter of the loaded model itself is trained, so that it may be kept in 16 bits."""
        return self.method in ("ticket", "transfer", "base", *ADAPTER_METHODS)

    @property
    def moves_head_rows(self) -> bool:
        """Whether a ticket's rows are trained in the output head of a tied model too."""
        return self.method == "ticket" and self.settings.ticket_rows == "input_and_head"

    @property
    def moves_input_rows_alone(self) -> bool:
        """Whether a tied head must get a copy of its own, so that input rows can change without it."""
        return self.method in ("embedding", "ticket", "transfer") and not self.moves_head_rows
