"""What a person's string names: a folder of one kind or another, a file, or a model on the hub."""

from dataclasses import dataclass
from pathlib import Path

from kslottery_core.checkpoints.hub import has_hub_form, is_cached
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


def looks_like_hub_id(source: str) -> bool:
    """Whether a string that a person typed means a model on the hub; looks at the disk, never at the network.

    An existing path never does. `org/name` does unless `org` is a folder here (then it is a mistyped path), a bare
    `name` does not; but both do when the hub's local cache already holds such a model.
    """
    text = source.strip()
    if not has_hub_form(text) or _exists(Path(text)):
        return False
    return is_cached(text) or ("/" in text and not Path(text).parent.is_dir())


def check_source(source: str | Path, revision: str | None = None) -> None:
    """Refuse what `open_embedding` could make nothing of, such as a mistyped path; opens no weights, loads no torch.

    A hub id passes by its form: whether the hub has that model is seen when it is opened. Raises CheckpointError.
    """
    find_source(source, revision)


def find_source(source: str | Path, revision: str | None = None) -> Source:
    """Tell what `source` is without opening weights. Raises CheckpointError with what was looked for."""
    text = str(source).strip()
    if not text or (isinstance(source, Path) and source == Path()):
        raise CheckpointError("Expected a checkpoint's path or hub id, found an empty string; choose one.")
    revision = (revision or "").strip() or None
    path = Path(text).expanduser()
    if not _exists(path):
        if isinstance(source, Path) or not looks_like_hub_id(text):
            raise _explain_missing(text, path)
        return Source(text, "hub", None, revision)
    if revision is not None:
        raise CheckpointError(
            f"{text}: a revision ({revision!r}) belongs to a hub id, but this is a local path; leave the revision out."
        )
    try:
        if path.is_dir():
            return _classify_folder(text, path)
        if not path.is_file():
            raise CheckpointError(f"{text}: expected a model folder or a weights file, found a special file.")
        return Source(text, _classify_file(text, path), path)
    except OSError as problem:
        raise CheckpointError(f"{text}: this path cannot be read ({problem}); check its permissions.") from None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, or with a NUL
        return False


def _explain_missing(text: str, path: Path) -> CheckpointError:
    if len(text) > 2 and text[0] == text[-1] and text[0] in "\"'":
        return CheckpointError(
            f"{text}: path not found; expected a path or hub id without quotation marks around it, so take them away."
        )
    if has_hub_form(text) and "/" not in text:
        return CheckpointError(
            f"{text}: path not found, and a name without an organisation is no hub id here; write org/name for a model "
            "on the hub, or the path of a model folder or weights file (./name for one in the current folder)."
        )
    if has_hub_form(text) and path.parent.is_dir():
        return CheckpointError(
            f"{text}: path not found; the folder {path.parent} is here but holds no {path.name}, so this is taken for "
            "a mistyped path and not for a hub id; check its spelling."
        )
    return CheckpointError(
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
