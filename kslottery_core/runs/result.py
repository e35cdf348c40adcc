"""What a run leaves behind: `outputs.jsonl`, and `result.json` with everything needed to tell two results apart."""

import dataclasses
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kslottery_core
from kslottery_core import jobs
from kslottery_core.errors import KSLotteryError
from kslottery_core.records import format_json_lines, replace_file, save_json
from kslottery_core.runs.record import OUTPUTS_FILE, RESULT_FILE, RunStatus
from kslottery_core.runs.spec import RunSpec

if TYPE_CHECKING:
    from kslottery_core.corpora import Corpus, LeakReport

RESULT_VERSION = 1
PACKAGES = ("torch", "transformers", "peft", "sacrebleu")
_GIT_SECONDS = 10.0


@dataclass
class RunOutcome:
    """What the worker has gathered so far. `report` is a TuningReport, `evaluation` an Evaluation, None if not done."""

    train: "Corpus | None" = None
    test: "Corpus | None" = None
    leaks: "LeakReport | None" = None
    report: Any = None
    evaluation: Any = None
    notes: list[str] = field(default_factory=list)


def save_outputs(folder: Path, outputs: Iterable[Any]) -> None:
    """Write all outputs at once, one JSON line each."""
    replace_file(folder / OUTPUTS_FILE, format_json_lines(map(dataclasses.asdict, outputs)))


def save_result(folder: Path, spec: RunSpec, status: RunStatus, outcome: RunOutcome, *, complete: bool) -> None:
    """Write `result.json`. Unmeasured values are null.

    `complete` means that the run has done all that it was asked for. It is then finished, even if its process is killed
    before it can write its final status.
    """
    evaluation = outcome.evaluation
    fingerprints = _read_fingerprints(spec, status, outcome)
    scored = evaluation is not None and evaluation.complete
    content = {
        "version": RESULT_VERSION,
        "attempt": status.attempt,
        "complete": complete,
        # The score of a part of a test set, shown as that of the whole, would be wrong.
        "scores": [_to_json(score) for score in evaluation.scores] if scored else [],
        "stopped_share": evaluation.stopped_share if scored else None,
        "outputs": None if evaluation is None else len(evaluation.outputs),
        "tuning": None if outcome.report is None else _to_json(outcome.report),
        "cost": _compute_cost(status, outcome),
        "device": {
            "name": status.device,
            "description": describe_device(status.device or "cpu"),
            "host": jobs.read_host(),
        },
        "versions": read_versions(),
        "code": read_code_state(),
        "fingerprints": fingerprints,
        "corpora": {"train": _describe_corpus(outcome.train), "test": _describe_corpus(outcome.test)},
        "leaks": None if outcome.leaks is None else len(outcome.leaks.exact),
        "leak_report": None if outcome.leaks is None else outcome.leaks.to_json(),
        "notes": [*outcome.notes, *(note for part in (outcome.report, evaluation) if part for note in part.notes)],
    }
    save_json(folder / RESULT_FILE, content)


def forget_result(folder: Path) -> None:
    """Remove the result and outputs of an earlier attempt, which this one replaces."""
    for name in (RESULT_FILE, OUTPUTS_FILE):
        (folder / name).unlink(missing_ok=True)


def _to_json(record: Any) -> Any:
    return record.to_json() if hasattr(record, "to_json") else dataclasses.asdict(record)


def _compute_cost(status: RunStatus, outcome: RunOutcome) -> dict[str, Any]:
    report, evaluation = outcome.report, outcome.evaluation
    queued = status.queued_again or status.created  # of a resumed run, the wait of its last attempt
    return {
        "waited_seconds": None if status.started is None else max(0.0, status.started - queued),
        "total_seconds": None if status.worked_seconds is None else status.seconds_before + status.worked_seconds,
        "tuning_seconds": None if report is None else report.seconds,
        "evaluation_seconds": None if evaluation is None else evaluation.seconds,
        "peak_memory_bytes": None if report is None else report.peak_memory_bytes,
        "peak_process_bytes": jobs.measure_peak_process_bytes(),
        "trained_parameters": None if report is None else report.trained_parameters,
        "copied_parameters": None if report is None else report.copied_parameters,
        "total_parameters": None if report is None else report.total_parameters,
        "saved_bytes": None if report is None else report.saved_bytes,
        "optimizer_bytes": getattr(report, "optimizer_bytes", None),
        "step_seconds": getattr(report, "step_seconds", None),
        "effective_batch": getattr(report, "effective_batch", None),
        "processes": getattr(report, "processes", None),
    }


