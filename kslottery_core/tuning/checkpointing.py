"""A training's own checkpoints on disk: the last one whole at any moment, and told apart from another training's.

A checkpoint holds what is trained, the optimizer, the scheduler, the random states and the position in the data, not
the frozen model. It is written under a hidden name and renamed, and only then is the one before it removed, so that a
process killed at any moment leaves one that can be gone on from. Reading what is there loads no torch.
"""

import contextlib
import dataclasses
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kslottery_core.errors import TuningError
from kslottery_core.records import load_json, make_scratch_path, read_record, save_json
from kslottery_core.tuning.processes import Processes

TRAINING_FOLDER = "training"
RECORD_FILE = "training.json"
_NAME = re.compile(r"checkpoint-(\d+)")
_SHOWN_CHARACTERS = 60
_WRITER_WORDS = ("PytorchStreamWriter", "inline_container", "iostream error")  # torch's writer hides the disk's reason


@dataclass(frozen=True)
class TrainingPosition:
    """How far a training is, and with which micro-batch, threads and processes: its numbers depend on all of them.

    `seconds` is the time trained up to here, `identity` what was asked (see `describe_training` in `identity`), `files`
    the size in bytes of everything that belongs to the checkpoint. What the training cost so far is None where an
    older version wrote the checkpoint.
    """

    step: int
    planned_steps: int
    batch_size: int
    gradient_accumulation: int
    threads: int
    seconds: float
    first_loss: float | None
    final_loss: float | None
    notes: tuple[str, ...]
    identity: dict[str, Any]
    files: dict[str, int] = dataclasses.field(default_factory=dict)
    processes: int = 1
    sharded: bool = False
    peak_memory_bytes: int | None = None
    optimizer_bytes: int | None = None
    step_seconds: float | None = None


@dataclass(frozen=True)
class TrainingCheckpoint:
    """One checkpoint: its folder and where it stands."""

    folder: Path
    position: TrainingPosition


@dataclass(frozen=True)
class CheckpointPlan:
    """Where a training keeps its checkpoints, how often (in optimizer steps), what it is, and where it goes on from."""

    folder: Path
    every_steps: int
    identity: dict[str, Any]
    start: TrainingCheckpoint | None = None


def find_last_step(folder: Path) -> int | None:
    """The step of the last checkpoint below a tuning's folder, None where there is none."""
    return max(_list_steps(folder / TRAINING_FOLDER), default=None)


def load_last_checkpoint(
    folder: Path, identity: Mapping[str, Any], processes: Processes | None = None
) -> TrainingCheckpoint | None:
    """The last checkpoint below a tuning's folder, None where there is none.

    Raises TuningError when it is damaged, belongs to another training than `identity` describes, or was written by
    another number of processes than `processes` (default: one).
    """
    processes = processes or Processes()
    training = folder / TRAINING_FOLDER
    steps = _list_steps(training)
    if not steps:
        return None
    chosen = training / f"checkpoint-{max(steps)}"
    record = chosen / RECORD_FILE
    position = read_record(TrainingPosition, load_json(record, TuningError), str(record), TuningError)
    for name, size in position.files.items():
        path = chosen / name
        if not path.is_file() or path.stat().st_size != size:
            raise TuningError(
                f"{path}: expected the {size:,} bytes that were written, found a damaged file; delete {training} to "
                "begin anew."
            )
    difference = _find_difference(position.identity, identity)
    if difference is not None:
        raise TuningError(
            f"{chosen}: it belongs to another training ({difference}), which this one cannot go on from; put its own "
            "checkpoint there or delete it to begin anew."
        )
    written, found = (
        _describe_processes(position.processes, position.sharded),
        _describe_processes(processes.count, processes.shards),
    )
    if written != found:
        raise TuningError(
            f"{chosen}: it was written by {written}, found {found}, which would train on other batches; resume it as "
            f"it was started, or delete {training} to begin anew."
        )
    return TrainingCheckpoint(chosen, position)


@contextlib.contextmanager
def write_checkpoint(folder: Path, position: TrainingPosition) -> Iterator[Path]:
    """Gives a scratch folder to write into, then puts it in its place and removes the checkpoints before it.

    Raises TuningError when the disk does not take it; what was there before stays.
    """
    from safetensors import SafetensorError

    target = folder / f"checkpoint-{position.step}"
    scratch = make_scratch_path(target)
    try:
        scratch.mkdir(parents=True)
        yield scratch
        written = [path for path in scratch.iterdir() if path.is_file()]
        for path in written:
            _flush(path)
        files = {path.name: path.stat().st_size for path in written}
        record = dataclasses.asdict(dataclasses.replace(position, files=files))
        save_json(scratch / RECORD_FILE, record)
        _flush(scratch / RECORD_FILE)
        _remove(target)
        scratch.rename(target)
        _flush(folder)
    except (OSError, RuntimeError, SafetensorError) as problem:
        if isinstance(problem, RuntimeError) and not any(words in str(problem) for words in _WRITER_WORDS):
            raise
        reason = problem.strerror if isinstance(problem, OSError) and problem.strerror else "the disk did not take it"
        before = max((step for step in _list_steps(folder) if step != position.step), default=None)
        kept = "" if before is None else f" (that of step {before} is kept)"
        raise TuningError(
            f"{folder}: the checkpoint of step {position.step} cannot be written there, {reason}{kept}; free some "
            "space and resume the run."
        ) from None
    finally:
        _remove(scratch)
    for other in folder.iterdir():
        if other != target:  # older checkpoints, and what a killed process left half written
            _remove(other)


def discard_checkpoints(folder: Path) -> None:
    """Remove the checkpoints below a tuning's folder, whose training has ended and been saved."""
    _remove(folder / TRAINING_FOLDER)


def _describe_processes(count: int, sharded: bool) -> str:
    return ("1 process" if count == 1 else f"{count} processes") + (" with FSDP" if sharded else "")


def _list_steps(training: Path) -> list[int]:
    try:
        matches = [_NAME.fullmatch(path.name) for path in training.iterdir()]
    except OSError:
        return []
    return [int(match[1]) for match in matches if match]


def _find_difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """The first thing in which two descriptions differ, in words."""
    for name in dict.fromkeys([*here, *there]):
        old, new = there.get(name), here.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            inner = _find_difference(old, new)
            if inner is not None:
                return inner
        elif old != new:
            shown = f"{old!r} there, {new!r} here"
            return f"{name}: {shown}" if len(shown) <= _SHOWN_CHARACTERS else f"{name} differs"
    return None


def _flush(path: Path) -> None:
    """Hand a file or folder to the disk, so that a power cut right after the renaming loses nothing either."""
    if os.name == "nt":  # which opens no folder, and flushes only what is open for writing
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
