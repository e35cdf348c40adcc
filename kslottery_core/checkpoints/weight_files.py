"""The weights of one model: which file holds which tensor, in one file or in shards, safetensors or torch pickles."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kslottery_core.checkpoints.matrix import RowReader
from kslottery_core.checkpoints.row_readers import (
    SafetensorsRows,
    TensorEntry,
    TorchRows,
    check_matrix,
    describe_torch,
    list_safetensors,
    load_torch_file,
)
from kslottery_core.errors import CheckpointError
from kslottery_core.records import load_json

if TYPE_CHECKING:
    import torch

WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""The names that transformers writes, in the order in which it looks for them."""

TORCH_SUFFIXES = (".bin", ".pt", ".pth")


class FileSource(Protocol):
    """Where the files of a model come from: a local folder, or the hub's cache."""

    @property
    def label(self) -> str:
        """What messages call the model."""

    def fetch(self, name: str) -> Path | None:
        """The local path of the file `name`, None where the model has no such file. May raise CheckpointError."""


@dataclass(frozen=True)
class LocalFiles:
    """The files of a model in a local folder; `label` is what messages call it."""

    folder: Path
    label: str

    def fetch(self, name: str) -> Path | None:
        """The file's path, None when the folder has no such file."""
        path = self.folder / name
        return path if path.is_file() else None


@dataclass(eq=False)
class WeightFiles:
    """Tensors of a model by name. `shards` maps a tensor to its file's name; headers are read when asked for."""

    files: FileSource
    shards: dict[str, str]
    used: list[Path] = field(default_factory=list)
    _headers: dict[str, dict[str, TensorEntry]] = field(default_factory=dict)
    _tensors: "dict[str, Mapping[str, torch.Tensor]]" = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Every tensor's name, from the index or the file's header."""
        return list(self.shards)

    def describe(self, name: str) -> TensorEntry:
        """Shape and dtype of one tensor; raises CheckpointError for a tensor that is not there."""
        if name not in self.shards:
            close = difflib.get_close_matches(name, self.shards, n=3, cutoff=0.4) or self.names[:3]
            raise CheckpointError(
                f"{self.files.label}: expected a tensor named {name!r}, found none among {len(self.shards)} tensors; "
                f"similar names are {', '.join(close)}. Name one with --parameter."
            )
        shard = self.shards[name]
        entry = self._read_header(shard).get(name)
        if entry is None:
            raise CheckpointError(
                f"{self.files.label}: the index says that {shard} holds {name!r}, but that file does not; "
                "the files come from different saves, so copy or download all of them again."
            )
        return entry

    def open_rows(self, name: str) -> RowReader:
        """A reader of the matrix `name`; raises CheckpointError unless it is a (V, d) matrix of floats."""
        entry = self.describe(name)
        shape = check_matrix(entry, self.files.label)
        shard = self.shards[name]
        if shard in self._tensors:
            return TorchRows(self._tensors[shard][name], shape, entry.dtype)
        return SafetensorsRows(self._locate(shard), name, shape, entry.dtype)

    def find_only_matrix(self) -> str:
        """The one float matrix of the file; raises CheckpointError that lists the candidates when there are several."""
        entries = [self.describe(name) for name in self.names]
        matrices = [entry for entry in entries if entry.is_float_matrix]
        if len(matrices) == 1:
            return matrices[0].name
        if not matrices:
            found = entries[0].describe() if entries else "no tensor at all"
            raise CheckpointError(
                f"{self.files.label}: expected a two-dimensional tensor of floats, found {len(entries)} tensors, none "
                f"such ({found}{', ...' if len(entries) > 1 else ''}); dequantise weights that are quantised first."
            )
        listed = ", ".join(entry.describe() for entry in matrices[:12])
        more = f" and {len(matrices) - 12} more" if len(matrices) > 12 else ""
        raise CheckpointError(
            f"{self.files.label}: there is no config.json to tell which of {len(matrices)} matrices is the input "
            f"embedding; name one with --parameter: {listed}{more}."
        )

    def share_storage(self, first: str, second: str) -> bool:
        """Whether two tensors of a torch pickle are one block of memory, as tied matrices are saved."""
        tensors = [self._tensors.get(self.shards[name], {}).get(name) for name in (first, second)]
        return (
            all(tensor is not None for tensor in tensors) and len({t.data_ptr() for t in tensors if t is not None}) == 1
        )

    def count_elements(self) -> int:
        """Number of elements of all tensors together, from headers. Raises CheckpointError for a missing shard."""
        return sum(prod(self.describe(name).shape) for name in self.names)

    def _locate(self, shard: str) -> Path:
        path = self.files.fetch(shard)
        if path is None:
            raise CheckpointError(
                f"{self.files.label}: the index names the shard {shard}, which is not there; copy or download it."
            )
        return path

    def _read_header(self, shard: str) -> dict[str, TensorEntry]:
        if shard not in self._headers:
            path = self._locate(shard)
            self.used.append(path)
            if path.suffix in TORCH_SUFFIXES:
                self._tensors[shard] = load_torch_file(path)
                self._headers[shard] = {name: describe_torch(name, t) for name, t in self._tensors[shard].items()}
            else:
                self._headers[shard] = list_safetensors(path)
        return self._headers[shard]


def open_weight_files(files: FileSource) -> WeightFiles | None:
    """Find the weights among a model's files, or None when there are none. Raises CheckpointError for a bad index."""
    for name in WEIGHT_FILES:
        path = files.fetch(name)
        if path is None:
            continue
        if not name.endswith(".json"):
            return open_weight_file(files, name)
        return WeightFiles(files, _read_index(path), used=[path])
    return None


def list_weight_files(files: FileSource) -> tuple[str, ...]:
    """Names of the files that transformers takes a model's weights from: one, or the shards of an index.

    Empty when there are none. Raises CheckpointError for a bad index.
    """
    for name in WEIGHT_FILES:
        path = files.fetch(name)
        if path is not None:
            return tuple(dict.fromkeys(_read_index(path).values())) if name.endswith(".json") else (name,)
    return ()


def open_weight_file(files: FileSource, name: str) -> WeightFiles:
    """The tensors of one file among a model's files. Raises CheckpointError for a broken one."""
    weights = WeightFiles(files, {})
    weights.shards = dict.fromkeys(weights._read_header(name), name)
    return weights


def _read_index(path: Path) -> dict[str, str]:
    index: Any = load_json(path, CheckpointError)
    shards = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise CheckpointError(f'{path}: expected a shard index with a "weight_map", found none; save the model again.')
    for shard in shards.values():
        # A shard lies beside its index; anything else would let an index point anywhere on this machine.
        if Path(shard).name != shard:
            raise CheckpointError(f"{path}: expected shards beside the index, found {shard!r}.")
    return dict(shards)
