"""Readers of matrix rows: from a safetensors file, from a torch pickle, and with rows replaced or LoRA-merged."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kslottery_core.checkpoints.library_output import keep_warnings_quiet
from kslottery_core.checkpoints.matrix import RowReader
from kslottery_core.errors import CheckpointError

if TYPE_CHECKING:
    import torch

SAFETENSORS_FLOATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
FLOATS = tuple(SAFETENSORS_FLOATS.values())


@dataclass(frozen=True)
class TensorEntry:
    """What a file's header says about one tensor; `dtype` as torch names it where torch has such floats."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def is_float_matrix(self) -> bool:
        """Whether it could be an embedding: two dimensions (V, d) of a plain float type."""
        return len(self.shape) == 2 and self.dtype in FLOATS

    def describe(self) -> str:
        """Name, shape and dtype for a message, such as "wte.weight (64 × 16, float32)"."""
        return f"{self.name} ({' × '.join(str(size) for size in self.shape)}, {self.dtype})"


def check_matrix(entry: TensorEntry, where: str) -> tuple[int, int]:
    """The entry's (V, d); raises CheckpointError unless it is a non-empty matrix of plain floats."""
    if entry.dtype not in FLOATS:
        raise CheckpointError(
            f"{where}: the tensor {entry.name!r} is stored as {entry.dtype}, a quantised or integer type whose rows "
            "are no embedding values; dequantise first: load the model with transformers (dtype=bfloat16), "
            "save_pretrained it, and open that folder."
        )
    if len(entry.shape) != 2 or 0 in entry.shape:
        raise CheckpointError(
            f"{where}: expected an embedding matrix of shape (vocabulary, width), found {entry.name!r} with shape "
            f"{entry.shape}; name another tensor with --parameter."
        )
    return entry.shape[0], entry.shape[1]


def list_safetensors(path: Path) -> dict[str, TensorEntry]:
    """Every tensor of a .safetensors file, from its header alone; raises CheckpointError for a broken file."""
    entries = {}
    with _open_safetensors(path, "np") as file:  # a header is read without waiting for torch
        for name in file.keys():  # noqa: SIM118 - the handle is no mapping
            tensor = file.get_slice(name)
            dtype = str(tensor.get_dtype())
            entries[name] = TensorEntry(name, tuple(tensor.get_shape()), SAFETENSORS_FLOATS.get(dtype, dtype))
    return entries


def _open_safetensors(path: Path, framework: str = "pt") -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(str(path), framework=framework)
    except SafetensorError as problem:
        raise CheckpointError(
            f"{path}: this is not a complete safetensors file ({problem}; {path.stat().st_size:,} bytes); "
            "it is truncated or damaged, so copy or download it again."
        ) from None
    except OSError as problem:
        # The library says "no such file" of a file that it may not read.
        is_closed = path.exists() and not os.access(path, os.R_OK)
        reason = "permission denied; check its rights" if is_closed else problem
        raise CheckpointError(f"{path}: the file cannot be read ({reason}).") from None


@dataclass(frozen=True)
class SafetensorsRows:
    """Rows of the tensor `name` (V, d) in a safetensors file; `shape` and `dtype` come from its header."""

    path: Path
    name: str
    shape: tuple[int, int]
    dtype: str

    def read_rows(self, start: int, stop: int) -> "torch.Tensor":
        """Rows start..stop-1, (stop - start, d), in the stored dtype. Raises CheckpointError when the file is gone."""
        # Opened for each block: nothing stays mapped, so a file replaced in between fails with a sentence.
        with _open_safetensors(self.path) as file:
            return file.get_slice(self.name)[start:stop]


def load_torch_file(path: Path) -> "Mapping[str, torch.Tensor]":
    """The tensors of a torch pickle, memory-mapped where its format allows; code in the pickle is refused.

    Raises CheckpointError for a file that is unsafe, damaged or holds no tensors.
    """
    import pickle

    import torch

    try:
        with keep_warnings_quiet():
            try:
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except RuntimeError as problem:
                if "mmap" not in str(problem):
                    raise
                content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path}: expected a torch file that holds tensors only, found content that cannot be read safely (Python "
            "objects that could run code, or no pickle at all); it was refused. Save the weights as safetensors."
        ) from None
    # torch answers a damaged file with whatever its zip reader, its unpickler or the standard library raises.
    except Exception as problem:
        reason = str(problem).strip().splitlines()[0] if str(problem).strip() else type(problem).__name__
        raise CheckpointError(
            f"{path}: this torch file is truncated or damaged ({reason}; {path.stat().st_size:,} bytes); "
            "copy or download it again."
        ) from None
    if isinstance(content, torch.Tensor):
        content = {path.stem: content}
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    tensors = {}
    if isinstance(content, Mapping):
        tensors = {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise CheckpointError(f"{path}: expected a mapping of names to tensors, found {type(content).__name__}.")
    return tensors


def describe_torch(name: str, tensor: "torch.Tensor") -> TensorEntry:
    """What a header would say about a tensor of a torch pickle."""
    return TensorEntry(name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))