def _describe_corpus(corpus: "Corpus | None") -> dict[str, Any] | None:
    if corpus is None:
        return None
    return {
        "name": corpus.name,
        "pairs": len(corpus.pairs),
        "rejected": len(corpus.rejected),
        "filtered": None if corpus.counts is None else corpus.counts.filtered,
        "fingerprint": corpus.fingerprint,
    }


def find_begin(status: RunStatus) -> float:
    """The earliest time (unix seconds) at which a run may have read its files; its creation for a resumed run, whose
    first start is not recorded."""
    return status.created if status.attempt > 1 or status.started is None else status.started


def _read_fingerprints(spec: RunSpec, status: RunStatus, outcome: RunOutcome) -> dict[str, str | None]:
    """Content digests of the inputs; a note is added when the ticket was selected on another model."""
    from kslottery_core.checkpoints import compute_model_digest, find_last_change, open_embedding

    found: dict[str, str | None] = {
        "model": None,
        "model_files": None,
        "after": None,
        "after_files": None,
        "ticket_before": None if spec.ticket is None else spec.ticket.fingerprint_before,
        "ticket_after": None if spec.ticket is None else spec.ticket.fingerprint_after,
        "train": None if outcome.train is None else outcome.train.fingerprint,
        "test": None if outcome.test is None else outcome.test.fingerprint,
    }
    for name, source, revision in (("model", spec.model, spec.revision), ("after", spec.after, spec.after_revision)):
        if source is not None:
            try:
                found[name] = open_embedding(source, revision=revision).fingerprint
            except KSLotteryError as problem:
                outcome.notes.append(f"No fingerprint of {name}: {problem}")
            try:
                changed = find_last_change(source, revision)
                if changed is not None and changed > find_begin(status):
                    outcome.notes.append(
                        f"No digest of the files of {source}: some were written after this run had started, so it is "
                        "unknown which it read."
                    )
                else:
                    found[f"{name}_files"] = compute_model_digest(source, revision)
            except KSLotteryError as problem:
                outcome.notes.append(f"No digest of the files of {source}: {problem}")
    if None not in (found["ticket_before"], found["model"]) and found["ticket_before"] != found["model"]:
        outcome.notes.append("The ticket was selected on other embeddings than this model's (the fingerprints differ).")
    if None not in (found["ticket_after"], found["after"]) and found["ticket_after"] != found["after"]:
        outcome.notes.append("The rows were copied from other embeddings than the ticket was selected on.")
    return found


def read_versions() -> dict[str, str | None]:
    """Versions of what decides a result, read from package metadata without importing anything."""
    versions: dict[str, str | None] = {"kslottery": kslottery_core.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def describe_device(device: str) -> str | None:
    """The hardware's own name; None when the machine does not report it."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    if device == "mps":
        return f"Apple GPU ({platform.machine()})"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = models[0] if models else platform.processor()
    return f"{name} ({os.cpu_count()} cores)" if name else None


def read_code_state() -> dict[str, Any] | None:
    """Git commit of this package and whether its files differ from it; None when it is not in a git tree."""
    package = Path(kslottery_core.__file__).resolve().parent

    def ask_git(*arguments: str) -> str | None:
        try:
            answer = subprocess.run(
                ["git", "-C", str(package), *arguments],
                capture_output=True,
                text=True,
                timeout=_GIT_SECONDS,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return answer.stdout.strip() if answer.returncode == 0 else None

    # An environment inside another repository is not this project's tree.
    if ask_git("ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit, changes = ask_git("rev-parse", "HEAD"), ask_git("status", "--porcelain", "--", ".")
    return None if commit is None else {"commit": commit, "dirty": None if changes is None else bool(changes)}
