"""Stores of folders, one folder an item: how they are listed, looked up and added to. Runs and studies are kept so."""

import difflib
import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from kslottery_core.errors import KSLotteryError

_CLOSEST_IDS = 3


def list_folders(root: Path, what: str, error: type[KSLotteryError]) -> tuple[Path, ...]:
    """The folders directly under `root`, hidden ones left out; none when it does not exist.

    Raises `error` when it is no folder; `what` names the items ("runs").
    """
    try:
        return tuple(Path(entry.path) for entry in os.scandir(root) if entry.is_dir() and entry.name[0] != ".")
    except FileNotFoundError:
        return ()
    except OSError as problem:
        raise error(f"{root}: expected the folder of {what}, and it cannot be listed ({problem}).") from None


def describe_unknown(kind: str, plural: str, wanted: str, ids: Sequence[str], root: Path) -> str:
    """One sentence for an id that the store does not have, with the closest ones that it has."""
    if not ids:
        return f"{kind} {wanted!r}: expected a {kind}'s id, found no {plural} at all in {root}."
    close = difflib.get_close_matches(wanted, ids, n=_CLOSEST_IDS, cutoff=0.3) or sorted(ids)[-_CLOSEST_IDS:]
    return f"{kind} {wanted!r}: found no {kind} of that id in {root}; the closest are {', '.join(close)}."


def create_folder(
    root: Path, kind: str, item: str, fill: Callable[[Path, float], None], error: type[KSLotteryError]
) -> Path:
    """Make a folder of a new id (moment, `kind`, chance) under `root`; `fill` gets it and the moment (unix seconds).

    Raises `error` when the disk does not take it; `item` names what the folder is of ("run").
    """
    created = time.time()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(created))
    while True:
        name = f"{stamp}-{kind}-{secrets.token_hex(2)}"
        try:
            # Laid out under a hidden name first, so that no list ever shows a folder without its spec.
            draft = root / f".{name}"
            draft.mkdir(parents=True)
            fill(draft, created)
            draft.rename(root / name)
        except FileExistsError:
            continue
        except OSError as problem:
            raise error(f"{root}: the {item}'s folder cannot be written ({problem}).") from None
        return root / name
