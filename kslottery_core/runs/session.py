"""What surrounds the work on a run: its metrics, its heartbeat, and requests to stop."""

import _thread
import contextlib
import dataclasses
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kslottery_core import jobs
from kslottery_core.progress import OnProgress, ProgressEvent
from kslottery_core.records import (
    append_json_line,
    drop_torn_line,
    format_json_lines,
    load_json_lines,
    replace_file,
)
from kslottery_core.runs.record import CANCEL_FILE, METRICS_FILE, RunStatus

HEARTBEAT_SECONDS = 5.0
_WATCH_SECONDS = 0.25
_PROBLEM_SECONDS = 15.0  # for the run to notice by itself that another of its processes has failed
_STATUS_SECONDS = 0.3  # the metrics get every event, the status is written no more often than anyone looks at it
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Cancelled(BaseException):
    """Leaves work that has nothing to save yet; not an Exception, so that no library swallows it."""


class RunSession:
    """What surrounds the work: progress, heartbeat, and requests to stop.

    `find_problem` returns the error that another process of the run failed with; this one, which may be waiting for it,
    then ends.
    """

    def __init__(
        self,
        folder: Path,
        status: RunStatus,
        on_progress: OnProgress,
        find_problem: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.folder = folder
        self._find_problem = find_problem
        self.writer = jobs.StatusWriter(folder, status)
        self.cancelled = threading.Event()
        self.last_step: ProgressEvent | None = None
        self._on_progress = on_progress
        self._nothing_to_keep = True  # until the first step: loading can be left at once
        self._may_interrupt = True
        self._ended = threading.Event()
        self._metrics = MetricsFile(folder)
        self._last_written = 0.0
        self._handles_signals = threading.current_thread() is threading.main_thread()

    def should_stop(self) -> bool:
        """Whether somebody asked the run to stop. Raises Cancelled for a removed folder: nothing is to be saved."""
        if self.is_removed():
            raise Cancelled
        return self._is_asked()

    def _is_asked(self) -> bool:
        if not self.cancelled.is_set() and ((self.folder / CANCEL_FILE).exists() or self.is_removed()):
            self.cancelled.set()
        return self.cancelled.is_set()

    def is_removed(self) -> bool:
        """Whether the run's folder has been removed, so that nobody wants the run any more."""
        return not self.folder.is_dir()

    def write(self, **changes: Any) -> None:
        """Change the status; only in memory when the run's folder was removed. Raises OSError."""
        try:
            self.writer.write(**changes)
        except FileNotFoundError:
            if not self.is_removed():
                raise

    def report(self, event: ProgressEvent) -> None:
        """Write a line to `metrics.jsonl`, and from time to time the status. Raises Cancelled for a removed folder."""
        if self.is_removed():
            raise Cancelled
        self._nothing_to_keep = self._nothing_to_keep and event.phase == "load"
        if event.phase in ("tune", "generate"):
            self.last_step = event
        self._metrics.append(event)
        new_phase = event.phase != self.writer.status.phase
        if new_phase or event.step >= event.total or event.time - self._last_written >= _STATUS_SECONDS:
            self._last_written = event.time
            self.write(phase=event.phase, step=int(event.step), total=int(event.total), message=event.message)
        self._on_progress(event)

    def log(self, text: str) -> None:
        """One line in `log.txt`."""
        jobs.append_log_line(self.folder, text)

    def note_stops_only(self) -> None:
        """From here on there is something to save: a request to stop is only noted, and `should_stop` returns it."""
        self._nothing_to_keep = False

    def raise_nothing(self) -> None:
        """From here on not even a repeated Ctrl-C raises anything."""
        self._nothing_to_keep = False
        self._may_interrupt = False

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Heartbeat and stop requests while the block runs."""
        watcher = threading.Thread(target=self._watch, daemon=True)
        before = {number: signal.getsignal(number) for number in _SIGNALS} if self._handles_signals else {}
        for number in before:
            signal.signal(number, self._handle_signal)
        watcher.start()
        try:
            yield
        finally:
            self._ended.set()
            watcher.join()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle_signal(self, number: int, frame: Any) -> None:
        again = self.cancelled.is_set()
        self.cancelled.set()
        if self._nothing_to_keep:
            self._nothing_to_keep = False
            raise Cancelled
        if again and self._may_interrupt and number == signal.SIGINT:  # somebody at a terminal presses Ctrl-C again
            raise KeyboardInterrupt

    def _leave_for(self, problem: str) -> None:
        """End this process, which is waiting for another one that has failed."""
        if self._ended.wait(_PROBLEM_SECONDS):
            return
        self.log(f"failed: {problem}")
        self.write(state="failed", ended=time.time(), message=problem)
        os._exit(1)

    def _watch(self) -> None:
        last_heartbeat = time.monotonic()
        while not self._ended.wait(_WATCH_SECONDS):
            # Signalling ourselves is the only way to interrupt a long load in another thread.
            if self._nothing_to_keep and self._handles_signals and self._is_asked():
                if sys.platform == "win32":  # where os.kill would end the process
                    _thread.interrupt_main(signal.SIGTERM)
                else:
                    os.kill(os.getpid(), signal.SIGTERM)
            problem = self._find_problem()
            if problem is not None:
                self._leave_for(problem)
            if time.monotonic() - last_heartbeat >= HEARTBEAT_SECONDS:
                last_heartbeat = time.monotonic()
                with contextlib.suppress(OSError):  # the run itself writes to the same disk, and reports the error
                    self.write()


class MetricsFile:
    """A run's `metrics.jsonl`: one line per event, and one event per step however often a step had to be done.

    A step that is done again, as after resuming, replaces what its phase wrote from there on.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / METRICS_FILE
        drop_torn_line(self._path)
        self._last_steps = {event["phase"]: event["step"] for event in self._load_events()}

    def append(self, event: ProgressEvent) -> None:
        """Write one event. Raises OSError."""
        if event.step <= self._last_steps.get(event.phase, float("-inf")):
            kept = (old for old in self._load_events() if old["phase"] != event.phase or old["step"] < event.step)
            replace_file(self._path, format_json_lines(kept))
        self._last_steps[event.phase] = event.step
        append_json_line(self._path, dataclasses.asdict(event))

    def _load_events(self) -> Iterator[dict[str, Any]]:
        for content in load_json_lines(self._path):
            if isinstance(content, dict) and "phase" in content and isinstance(content.get("step"), int | float):
                yield content