@dataclass(frozen=True, eq=False)
class TorchRows:
    """Rows of a tensor (V, d) that is already mapped (torch pickles have no cheaper way to one row)."""

    tensor: "torch.Tensor"
    shape: tuple[int, int]
    dtype: str

    def read_rows(self, start: int, stop: int) -> "torch.Tensor":
        """A copy of rows start..stop-1, (stop - start, d), in the stored dtype."""
        return self.tensor[start:stop].detach().clone()


@dataclass(frozen=True, eq=False)
class OverlaidRows:
    """Rows made from those of `base`, with its shape and dtype."""

    base: RowReader

    @property
    def shape(self) -> tuple[int, int]:
        """(V, d) of the base."""
        return self.base.shape

    @property
    def dtype(self) -> str:
        """The base's stored type."""
        return self.base.dtype


@dataclass(frozen=True, eq=False)
class ReplacedRows(OverlaidRows):
    """`base` with the rows `token_ids` (sorted, distinct, (k,) int64) replaced by `rows` (k, d), cast to its dtype."""

    token_ids: "torch.Tensor"
    rows: "torch.Tensor"

    def read_rows(self, start: int, stop: int) -> "torch.Tensor":
        """Rows start..stop-1, (stop - start, d), in the base's dtype. Raises CheckpointError as the base does."""
        block = self.base.read_rows(start, stop)
        inside = (self.token_ids >= start) & (self.token_ids < stop)
        if bool(inside.any()):
            block = block.clone()
            block[self.token_ids[inside] - start] = self.rows[inside].to(block.dtype)
        return block


def replace_rows(base: RowReader, token_ids: "torch.Tensor", rows: "torch.Tensor", where: str) -> ReplacedRows:
    """Check (k,) ids and (k, d) rows against `base`, sort them, and lay them over it. Raises CheckpointError."""
    if token_ids.ndim != 1 or tuple(rows.shape) != (len(token_ids), base.shape[1]):
        raise CheckpointError(
            f"{where}: expected k token ids and k rows of the base's width {base.shape[1]}, found ids of shape "
            f"{tuple(token_ids.shape)} and rows of shape {tuple(rows.shape)}; it belongs to another base model."
        )
    order = token_ids.long().argsort(stable=True)
    token_ids, rows = token_ids.long()[order], rows[order]
    if len(token_ids) and not (int(token_ids[0]) >= 0 and int(token_ids[-1]) < base.shape[0]):
        outside = int(token_ids[0]) if int(token_ids[0]) < 0 else int(token_ids[-1])
        raise CheckpointError(
            f"{where}: token id {outside} is outside the base's vocabulary of {base.shape[0]:,} rows; "
            "it belongs to another base model."
        )
    repeated = token_ids[1:][token_ids[1:] == token_ids[:-1]]
    if len(repeated):
        raise CheckpointError(f"{where}: token id {int(repeated[0])} is given twice; each row may be replaced once.")
    return ReplacedRows(base, token_ids, rows)


@dataclass(frozen=True, eq=False)
class LoraRows(OverlaidRows):
    """`base` plus the low-rank change of an embedding LoRA: rows of (B @ A).T * scaling, A (r, V), B (d, r)."""

    lora_a: "torch.Tensor"
    lora_b: "torch.Tensor"
    scaling: float

    def read_rows(self, start: int, stop: int) -> "torch.Tensor":
        """Rows start..stop-1, (stop - start, d), in the base's dtype. Raises CheckpointError as the base does."""
        block = self.base.read_rows(start, stop)
        change = (self.lora_b.float() @ self.lora_a[:, start:stop].float()).T * self.scaling
        return block + change.to(block.dtype)


@dataclass(frozen=True, eq=False)
class LoraLinearRows(OverlaidRows):
    """`base` (R, C) plus the low-rank change of a linear layer: B @ A * scaling, A (r, C), B (R, r).

    The sum is rounded once to the base's dtype, as PEFT's merge into a linear layer rounds it.
    """

    lora_a: "torch.Tensor"
    lora_b: "torch.Tensor"
    scaling: float

    def read_rows(self, start: int, stop: int) -> "torch.Tensor":
        """Rows start..stop-1, (stop - start, C), in the base's dtype. Raises CheckpointError as the base does."""
        block = self.base.read_rows(start, stop)
        change = self.lora_b[start:stop].float() @ self.lora_a.float() * self.scaling
        return (block + change).to(block.dtype)


@dataclass(frozen=True, eq=False)
class LoraTurnedRows(OverlaidRows):
    """`base` (R, C) plus (B @ A).T * scaling, A (r, R), B (C, r): a linear layer that stores its inputs as rows, as
    GPT-2's Conv1D does (PEFT's fan_in_fan_out). Rounded as `LoraLinearRows`."""

    lora_a: "torch.Tensor"
    lora_b: "torch.Tensor"
    scaling: float

    def read_rows(self, start: int, stop: int) -> "torch.Tensor":
        """Rows start..stop-1, (stop - start, C), in the base's dtype. Raises CheckpointError as the base does."""
        block = self.base.read_rows(start, stop)
        change = (self.lora_b.float() @ self.lora_a[:, start:stop].float()).T * self.scaling
        return (block + change).to(block.dtype)
