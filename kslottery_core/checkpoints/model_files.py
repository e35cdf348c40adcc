"""The files that decide a whole model: one digest over their content, and when the last of them was changed."""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from kslottery_core.checkpoints.adapter import find_adapter_base
from kslottery_core.checkpoints.opening import DEEPEST_BASE
from kslottery_core.checkpoints.sources import ADAPTER_CONFIG, HubFiles, find_source
from kslottery_core.checkpoints.ticket_folder import find_ticket_base
from kslottery_core.checkpoints.token_strings import TOKENIZER_FILES
from kslottery_core.checkpoints.weight_files import TORCH_SUFFIXES
from kslottery_core.errors import CheckpointError

# Rather one kind too many: a file that decides nothing costs a run that is done again, a missed one a wrong number.
_SUFFIXES = (
    *(".safetensors", ".gguf", *TORCH_SUFFIXES),
    *(".json", ".jinja", ".model", ".txt", ".tiktoken", ".spm", ".vocab", ".bpe", ".py"),
)
_BESIDE_A_FILE = (
    "config.json",
    "generation_config.json",
    "chat_template.jinja",
    "chat_template.json",
    *TOKENIZER_FILES,
)
_OF_TRAINING = ("optimizer.", "scheduler.", "scaler.", "rng_state", "training_args.", "trainer_state.")
_TEMPLATES = "additional_chat_templates"


@dataclass
class _ModelParts:
    """`files` by their name within the model; `pins` say what cannot change; `fetched` lie in the hub's cache."""

    files: list[tuple[str, Path]] = field(default_factory=list)
    pins: list[str] = field(default_factory=list)
    fetched: list[Path] = field(default_factory=list)


def compute_model_digest(source: str | Path, revision: str | None = None) -> str:
    """SHA-256 (hex) of every file that decides the model: weights, config, generation config, tokenizer, templates.

    The same for a copy of the folder. An adapter and a tuned ticket have the files of their base in it too. Of a model
    on the hub the id counts with `revision`, or without one with the commit that is loaded now. Reads all weights
    once; a file that has not changed since is not read again in this process. Raises CheckpointError.
    """
    parts = _list_parts(source, revision)
    digest = hashlib.sha256()
    for pin in parts.pins:
        digest.update(f"{pin}\n".encode())
    for name, path in sorted(parts.files):
        try:
            stat = path.stat()
            content = _digest_file(path, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        except OSError as problem:
            raise CheckpointError(f"{path}: this file cannot be read ({problem}); check its permissions.") from None
        digest.update(f"{name}\0{content}\n".encode())
    return digest.hexdigest()


def find_last_change(source: str | Path, revision: str | None = None) -> float | None:
    """When a file of the model was last written (unix seconds); None for a `revision` on the hub.

    Of a hub id without one the files in the local cache are looked at. Raises CheckpointError.
    """
    parts = _list_parts(source, revision)
    try:
        times = [path.stat().st_mtime for path in (*(path for _, path in parts.files), *parts.fetched)]
    except OSError as problem:
        raise CheckpointError(f"{source}: a file of it cannot be read ({problem}); check its permissions.") from None
    return max(times, default=None)


@lru_cache(maxsize=4096)
def _digest_file(path: Path, inode: int, size: int, modified_ns: int, changed_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _list_parts(source: str | Path, revision: str | None) -> _ModelParts:
    parts = _ModelParts()
    prefix, base = "", (str(source), revision)
    for _ in range(DEEPEST_BASE + 1):
        found = find_source(*base)
        if found.path is None:
            _add_hub_model(parts, found.text, found.revision)
            return parts
        try:
            parts.files += [(f"{prefix}{name}", path) for name, path in _list_files(found.path, found.kind)]
        except OSError as problem:
            raise CheckpointError(f"{found.text}: it cannot be listed ({problem}); check its permissions.") from None
        if found.kind not in ("ticket", "adapter"):
            return parts
        base = find_ticket_base(found.path) if found.kind == "ticket" else find_adapter_base(found.path)
        prefix += "base/"
    raise CheckpointError(f"{source}: its base model leads back to itself; correct the base that it names.")


def _list_files(path: Path, kind: str) -> list[tuple[str, Path]]:
    if path.is_file() and (kind == "gguf" or not (path.parent / "config.json").is_file()):
        beside = [(name, path.parent / name) for name in _BESIDE_A_FILE if (path.parent / name).is_file()]
        return [(path.name, path), *beside]
    folder = path if path.is_dir() else path.parent
    inside = [*folder.iterdir(), *(folder / _TEMPLATES).glob("*")]
    return [
        (file.relative_to(folder).as_posix(), file)
        for file in inside
        if file.suffix in _SUFFIXES and not file.name.startswith((".", *_OF_TRAINING)) and file.is_file()
    ]


def _add_hub_model(parts: _ModelParts, name: str, revision: str | None) -> None:
    if revision is not None:
        parts.pins.append(f"hub {name} {revision}")
        return
    files = HubFiles(name)
    if files.fetch("config.json") is None and files.fetch(ADAPTER_CONFIG) is None:
        raise files.explain()
    assert files.folder is not None, "a file was fetched"
    parts.pins.append(f"hub {name} {files.folder.name}")
    parts.fetched += [path for path in files.folder.rglob("*") if path.is_file()]
