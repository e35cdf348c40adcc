"""Stores of jobs, one folder each: how they are listed, named, added and removed."""

import difflib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kslottery_core.jobs.status import JobKind

HOME_VARIABLE = "KSLOTTERY_HOME"
_CLOSEST_IDS = 3


def get_home() -> Path:
    """The folder for runs, studies, scans and locks: $KSLOTTERY_HOME, or ~/.kslottery."""
    given = os.environ.get(HOME_VARIABLE)
    return Path(given).expanduser().absolute() if given else Path.home() / ".kslottery"


def list_folders(root: Path, kind: JobKind[Any]) -> tuple[Path, ...]:
    """The folders directly under `root`, without hidden ones; none when it does not exist.

    Raises the kind's error when it is not a folder.
    """
    try:
        return tuple(Path(entry.path) for entry in os.scandir(root) if entry.is_dir() and entry.name[0] != ".")
    except FileNotFoundError:
        return ()
    except OSError as problem:
        raise kind.error(
            f"{root}: expected the folder of {kind.plural}, and it cannot be listed ({problem})."
        ) from None


def describe_unknown(kind: JobKind[Any], wanted: str, ids: Sequence[str], root: Path) -> str:
    """One sentence for an id that the store does not have, with the closest ones that it has."""
    if not ids:
        return f"{kind.name} {wanted!r}: expected a {kind.name}'s id, found no {kind.plural} at all in {root}."
    close = difflib.get_close_matches(wanted, ids, n=_CLOSEST_IDS, cutoff=0.3) or sorted(ids)[-_CLOSEST_IDS:]
    return f"{kind.name} {wanted!r}: found no {kind.name} of that id in {root}; the closest are {', '.join(close)}."


def create_folder(root: Path, kind: JobKind[Any], label: str, fill: Callable[[Path, float], None]) -> Path:
    """Make a folder of a new id (time, `label`, random digits) under `root`; `fill` gets it and the unix time.

    Raises the kind's error when it cannot be written.
    """
    created = time.time()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(created))
    while True:
        name = f"{stamp}-{label}-{secrets.token_hex(2)}"
        try:
            # Laid out under a hidden name first, so that no list ever shows a folder without its spec.
            draft = root / f".{name}"
            draft.mkdir(parents=True)
            fill(draft, created)
            draft.rename(root / name)
        except FileExistsError:
            continue
        except OSError as problem:
            raise kind.error(f"{root}: the {kind.name}'s folder cannot be written ({problem}).") from None
        return root / name


def remove_folder(folder: Path, kind: JobKind[Any]) -> None:
    """Remove a job's folder: all of it disappears from the store at once, then it is deleted.

    Raises the kind's error: the folder is untouched when it cannot be renamed, and hidden when only a part of it could
    be deleted.
    """
    hidden = folder.with_name(f".removed-{folder.name}-{secrets.token_hex(2)}")
    try:
        folder.rename(hidden)
    except OSError as problem:
        raise kind.error(f"{kind.name} {folder.name!r}: its folder cannot be deleted ({problem}).") from None
    try:
        shutil.rmtree(hidden)
    except OSError as problem:
        raise kind.error(
            f"{kind.name} {folder.name!r}: it is no longer listed, but a part of it cannot be deleted ({problem}); "
            f"delete {hidden} yourself."
        ) from None


def read_folder_age(folder: Path) -> float:
    """When a folder was last changed (unix seconds), for one whose status cannot be read; 0 when it is gone."""
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0
