"""What architectures are, kept on disk: to ask transformers takes seconds, nearly all of them for importing it."""

import contextlib
import hashlib
import importlib.metadata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from kslottery_core.checkpoints.architecture import Architecture, read_architecture
from kslottery_core.errors import CheckpointError
from kslottery_core.records import load_json, read_record, save_json

_VERSION = "1"  # part of every file's name: raise it when `Architecture` changes its meaning


@dataclass(frozen=True)
class _KeptArchitecture:
    transformers: str
    architecture: Architecture


def load_architecture(config_file: Path, folders: Sequence[Path] = ()) -> Architecture:
    """`read_architecture`, or what it said earlier of a config.json of the same content.

    The first of `folders` is the person's own: what is asked anew is kept there, where it can be written, and read for
    the same version of transformers alone. The others come with models and describe just those. Raises CheckpointError
    as `read_architecture` does; refusals are not kept.
    """
    if not folders:
        return read_architecture(config_file)
    name, version = f"architecture-{_digest(config_file)}.json", importlib.metadata.version("transformers")
    for folder in folders:
        with contextlib.suppress(CheckpointError):  # not there, or torn
            content = load_json(folder / name, CheckpointError)
            kept = read_record(_KeptArchitecture, content, str(folder / name), CheckpointError)
            if kept.transformers == version or folder != folders[0]:
                return kept.architecture
    architecture = read_architecture(config_file)
    with contextlib.suppress(OSError):  # a full disk or a closed folder only means to ask again next time
        save_json(folders[0] / name, asdict(_KeptArchitecture(version, architecture)))
    return architecture


def _digest(config_file: Path) -> str:
    try:
        content = config_file.read_bytes()
    except OSError as problem:
        raise CheckpointError(f"{config_file}: the file cannot be read ({problem}); check its permissions.") from None
    return hashlib.sha256(f"{_VERSION}\n".encode() + content).hexdigest()[:32]
