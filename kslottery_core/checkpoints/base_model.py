"""The base model that an adapter or a tuned ticket names: beside it, from the current directory, or on the hub."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kslottery_core.errors import CheckpointError


def resolve_base(name: Any, revision: Any, folder: Path, file_name: str) -> tuple[str, str | None]:
    """Where the base called `name` in `folder/file_name` is: (source, revision). Raises CheckpointError without a name.

    A relative path counts from the folder first, then from the current directory; else it stays as it is (a hub id).
    """
    if not isinstance(name, str) or not name.strip():
        raise CheckpointError(f"{folder / file_name}: expected the path or hub id of the base model, found {name!r}.")
    for candidate in (folder / name, Path(name).expanduser()):
        if candidate.exists():
            return str(candidate), None  # a revision means nothing to a local folder
    return name, revision if isinstance(revision, str) else None


def explain_base(folder: Path, base: str, problem: CheckpointError) -> CheckpointError:
    """The error to raise when the base of the adapter or ticket in `folder` fails with `problem`."""
    return CheckpointError(f"{folder}: its base model {base!r} cannot be opened. {problem}")


OpenBase = Callable[[str, str | None], Any]
"""Opens (source, revision) one level deeper; handed in because a base may itself be an adapter or a ticket."""
