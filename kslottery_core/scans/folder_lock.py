"""One process a scan folder: two that write the same lines would cut each other off.

The lock is the kernel's (`flock`), so it is free again the moment its process ends, however that happens. Systems and
file systems that have none are written without it; each line then still says to which scan it belongs.
"""

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from kslottery_core.errors import RunError

LOCK_FILE = "scan.lock"


@contextlib.contextmanager
def hold_folder(folder: str | Path) -> Iterator[None]:
    """Make `folder` where it is missing, and keep other processes from scanning into it inside the block.

    Raises RunError at once when another process holds it, or when the folder cannot be written.
    """
    folder = Path(folder)
    try:
        file = _open_locked(folder)
        try:
            file.truncate(0)
            file.write(f"{os.getpid()} {platform.node()}")
            file.flush()
        except OSError:
            file.close()
            raise
    except OSError as problem:
        raise explain_unwritable(folder, problem) from None
    with file:
        yield


def explain_unwritable(folder: Path, problem: OSError) -> RunError:
    """The sentence for a folder that the disk does not let anyone write."""
    return RunError(f"{folder}: the scan cannot be written there ({problem}); choose another folder.")


def _open_locked(folder: Path) -> TextIO:
    path = folder / LOCK_FILE
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
        try:
            _lock(file, folder)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass  # the folder was removed and is about to be made anew: what is locked here is nobody's file
        except BaseException:
            file.close()
            raise
        file.close()


def _lock(file: TextIO, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise RunError(
            f"{folder}: this folder is already being scanned {_describe_holder(file.read())}; wait until that has "
            "ended, or stop it: what is done is kept."
        ) from None
    except OSError:
        return  # a file system without locks


def _describe_holder(content: str) -> str:
    number, _, host = content.partition(" ")
    if not number.isdecimal():
        return "by another process"  # it has the lock and is about to write its number
    if host != platform.node():
        return f"by another process (pid {number} on {host})"
    return "by this process" if int(number) == os.getpid() else f"by another process (pid {number})"
