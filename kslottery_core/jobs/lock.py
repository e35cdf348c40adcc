"""One file lock for the whole project: a device, a scan's folder, a run, a study.

The operating system holds it, so it is free again the moment its process ends, however that happens, and a lock file
that was left behind never blocks anybody. Where the system or the file system has no locks the work goes on without.
"""

import contextlib
import errno
import sys
from collections.abc import Iterator
from pathlib import Path

import filelock

# What locking a file fails with where there are no locks, as on some network file systems.
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


@contextlib.contextmanager
def hold_lock(path: Path, *, timeout: float | None = None, holder: str = "") -> Iterator[bool]:
    """Hold the lock file `path` inside the block; its folder is made where it is missing.

    Waits for it without end, or up to `timeout` seconds (0: not at all), and yields False when somebody else has it
    then. `holder` is written into the file, for `read_holder`. Raises OSError when the file cannot be opened.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = None
    if filelock.has_fcntl or sys.platform == "win32":
        # The package's substitute is a file whose presence locks: a killed process would leave it locked.
        lock = filelock.FileLock(path, thread_local=False, fallback_to_soft=False)
        try:
            lock.acquire(timeout=-1 if timeout is None else timeout)
        except filelock.Timeout:
            yield False
            return
        except OSError as problem:
            if problem.errno not in _NO_LOCKS:
                raise
            lock = None
    try:
        with contextlib.suppress(PermissionError):  # Windows lets nobody write into a locked file
            path.write_text(holder, encoding="utf-8")
        yield True
    finally:
        if lock is not None:
            lock.release()


def read_holder(path: Path) -> str:
    """What the holder of a lock wrote into it; empty where that cannot be read. Says nothing about a free lock."""
    try:
        return path.read_text(encoding="utf-8").rstrip()
    except (OSError, UnicodeDecodeError):
        return ""


def locate_job_lock(folder: Path) -> Path:
    """The lock of whoever works on, reopens or removes the job in `folder`.

    It lies in `locks` beside the store, not in the folder, which can then be renamed and removed while it is held.
    """
    return folder.parent.parent / "locks" / f"{folder.name}.lock"
