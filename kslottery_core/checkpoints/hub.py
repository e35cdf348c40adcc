"""Models named by hub id: only the files that are needed, through huggingface_hub's cache."""

import os
import re
import socket
import urllib.parse
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

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
