"""A job's `log.txt`: what its process printed, and lines with their time that the program adds."""

import contextlib
import os
import time
from pathlib import Path

LOG_FILE = "log.txt"
_TAIL_BYTES = 65536


def append_log_line(folder: Path, text: str) -> None:
    """Add one line with its time; a disk that is full must not hide how the job ended, so no error is raised."""
    with contextlib.suppress(OSError), (folder / LOG_FILE).open("a", encoding="utf-8") as log:
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")


def read_log_tail(folder: Path, lines: int = 40) -> str:
    """The last lines of the log; of a line that a progress bar rewrote, only its last state."""
    try:
        with (folder / LOG_FILE).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = log.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    shown = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.rstrip().split("\n")]
    return "\n".join(shown[-lines:])
