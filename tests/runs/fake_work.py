"""A stand-in for tuning and evaluation that needs no model; also the worker that the tests launch as a process.

As a program: `fake_work.py MODE STEP_SECONDS FOLDER`.
"""

import os
import sys
import time
from dataclasses import dataclass
from types import SimpleNamespace

from kslottery_core.errors import TuningError
from kslottery_core.progress import ProgressEvent
from kslottery_core.runs.worker import work


@dataclass(frozen=True)
class FakeReport:
    trained_parameters: int = 64
    copied_parameters: int = 0
    total_parameters: int = 1000
    steps: int = 0
    final_loss: float | None = None
    seconds: float = 0.5
    peak_memory_bytes: int | None = None
    stopped: bool = False
    saved_bytes: int = 7
    untied_head: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FakeScore:
    metric: str = "BLEU"
    value: float = 12.5
    signature: str = "fake"


@dataclass(frozen=True)
class FakeOutput:
    source: str
    reference: str
    text: str
    stopped: bool = True
    tokens: int = 1


@dataclass(frozen=True)
class FakeEvaluation:
    outputs: tuple[FakeOutput, ...]
    scores: tuple[FakeScore, ...] = (FakeScore(),)
    stopped_share: float = 1.0
    seconds: float = 0.25
    notes: tuple[str, ...] = ("a note of the evaluation",)
    complete: bool = True


def make_tune(mode: str = "well", step_seconds: float = 0.0):
    """A tune function. `mode`: well, load (never stops loading), deaf (never asks should_stop), or a way to fail."""

    def tune(task, folder, *, on_progress, should_stop, on_loaded=None):
        on_progress(ProgressEvent("load", 0, 1))
        while mode == "load":
            time.sleep(0.05)
        if mode == "person":
            raise TuningError("learning_rate: expected something better; choose another.")
        if mode == "bug":
            raise ValueError("a secret detail")
        if mode == "memory":
            raise MemoryError
        if mode == "vanish":
            print("last words of a dying process", flush=True)
            os._exit(9)
        total = task.settings.max_steps or 3
        step, stopped = 0, False
        while step < total and not stopped and task.method != "base":
            time.sleep(step_seconds)
            step += 1
            on_progress(ProgressEvent("tune", step, total, loss=1 / step, learning_rate=0.1))
            stopped = mode != "deaf" and should_stop()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rows.safetensors").write_text(str(step))
        return SimpleNamespace(model="model", tokenizer="tokenizer", report=FakeReport(steps=step, stopped=stopped))

    return tune


def make_evaluate(mode: str = "well", step_seconds: float = 0.0):
    """An evaluate function; mode `evaluation bug` fails."""

    def evaluate(model, tokenizer, corpus, spec, prompt, settings, *, on_progress, should_stop):
        assert (model, tokenizer) == ("model", "tokenizer")
        if mode == "evaluation bug":
            raise RuntimeError("cannot generate")
        outputs = []
        for pair in corpus.pairs:
            time.sleep(step_seconds)
            outputs.append(FakeOutput(pair.source, pair.target, "hola"))
            on_progress(ProgressEvent("generate", len(outputs), len(corpus.pairs)))
            if should_stop():
                break
        return FakeEvaluation(tuple(outputs), complete=len(outputs) == len(corpus.pairs))

    return evaluate


if __name__ == "__main__":
    mode, step_seconds = sys.argv[1], float(sys.argv[2])
    print("the fake worker says hello", flush=True)
    if mode == "stillborn":
        raise SystemExit(3)
    work(sys.argv[3], tune=make_tune(mode, step_seconds), evaluate=make_evaluate(mode, step_seconds))
