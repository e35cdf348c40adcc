"""A study's cell as a run, and which runs may stand for each other."""

import dataclasses
import hashlib
import json
from typing import Any

from kslottery_core.corpora import CorpusSpec, load_corpus
from kslottery_core.errors import KSLotteryError
from kslottery_core.runs import RunRecord, RunSpec
from kslottery_core.runs.result import find_begin
from kslottery_core.runs.spec import NAME_LENGTH, resolve_paths
from kslottery_core.studies.cells import StudyCell
from kslottery_core.studies.spec import StudySpec
from kslottery_core.tickets import Ticket
from kslottery_core.tuning.settings import TRAINED_METHODS

_WITHOUT_EFFECT = ("name", "output")
_OF_TRAINING = {
    "learning_rate",
    "epochs",
    "max_steps",
    "batch_size",
    "gradient_accumulation",
    "weight_decay",
    "schedule",
    "warmup_share",
    "seed",
    "max_length",
}
_OF_ONE_METHOD = {"ticket_rows": "ticket", "lora": "lora", "prefix": "prefix"}


def build_run_spec(
    study: StudySpec, cell: StudyCell, ticket: Ticket | None = None, after: str | None = None
) -> RunSpec:
    """The run of a cell; `ticket` and `after` are what its rows were chosen to be and copied from.

    Raises `KSLotteryError` as the settings do.
    """
    arm, text = study.arms[cell.arm], study.texts[cell.text]
    trained = arm.method in TRAINED_METHODS
    if trained:
        assert cell.learning_rate is not None and cell.seed is not None and cell.steps is not None
        own_rows = arm.ticket_rows or study.tuning.ticket_rows
        tuning = dataclasses.replace(
            study.tuning,
            learning_rate=cell.learning_rate,
            seed=cell.seed,
            max_steps=cell.steps,
            ticket_rows=own_rows if arm.method == "ticket" else "input",
            lora=arm.lora or study.tuning.lora,
            prefix=arm.prefix or study.tuning.prefix,
        )
    else:
        tuning = dataclasses.replace(study.tuning, ticket_rows="input")
    name = f"{study.name}: {cell.label}"
    return RunSpec(
        name=name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…",
        method=arm.method,
        model=study.model,
        revision=study.revision,
        ticket=ticket,
        after=after,
        train=text.train if trained else None,
        test=text.test,
        prompt=study.prompt,
        tuning=tuning,
        evaluation=study.evaluation,
        device=study.device,
    )


def identify_run(spec: RunSpec, device: str | None = None) -> str:
    """A digest of everything in a spec that decides a run's numbers; equal for runs that may stand for each other.

    `device` is what the run had or will get where its spec says "auto". Of devices only the kind counts; names,
    settings of other methods and whatever only concerns what is kept on disk do not count at all.
    """
    spec = resolve_paths(spec, follow_links=True)
    rest = {name: value for name, value in vars(spec).items() if name not in _WITHOUT_EFFECT}
    described = {
        **rest,
        "ticket": None if spec.ticket is None else list(spec.ticket.token_ids),
        "train": _describe_corpus(spec.train),
        "test": _describe_corpus(spec.test),
        "tuning": _describe_tuning(spec),
        "evaluation": dataclasses.asdict(spec.evaluation),
        "device": (device or spec.device).partition(":")[0],
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True, default=dataclasses.asdict).encode()).hexdigest()


def _describe_corpus(corpus: CorpusSpec | None) -> dict[str, Any] | None:
    if corpus is None:
        return None
    described = dataclasses.asdict(corpus)
    del described["max_rejected_share"]  # decides whether a text is taken, not what is taken of it
    return described


def _describe_tuning(spec: RunSpec) -> dict[str, Any]:
    idle = {"checkpoint_steps"} | {name for name, method in _OF_ONE_METHOD.items() if spec.method != method}
    if spec.method not in TRAINED_METHODS:
        idle |= _OF_TRAINING
    elif spec.tuning.max_steps is not None:
        idle.add("epochs")
    return {name: value for name, value in dataclasses.asdict(spec.tuning).items() if name not in idle}


class FileFingerprints:
    """Content digests of what runs read, each computed once: a path may hold something else than it did last week."""

    def __init__(self) -> None:
        self._known: dict[Any, str | None] = {}

    def match(self, record: RunRecord) -> bool:
        """Whether the files that an ended run names still are those that it read.

        Of a model all its files count. A result of an older program knows the input embedding alone: it stands as long
        as no file of the model has been written since that run began.
        """
        if record.spec is None or record.result is None:
            return False
        spec, found = record.spec, record.result.get("fingerprints") or {}
        if any(found.get(name) != self._read_corpus(getattr(spec, name)) for name in ("train", "test")):
            return False
        begin = find_begin(record.status)
        if not self._match_model(found, "model", spec.model, spec.revision, begin):
            return False
        if spec.after is None:
            return found.get("after") is None
        return self._match_model(found, "after", spec.after, spec.after_revision, begin)

    def _match_model(self, found: dict[str, Any], name: str, source: str, revision: str | None, begin: float) -> bool:
        from kslottery_core.checkpoints import compute_model_digest, find_last_change

        if found.get(name) != self._read_model(source, revision):
            return False
        try:
            if f"{name}_files" in found:
                # Not remembered here: a model may be rewritten while a long study runs.
                return bool(found[f"{name}_files"] == compute_model_digest(source, revision))
            changed = find_last_change(source, revision)
        except KSLotteryError:
            return False
        return changed is None or changed <= begin

    def _read_model(self, source: str, revision: str | None) -> str | None:
        from kslottery_core.checkpoints import open_embedding

        key = (source, revision)
        if key not in self._known:
            try:
                self._known[key] = open_embedding(source, revision=revision).fingerprint
            except KSLotteryError:
                self._known[key] = None
        return self._known[key]

    def _read_corpus(self, corpus: CorpusSpec | None) -> str | None:
        if corpus is not None and corpus not in self._known:
            try:
                self._known[corpus] = load_corpus(corpus).fingerprint
            except KSLotteryError:
                self._known[corpus] = None
        return None if corpus is None else self._known[corpus]
