"""What a run was asked to do: written once to `spec.json`, never changed afterwards."""

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kslottery_core.corpora import DEFAULT_PROMPT, CorpusSpec
from kslottery_core.errors import RunError
from kslottery_core.evaluation.generate import EvaluationSettings
from kslottery_core.records import read_record
from kslottery_core.tickets import Ticket
from kslottery_core.tuning.settings import METHODS, TuningSettings

OUTPUTS = ("rows", "checkpoint")
"""`rows` keeps what was trained (a few kilobytes for a ticket); `checkpoint` also writes a whole model."""

TICKET_METHODS = ("ticket", "transfer")
NAME_LENGTH = 120  # characters, so that a table of runs can show it

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


@dataclass(frozen=True)
class RunSpec:
    """One run as asked. `model` and `after` are a path or a hub id; corpora are read when the run starts.

    Construction checks what needs no disk, so that the record of an old run stays readable after its files are gone;
    `check_spec` checks the rest before a run is launched. Raises `RunError`.
    """

    name: str
    method: str
    model: str
    revision: str | None = None
    ticket: Ticket | None = None
    after: str | None = None
    after_revision: str | None = None
    train: CorpusSpec | None = None
    test: CorpusSpec | None = None
    prompt: str = DEFAULT_PROMPT
    tuning: TuningSettings = field(default_factory=TuningSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    device: str = "auto"
    output: str = "rows"

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > NAME_LENGTH or not self.name.isprintable():
            raise RunError(f"name: expected one line of 1 to {NAME_LENGTH} characters, found {self.name[:200]!r}.")
        if self.method not in METHODS:
            raise RunError(f"method: expected one of {', '.join(METHODS)}, found {self.method!r}.")
        if not self.model.strip():
            raise RunError("model: expected a folder, a file or a hub id, found nothing; say which model to use.")
        if not _DEVICE.fullmatch(self.device):
            raise RunError(f"device: expected auto, cpu, cuda, cuda:<number> or mps, found {self.device!r}.")
        if self.output not in OUTPUTS:
            raise RunError(f"output: expected one of {', '.join(OUTPUTS)}, found {self.output!r}.")

    def to_json(self) -> dict[str, Any]:
        """The JSON object of `spec.json`, with the whole ticket inside."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, mapping: Any, where: str) -> "RunSpec":
        """Read `spec.json`; `where` names the file in messages. Raises `KSLotteryError`."""
        return read_record(cls, mapping, where, RunError)


def resolve_paths(spec: RunSpec, *, follow_links: bool = False) -> RunSpec:
    """The same spec with whatever exists on this disk made absolute, because the worker runs from another folder.

    With `follow_links` two names of one file become the same; see `resolve_source`.
    """

    def resolve(source: str) -> str:
        return resolve_source(source, follow_links=follow_links)

    def resolve_corpus(corpus: CorpusSpec | None) -> CorpusSpec | None:
        return None if corpus is None else dataclasses.replace(corpus, path=resolve(corpus.path))

    return dataclasses.replace(
        spec,
        model=resolve(spec.model),
        after=None if spec.after is None else resolve(spec.after),
        train=resolve_corpus(spec.train),
        test=resolve_corpus(spec.test),
    )


def resolve_source(source: str, *, follow_links: bool = False) -> str:
    """A path that exists on this disk made absolute; anything else, such as a hub id, as it is.

    A file keeps its own name even where it is a symbolic link: its format is told by its suffix, which the file that
    the link leads to may lack, as in the hub's cache. `follow_links` goes there nevertheless.
    """
    path = Path(source).expanduser()
    if not path.exists():
        return source
    if follow_links or not path.is_file():
        return str(path.resolve())
    return str(path.parent.resolve() / path.name)
