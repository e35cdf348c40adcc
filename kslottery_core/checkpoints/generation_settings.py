"""Where a model's own generation settings stand, whose end tokens decide how long its outputs are."""

from pathlib import Path

from kslottery_core.checkpoints.adapter import find_adapter_base
from kslottery_core.checkpoints.hub import HubFiles
from kslottery_core.checkpoints.opening import DEEPEST_BASE
from kslottery_core.checkpoints.sources import ADAPTER_CONFIG, find_source
from kslottery_core.checkpoints.ticket_folder import find_ticket_base
from kslottery_core.errors import CheckpointError

GENERATION_CONFIG = "generation_config.json"


def find_generation_config(source: str | Path, revision: str | None = None) -> Path | None:
    """The generation_config.json that `load_model` takes settings from; None where there is none.

    Of an adapter or a tuned ticket it is its base's. From the hub this file alone is fetched. Raises CheckpointError.
    """
    return _find(source, revision, depth=0)


def _find(source: str | Path, revision: str | None, *, depth: int) -> Path | None:
    if depth > DEEPEST_BASE:
        raise CheckpointError("Its base model leads back to itself; correct the base that it names.")
    found = find_source(source, revision)
    if found.path is None:
        files = HubFiles(found.text, found.revision)
        if files.fetch("config.json") is None and files.fetch(ADAPTER_CONFIG) is not None:
            assert files.folder is not None, "a file was fetched"
            return _find(*find_adapter_base(files.folder), depth=depth + 1)
        return files.fetch(GENERATION_CONFIG)
    if found.kind == "ticket":
        return _find(*find_ticket_base(found.path), depth=depth + 1)
    if found.kind == "adapter":
        return _find(*find_adapter_base(found.path), depth=depth + 1)
    folder = found.path if found.path.is_dir() else found.path.parent
    path = folder / GENERATION_CONFIG
    return path if path.is_file() else None
