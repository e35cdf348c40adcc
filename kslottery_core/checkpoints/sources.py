"""What a person's string names: a folder of one kind or another, a file, or a model on the hub."""

from dataclasses import dataclass
from pathlib import Path

from kslottery_core.checkpoints.hub import looks_like_hub_id
from kslottery_core.checkpoints.weight_files import TORCH_SUFFIXES, WEIGHT_FILES
from kslottery_core.errors import CheckpointError

TICKET_FILES = ("ticket.json", "rows.safetensors", "base.json")
ADAPTER_CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class Source:
    """`text` as given; `kind` as in EmbeddingMatrix; `path` is None for kind "hub"."""

    text: str
    kind: str
    path: Path | None
    revision: str | None = None


def find_source(source: str | Path, revision: str | None = None) -> Source:
    """Tell what `source` is without opening weights. Raises CheckpointError with what was looked for."""
    text = str(source).strip()
    if not text or (isinstance(source, Path) and source == Path()):
        raise CheckpointError("Expected a checkpoint's path or hub id, found an empty string; choose one.")
    revision = (revision or "").strip() or None
    path = Path(text).expanduser()
    try:
        is_here = path.exists()
    except (OSError, ValueError):  # a name too long, or with a NUL
        is_here = False
    if not is_here:
        _check_hub_id(text, path, isinstance(source, Path))
        return Source(text, "hub", None, revision)
    if revision is not None:
        raise CheckpointError(
            f"{text}: a revision ({revision!r}) belongs to a hub id, but this is a local path; leave the revision out."
        )
    if path.is_dir():
        return _classify_folder(text, path)
    if not path.is_file():
        raise CheckpointError(f"{text}: expected a model folder or a weights file, found a special file.")
    return Source(text, _classify_file(text, path), path)


def _check_hub_id(text: str, path: Path, is_path: bool) -> None:
    # "data/befor" with a folder data/ here is a mistyped path, not a model of the organisation "data".
    if is_path or not looks_like_hub_id(text) or path.parent.is_dir():
        raise CheckpointError(
            f"{text}: path not found; expected a model folder, a .safetensors, .bin or .gguf file, an adapter or "
            "tuned-ticket folder, or a hub id such as org/name."
        )


def _classify_folder(text: str, folder: Path) -> Source:
    if all((folder / name).is_file() for name in TICKET_FILES):
        return Source(text, "ticket", folder)
    if (folder / ADAPTER_CONFIG).is_file():
        return Source(text, "adapter", folder)
    if any((folder / name).is_file() for name in WEIGHT_FILES):
        return Source(text, "folder", folder)
    for pattern, kind in (("*.gguf", "gguf"), ("*.safetensors", "safetensors")):
        found = sorted(path.name for path in folder.glob(pattern))
        if len(found) == 1:
            return Source(text, kind, folder / found[0])
        if found:
            raise CheckpointError(
                f"{text}: expected one {pattern[1:]} file or a model that transformers saved, found {len(found)} files "
                f"({', '.join(found[:4])}{', ...' if len(found) > 4 else ''}); give the path of one of them."
            )
    held = sorted(path.name for path in folder.iterdir())
    content = f"only {', '.join(held[:5])}{', ...' if len(held) > 5 else ''}" if held else "an empty folder"
    raise CheckpointError(
        f"{text}: expected a folder with a model ({', '.join(WEIGHT_FILES[::2])}, shards with their index, one .gguf, "
        f"an adapter or a tuned ticket), found {content}."
    )


def _classify_file(text: str, path: Path) -> str:
    if path.suffix == ".safetensors":
        return "safetensors"
    if path.suffix in TORCH_SUFFIXES:
        return "bin"
    with path.open("rb") as file:
        start = file.read(4)
    if path.suffix == ".gguf" or start == b"GGUF":
        return "gguf"
    if start == b"PK\x03\x04":
        return "bin"
    raise CheckpointError(
        f"{text}: expected a .safetensors, .bin, .pt or .gguf file, or a model folder, found a file of another kind."
    )
