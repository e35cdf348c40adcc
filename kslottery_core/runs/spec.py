"""What a run was asked to do: written once to `spec.json`, never changed afterwards."""

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kslottery_core.corpora import DEFAULT_PROMPT, HUB_PREFIX, Corpus, CorpusSpec, check_prompt, load_corpus
from kslottery_core.errors import RunError
from kslottery_core.evaluation.settings import EvaluationSettings
from kslottery_core.records import read_record
from kslottery_core.runs.model_inputs import check_model_inputs
from kslottery_core.tickets import Ticket, check_ticket_fits
from kslottery_core.tuning.settings import METHODS, TRAINED_METHODS, TuningSettings, check_method_settings

OUTPUTS = ("rows", "checkpoint")
"""`rows` keeps what was trained (a few kilobytes for a ticket); `checkpoint` also writes a whole model."""

TICKET_METHODS = ("ticket", "transfer")
LOOKED_AT_PAIRS = 1000
NAME_LENGTH = 120  # characters: what a table of runs can still show

_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


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
            raise RunError(f"device: expected auto, cpu, cuda or cuda:<number>, found {self.device!r}.")
        if self.output not in OUTPUTS:
            raise RunError(f"output: expected one of {', '.join(OUTPUTS)}, found {self.output!r}.")

    def to_json(self) -> dict[str, Any]:
        """The JSON object of `spec.json`, with the whole ticket inside."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, mapping: Any, where: str) -> "RunSpec":
        """Read `spec.json`; `where` names the file in messages. Raises `KSLotteryError`."""
        return read_record(cls, mapping, where, RunError)


def check_spec(spec: RunSpec) -> None:
    """Check everything that can be known before a model is loaded. Raises `KSLotteryError` with one sentence."""
    _check_source("model", spec.model)
    if spec.revision is not None and Path(spec.model).expanduser().exists():
        raise RunError(
            f"revision: only a hub id has revisions, and {spec.model} is on this disk (revision {spec.revision!r}); "
            "leave the revision out."
        )
    _check_ticket(spec)
    check_method_settings(spec.method, spec.tuning, spec.output)
    if spec.method == "transfer" and spec.after is None:
        raise RunError("after: 'transfer' copies rows from an embedding-tuned model; say which one.")
    if spec.after is not None:
        if spec.method not in TICKET_METHODS:
            raise RunError(f"after: {spec.method!r} uses no second model, found {spec.after!r}; leave it out.")
        _check_source("after", spec.after)
    _check_corpora(spec)
    check_prompt(spec.prompt)


def check_inputs(spec: RunSpec) -> None:
    """Look into the files that a run will need, so that a wrong one is told at once and not when its turn has come.

    Reads the first sentence pairs and, for models on this disk, the embedding's header, config and tokenizer: does the
    model take the method, do the texts fit into it? Raises `KSLotteryError`.
    """
    from kslottery_core.checkpoints import check_source

    check_spec(spec)
    check_source(spec.model, spec.revision)
    if spec.after is not None:
        check_source(spec.after, spec.after_revision)
    train, test = (None if corpus is None else _load_beginning(corpus) for corpus in (spec.train, spec.test))
    if spec.ticket is not None and Path(spec.model).expanduser().exists():
        from kslottery_core.checkpoints import open_embedding

        check_ticket_fits(spec.ticket, *open_embedding(spec.model).shape)
    check_model_inputs(spec, train, test)


def _load_beginning(corpus: CorpusSpec) -> Corpus:
    return load_corpus(dataclasses.replace(corpus, limit=min(corpus.limit or LOOKED_AT_PAIRS, LOOKED_AT_PAIRS)))


def _check_ticket(spec: RunSpec) -> None:
    if spec.method not in TICKET_METHODS:
        if spec.ticket is not None:
            raise RunError(
                f"ticket: {spec.method!r} uses no ticket, found one of {spec.ticket.size:,} tokens; leave it out "
                "or choose the method ticket."
            )
        return
    if spec.ticket is None:
        raise RunError(f"ticket: {spec.method!r} needs a ticket; select one first.")
    if spec.ticket.size == 0:
        raise RunError("ticket: expected at least one token, found an empty ticket; raise alpha or choose top-k.")


def _check_corpora(spec: RunSpec) -> None:
    if spec.method in TRAINED_METHODS and spec.train is None:
        raise RunError(f"train: {spec.method!r} learns from parallel text; say which training corpus to use.")
    if spec.method not in TRAINED_METHODS and spec.train is not None:
        raise RunError(f"train: {spec.method!r} trains nothing, found {spec.train.path}; leave the corpus out.")
    if spec.method == "base" and spec.test is None:
        raise RunError("test: 'base' only scores the model as it is; say which test corpus to use.")
    for name, corpus in (("train", spec.train), ("test", spec.test)):
        if corpus is None or corpus.path.startswith(HUB_PREFIX):
            continue
        if not Path(corpus.path).expanduser().exists():
            raise RunError(f"{name}: expected a file of parallel text, found nothing at {corpus.path}; check the path.")


def _check_source(name: str, source: str) -> None:
    from kslottery_core.checkpoints import looks_like_hub_id

    if Path(source).expanduser().exists() or looks_like_hub_id(source):
        return
    raise RunError(f"{name}: expected a folder, a file or a hub id, found nothing at {source}; check the path.")


def resolve_paths(spec: RunSpec) -> RunSpec:
    """The same spec with whatever exists on this disk made absolute, because the worker runs from another folder."""

    def resolve_corpus(corpus: CorpusSpec | None) -> CorpusSpec | None:
        return None if corpus is None else dataclasses.replace(corpus, path=resolve_source(corpus.path))

    return dataclasses.replace(
        spec,
        model=resolve_source(spec.model),
        after=None if spec.after is None else resolve_source(spec.after),
        train=resolve_corpus(spec.train),
        test=resolve_corpus(spec.test),
    )


def resolve_source(source: str) -> str:
    """A path that exists on this disk made absolute; anything else, such as a hub id, as it is."""
    path = Path(source).expanduser()
    return str(path.resolve()) if path.exists() else source
