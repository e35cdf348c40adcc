"""Where a checkpoint is: a path or a hub id becomes files, and the base model that it builds on is found."""

import os
import re
import socket
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kslottery_core.checkpoints.weight_files import TORCH_SUFFIXES, WEIGHT_FILES
from kslottery_core.errors import CheckpointError

HUB_ID = re.compile(r"(\w[\w.-]*/)?\w[\w.-]{0,95}", re.ASCII)
CONNECT_SECONDS = 5.0
FILE_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".git")


def has_hub_form(text: str) -> bool:
    """Whether `text` is written as the hub writes ids: `org/name`, or the bare `name` of one of its early models."""
    return HUB_ID.fullmatch(text) is not None and not (
        "--" in text or ".." in text or text.endswith(("-", ".", *FILE_SUFFIXES))
    )


def is_cached(repository: str) -> bool:
    """Whether the hub's local cache holds some version of `repository`; looks at the disk alone."""
    from huggingface_hub import constants

    snapshots = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "snapshots"
    return next(snapshots.glob("*"), None) is not None


@dataclass(eq=False)
class HubFiles:
    """The files of `repository` at `revision`, fetched into the cache one at a time.

    After the first file the commit it came from is pinned, so that all files belong together. `unreachable` tells that
    some file was neither in the cache nor could the hub be asked for it.
    """

    repository: str
    revision: str | None = None
    unreachable: bool = False
    folder: Path | None = None

    @property
    def label(self) -> str:
        """What messages call the model: its id, with the revision if one was asked for."""
        return self.repository if self.revision is None else f"{self.repository} (revision {self.revision})"

    @cached_property
    def offline(self) -> bool:
        """Whether the hub cannot be asked. A name that does not resolve is known at once; the library would retry."""
        from huggingface_hub import constants

        if constants.HF_HUB_OFFLINE:
            return True
        if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
            return False  # a proxy resolves names for us
        try:
            host = urllib.parse.urlsplit(constants.ENDPOINT)
            with socket.create_connection((host.hostname or "", host.port or 443), timeout=CONNECT_SECONDS):
                return False
        except OSError:
            return True

    def fetch(self, name: str) -> Path | None:
        """The file's path in the cache, or None where the repository has no such file. Raises CheckpointError."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        pinned = self.revision if self.folder is None else self.folder.name
        try:
            path = Path(hf_hub_download(self.repository, name, revision=pinned, local_files_only=self.offline))
        except LocalEntryNotFoundError:
            self.unreachable = True
            return None
        except EntryNotFoundError:
            return None
        except Exception as problem:
            raise self.explain(problem) from None
        self.folder = self.folder or path.parent
        return path

    def fetch_all(self) -> Path:
        """Download the whole model (safetensors where there are any) and return its folder. Raises CheckpointError."""
        from huggingface_hub import snapshot_download

        formats = ["*.json", "*.txt", "*.model", "*.jinja", "*.safetensors"]
        if self.fetch("model.safetensors.index.json") is None and self.fetch("model.safetensors") is None:
            formats.append("*.bin")
        pinned = self.revision if self.folder is None else self.folder.name
        try:
            return Path(
                snapshot_download(
                    self.repository, revision=pinned, allow_patterns=formats, local_files_only=self.offline
                )
            )
        except Exception as problem:
            raise self.explain(problem) from None

    def explain(self, problem: Exception | None = None) -> CheckpointError:
        """One sentence for what the hub answered; without a problem: nothing usable was found."""
        from huggingface_hub import errors

        if isinstance(problem, errors.GatedRepoError):
            return CheckpointError(
                f"{self.label}: this model is gated on the hub; accept its terms there and log in with `hf auth login`."
            )
        if isinstance(problem, errors.RevisionNotFoundError):
            return CheckpointError(f"{self.label}: the hub has this model but not this revision; check its name.")
        if isinstance(problem, errors.RepositoryNotFoundError):
            return CheckpointError(
                f"{self.label}: there is no such folder here, and the hub has no public model of that name; "
                "check the path or the id (a private model needs `hf auth login`)."
            )
        if isinstance(problem, errors.HFValidationError):
            return CheckpointError(f"{self.label}: this is neither a path that exists nor a valid hub id.")
        return CheckpointError(
            f"{self.label}: there is no such folder here, it is not complete in the local hub cache, and the hub "
            "cannot be reached; check the path, or go online once to download it."
        )


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
