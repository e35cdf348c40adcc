"""Several processes on one run: the first works on it as usual, the others only train with it, from its folder.

`torchrun` and `accelerate launch` start the same program several times. Only the first process does what the program
says; the others only call `follow`. They learn which run it is from the store that the launcher keeps, and end when the
run ends, however that happens: no process is left waiting for one that is gone.
"""

import contextlib
import functools
import os
import signal
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from kslottery_core.errors import KSLotteryError, RunError, TuningError
from kslottery_core.jobs import resolve_device, use_free_cores
from kslottery_core.runs.preparing import build_task, load_corpora
from kslottery_core.runs.record import CHECKPOINTS_FOLDER, RunStatus, load_derived_status, load_run
from kslottery_core.runs.result import RunOutcome
from kslottery_core.runs.spec import RunSpec
from kslottery_core.tuning.processes import Processes, read_processes
from kslottery_core.tuning.settings import TRAINED_METHODS

PROBLEM_FILE = "problem.txt"
_POLL_SECONDS = 0.25
_PARTING_SECONDS = 5.0  # after the run's end, for a process that has not noticed
_RUN_KEY, _COUNT_KEY = "kslottery run", "kslottery runs"


def find_partners(spec: RunSpec) -> Processes:
    """The processes that train this run together: those of the launcher, or this one alone where nothing is trained."""
    return read_processes() if spec.method in TRAINED_METHODS else Processes()


def choose_devices(device: str, processes: Processes) -> tuple[str, ...]:
    """The devices of this machine that a run uses, the leading process's first: one GPU for each, or the CPU for all.

    Raises KSLotteryError for absent ones and for one GPU named for several processes.
    """
    first = resolve_device(processes.choose_device(device))
    if first == "mps" and processes.several:
        raise RunError(
            f"device: Apple's GPU (mps) trains in one process, found {processes.count}; start one, or choose cpu."
        )
    if first == "cpu" or not processes.several:
        return (first,)
    return tuple(resolve_device(f"cuda:{number}") for number in range(processes.local_count))


def follows() -> bool:
    """Whether a launcher started this process, and not as the first one."""
    try:
        return not read_processes().leads
    except TuningError:  # reported where it matters: a left-over variable must not stop every command
        return False


def announce_run(folder: Path, processes: Processes) -> None:
    """Tell the other processes which run it is. Raises RunError for a second run in one launch."""
    if not processes.several:
        return
    store = _open_store()
    if store.add(_COUNT_KEY, 1) > 1:
        raise RunError(
            f"processes: {processes.count} processes that were started together work on one run, found a second one; "
            "start them again for it."
        )
    store.set(_RUN_KEY, str(folder))


def dismiss_followers() -> None:
    """At the end of the leading process: the processes that still wait for a run will get none."""
    with contextlib.suppress(TuningError):
        processes = read_processes()
        if processes.several and processes.leads:
            store = _open_store()
            if store.add(_COUNT_KEY, 1) == 1:
                store.set(_RUN_KEY, "")


def read_problem(folder: Path) -> str | None:
    """The error that another process of the run ended with; None where none has failed."""
    try:
        return (folder / PROBLEM_FILE).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def forget_problem(folder: Path) -> None:
    """Remove what a process of an earlier attempt left."""
    with contextlib.suppress(OSError):
        (folder / PROBLEM_FILE).unlink(missing_ok=True)


@functools.cache
def _open_store() -> Any:
    import torch

    store, _, _ = next(torch.distributed.rendezvous("env://"))
    return store


def follow() -> int:
    """Wait for the run of the leading process and train with it; returns the exit status, 1 for a failure here."""
    processes, store = read_processes(), _open_store()
    while not store.check([_RUN_KEY]):
        time.sleep(_POLL_SECONDS)
    folder = store.get(_RUN_KEY).decode()
    if not folder:
        return 0
    status = _await_start(Path(folder))
    return _Follower(Path(folder), processes).work(status) if status.live else 0


def _await_start(folder: Path) -> RunStatus:
    while (status := load_derived_status(folder)).state == "queued":
        time.sleep(_POLL_SECONDS)
    return status


class _Follower:
    """A process that trains on the run of the leading one."""

    def __init__(self, folder: Path, processes: Processes) -> None:
        self._folder = folder
        self._processes = processes
        self._asked_to_stop = threading.Event()
        self._done = threading.Event()

    def work(self, status: RunStatus) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._asked_to_stop.set())
        threading.Thread(target=self._watch, daemon=True).start()
        try:
            self._train(resume=status.attempt > 1)
        except BaseException as problem:
            return self._report(problem)
        finally:
            self._done.set()
        return 0

    def _train(self, resume: bool) -> None:
        spec = load_run(self._folder).spec
        if spec is None:
            raise RunError(f"{self._folder}: the spec cannot be read.")
        if spec.method not in TRAINED_METHODS:
            return
        outcome = RunOutcome()
        load_corpora(spec, outcome)
        use_free_cores()
        from kslottery_core.tuning import tune

        device = resolve_device(self._processes.choose_device(spec.device))
        tune(
            build_task(spec, outcome, device),
            self._folder / CHECKPOINTS_FOLDER,
            should_stop=self._asked_to_stop.is_set,
            resume=resume,
        )

    def _report(self, problem: BaseException) -> int:
        """Write down for the leading process, which may be waiting for this one, what happened here."""
        if not load_derived_status(self._folder).live:  # it ended before, and this is only the consequence
            return 0
        known = isinstance(problem, KSLotteryError)
        if not known:
            traceback.print_exception(problem)
        sentence = str(problem) if known else f"it ended with an unexpected {type(problem).__name__}"
        text = sentence if known else f"process {self._processes.rank} of {self._processes.count}: {sentence}"
        with contextlib.suppress(OSError):
            (self._folder / PROBLEM_FILE).write_text(text, encoding="utf-8")
        return 1

    def _watch(self) -> None:
        """Exit when the run has ended: this process may hang waiting for the leading one."""
        while not self._done.wait(_POLL_SECONDS):
            status = load_derived_status(self._folder)
            if not status.live and not self._done.wait(_PARTING_SECONDS):
                os._exit(0 if status.state in ("finished", "cancelled") else 1)
