"""A run's `metrics.jsonl`: one line an event, and one event a step however often a step had to be done."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from kslottery_core.progress import ProgressEvent
from kslottery_core.records import replace_file
from kslottery_core.runs.record import METRICS_FILE


class MetricsFile:
    """Appends events. A step that is done again, as after a resumption, replaces what its phase noted from there on."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / METRICS_FILE
        self._last_steps: dict[str, float] = {}
        for event in map(_parse, self._read_lines()):
            if event is not None:
                self._last_steps[event["phase"]] = event["step"]
        self._mend()

    def append(self, event: ProgressEvent) -> None:
        """Write one event. Raises OSError."""
        if event.step <= self._last_steps.get(event.phase, float("-inf")):
            self._forget(event.phase, event.step)
        self._last_steps[event.phase] = event.step
        line = json.dumps(dataclasses.asdict(event), ensure_ascii=False, default=float)
        with self._path.open("a", encoding="utf-8") as metrics:
            metrics.write(line + "\n")

    def _read_lines(self) -> list[bytes]:
        try:
            return self._path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return []

    def _mend(self) -> None:
        """Cut off a line that a killed process left unfinished: the next one would be glued to it."""
        lines = self._read_lines()
        if lines and not lines[-1].endswith(b"\n"):
            replace_file(self._path, b"".join(lines[:-1]))

    def _forget(self, phase: str, step: float) -> None:
        kept = []
        for line in self._read_lines():
            event = _parse(line)
            if event is not None and (event["phase"] != phase or event["step"] < step):
                kept.append(line)
        replace_file(self._path, b"".join(kept))


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(line)
    except ValueError:
        return None
    if not isinstance(content, dict) or not isinstance(content.get("step"), int | float) or "phase" not in content:
        return None
    return content
