"""What a person at a terminal sees of long work, and how numbers and tables are printed."""

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from kslottery_core.progress import ProgressEvent

PHASE_NAMES = {
    "ks": "comparing rows",
    "scan": "comparing matrices",
    "load": "loading the model",
    "tune": "tuning",
    "generate": "generating",
    "score": "scoring",
    "certify": "certifying",
    "save": "saving",
}


class TerminalProgress:
    """A progress bar for each phase, on standard error and only on a terminal. What the work waits for is a line of its
    own, once. Use as a context manager; call with events."""

    def __init__(self) -> None:
        self._waits_for: str | None = None
        self._bar: Any = None
        self._phase: str | None = None

    def __enter__(self) -> "TerminalProgress":
        return self

    def __call__(self, event: ProgressEvent) -> None:
        from tqdm import tqdm

        if event.phase == "wait":
            if event.message != self._waits_for:
                self._waits_for = event.message
                print(f"queued: {event.message}", file=sys.stderr)
            return
        if event.phase != self._phase:
            self.close()
            self._phase = event.phase
            self._bar = tqdm(
                total=event.total,
                desc=PHASE_NAMES.get(event.phase, event.phase),
                file=sys.stderr,
                disable=not sys.stderr.isatty(),
                dynamic_ncols=True,
                **({"unit": "B", "unit_scale": True} if event.phase == "scan" else {}),
            )
        self._bar.total = event.total
        self._bar.update(event.step - self._bar.n)
        if event.loss is not None:
            self._bar.set_postfix(loss=f"{event.loss:.3f}", refresh=False)
        elif event.phase == "scan" and event.message is not None:
            self._bar.set_postfix_str(event.message, refresh=False)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest cell; the first column is left-aligned, the others right-aligned."""
    cells = [list(header), *[list(row) for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = []
    for row in cells:
        first = row[0].ljust(widths[0])
        rest = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        lines.append("  ".join((first, *rest)).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def format_number(value: float | None, form: str = ".3g", unit: str = "") -> str:
    """A number in the given format with its unit, or the words for one that was not measured."""
    return "not measured" if value is None or value != value else format(value, form) + unit


def format_share(part: int, whole: int) -> str:
    """A percentage with one decimal that says 0.0% and 100.0% of nothing and all alone."""
    share = f"{part / whole:.1%}"
    if share == "100.0%" and part < whole:
        return ">99.9%"
    return "<0.1%" if share == "0.0%" and part else share
