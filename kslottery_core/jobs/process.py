"""The process behind a job: started so that it outlives its caller, found again, signalled with all its children."""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

import kslottery_core
from kslottery_core.jobs.log import LOG_FILE
from kslottery_core.jobs.machine import read_host

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CLOCK_SECONDS = 2.0  # psutil derives start times from the boot time, which moves a little when the clock is set


def start_process(
    module: str, folder: Path, environment: Mapping[str, str], command: Sequence[str] | None = None
) -> "subprocess.Popen[bytes]":
    """Start `module` (or `command`) on a job's folder: own session, no inherited pipes, output to its `log.txt`.

    `environment` is the caller's, to which the place of this package is added. Raises OSError when it cannot start.
    """
    # -P keeps the working folder off the import path; the package's own place is added instead.
    start = tuple(command) if command else (sys.executable, "-P", "-m", module)
    with (folder / LOG_FILE).open("ab") as log:
        return subprocess.Popen(
            [*start, str(folder)],
            cwd=folder.parent,
            env=_add_package(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            close_fds=True,
        )


def _add_package(environment: Mapping[str, str]) -> dict[str, str]:
    added = dict(environment, PYTHONUNBUFFERED="1")
    parent = Path(kslottery_core.__file__).resolve().parent.parent
    if parent.name not in ("site-packages", "dist-packages"):  # a checkout: not importable from elsewhere
        added["PYTHONPATH"] = os.pathsep.join([str(parent), *filter(None, [added.get("PYTHONPATH")])])
    return added


def watch_start(process: "subprocess.Popen[bytes]", on_end: Callable[[int], None]) -> None:
    """Wait for a process in a thread, so that it leaves no zombie; then call `on_end` with its exit status."""
    threading.Thread(target=lambda: on_end(process.wait()), daemon=True).start()


def describe_own_process() -> dict[str, Any]:
    """The fields of a `JobStatus` by which this process is found again."""
    own = psutil.Process()
    return {
        "pid": own.pid,
        "process_started": own.create_time(),
        "process_identity": identify_process(own.pid),
        "host": read_host(),
    }


def identify_process(pid: int) -> str | None:
    """The boot and the clock tick in which a process started, which setting the clock does not change.

    None where the system does not tell them (not Linux), or there is no such process.
    """
    try:
        # The name in parentheses may hold spaces; the start time is field 22 of the line (man proc).
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return f"{_read_boot_id()}:{fields[19]}"
    except (OSError, IndexError):
        return None


@functools.cache
def _read_boot_id() -> str:
    return _BOOT_ID.read_text(encoding="utf-8").strip()


def find_process(status: Any) -> psutil.Process | None:
    """The live process of a `JobStatus` on this host, or None. A later process of the same pid is another one."""
    if status.pid is None or status.host != read_host():
        return None
    try:
        process = psutil.Process(status.pid)
        identity = None if status.process_identity is None else identify_process(status.pid)
        if identity is not None:
            same = identity == status.process_identity
        else:
            started = status.process_started
            same = started is not None and abs(process.create_time() - started) <= _CLOCK_SECONDS
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def signal_process(process: psutil.Process, *, kill: bool) -> bool:
    """Ask a job's process and its children to end, or `kill` them; False when it is gone already.

    Raises PermissionError for somebody else's process.
    """
    try:
        # Only a process that leads its group was launched by us; one in the foreground shares its shell's group.
        if hasattr(os, "killpg") and os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGTERM)
            return True
        children = [] if hasattr(os, "killpg") else process.children(recursive=True)
        _end(process, kill)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                _end(child, kill)
        return True
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
    except psutil.AccessDenied:
        raise PermissionError(f"process {process.pid} belongs to somebody else") from None


def _end(process: psutil.Process, kill: bool) -> None:
    if kill:
        process.kill()
    else:
        process.terminate()
