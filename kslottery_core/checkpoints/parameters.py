"""Every matrix of a checkpoint by name, read a few rows or columns at a time."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from kslottery_core.checkpoints.matrix import BLOCK_BYTES, RowReader, compute_file_signature
from kslottery_core.checkpoints.row_readers import TensorEntry
from kslottery_core.errors import CheckpointError, KSInputError

if TYPE_CHECKING:
    import torch

COLUMN_BYTES = 64 * 2**20
"""How much of a matrix is kept turned around at once; a pass over all its rows fills it."""

ENTRY_BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
"""Bytes of one entry by type, on disk and as it is read."""


def get_entry_bytes(dtype: str) -> int:
    """Bytes of one entry of a matrix of this stored type, once it is read (quantised GGUF comes as float32)."""
    return ENTRY_BYTES.get(dtype, ENTRY_BYTES["float32"])


def count_stored_bytes(shape: tuple[int, int], dtype: str) -> int | None:
    """Bytes on disk of a matrix (R, C) of this stored type; None for a type whose size is not known here."""
    entries = shape[0] * shape[1]
    if dtype in ENTRY_BYTES:
        return entries * ENTRY_BYTES[dtype]
    try:
        import gguf

        block_entries, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[dtype.upper()]]
    except (ImportError, KeyError):
        return None
    return entries // block_entries * block_bytes


@dataclass(eq=False)
class _Columns:
    start: int
    stop: int
    values: "torch.Tensor"


@dataclass(frozen=True)
class ColumnRows:
    """The transpose of `base` (R, C): row i is its column i, (C, R). Holds `COLUMN_BYTES` of columns, never all of a
    larger matrix."""

    base: RowReader
    _held: list[_Columns] = field(default_factory=list, compare=False, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """(C, R) of the base (R, C)."""
        return self.base.shape[1], self.base.shape[0]

    @property
    def dtype(self) -> str:
        """The base's stored type."""
        return self.base.dtype

    def read_rows(self, start: int, stop: int) -> "torch.Tensor":
        """Columns start..stop-1 of the base, (stop - start, R). Raises CheckpointError as the base does."""
        held = self._held[0] if self._held else None
        if held is None or not held.start <= start <= stop <= held.stop:
            self._held.clear()  # before the next block is made, so that two are never held
            room = COLUMN_BYTES // (self.shape[1] * get_entry_bytes(self.dtype))
            until = min(max(stop, start + room), self.shape[0])
            held = _Columns(start, until, self._read_columns(start, until))
            self._held.append(held)
        return held.values[start - held.start : stop - held.start]

    def _read_columns(self, start: int, stop: int) -> "torch.Tensor":
        import torch

        columns, rows = self.shape
        step = max(1, BLOCK_BYTES // (columns * get_entry_bytes(self.dtype)))
        values = torch.empty(0)
        for at in range(0, rows, step):
            block = self.base.read_rows(at, min(at + step, rows))[:, start:stop]
            if at == 0:
                values = torch.empty(stop - start, rows, dtype=block.dtype)
            values[:, at : at + len(block)] = block.T
        return values


UNITS = ("row", "column")
"""What one test of a matrix is made of."""


def check_unit(unit: str) -> str:
    """Return `unit`. Raises KSInputError for anything but "row" and "column"."""
    if unit not in UNITS:
        raise KSInputError(f"unit: expected {' or '.join(UNITS)}, found {unit!r}.")
    return unit


@dataclass(frozen=True, eq=False)
class ParameterMatrix:
    """One two-dimensional parameter (R, C) of a checkpoint, read lazily."""

    name: str
    source: str
    reader: RowReader

    @property
    def shape(self) -> tuple[int, int]:
        """(R, C): rows and columns as the model holds them."""
        return self.reader.shape

    @property
    def dtype(self) -> str:
        """Stored type: "float64", "float32", "float16", "bfloat16", or a GGUF quantisation such as "Q4_1"."""
        return self.reader.dtype

    def read_rows(self, start: int, stop: int) -> "torch.Tensor":
        """Rows start..stop-1 as a CPU tensor (stop - start, C) in the stored dtype (float32 for quantised GGUF).

        Raises CheckpointError outside 0 <= start <= stop <= R, or when a file can no longer be read.
        """
        if not 0 <= start <= stop <= self.shape[0]:
            raise CheckpointError(
                f"{self.source}: expected rows of {self.name!r} within 0 to {self.shape[0]}, asked for {start} to "
                f"{stop}."
            )
        return self.reader.read_rows(start, stop)

    def by_unit(self, unit: str) -> RowReader:
        """Its rows for "row"; for "column" its columns as rows, (C, R). Raises KSInputError for another unit."""
        return self.reader if check_unit(unit) == "row" else ColumnRows(self.reader)


@dataclass(frozen=True, eq=False)
class ModelParameters:
    """The matrices of one checkpoint. Construction reads headers, no row; `open_parameters` makes it.

    `kind` is as in EmbeddingMatrix. `entries` describes the two-dimensional parameters in file order, one shard after
    the other; `left_out` those of other dimensions. `stored_names` tells the name in the file where it differs.
    `find_problem` says why a matrix cannot be read as numbers, or None.
    """

    source: str
    kind: str
    entries: Mapping[str, TensorEntry]
    left_out: Mapping[str, TensorEntry]
    open_rows: Callable[[str], RowReader]
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    stored_names: Mapping[str, str] = field(default_factory=dict)
    find_problem: Callable[[str], str | None] = lambda name: None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the two-dimensional parameters, in the order in which the files hold them."""
        return tuple(self.entries)

    @property
    def file_signature(self) -> str:
        """A digest of path, size and modification time of every file behind the parameters."""
        return compute_file_signature("", self.files)

    def shape(self, name: str) -> tuple[int, int]:
        """(R, C) of one matrix. Raises CheckpointError for a name that is not there."""
        rows, columns = self._find(name).shape
        return rows, columns

    def dtype(self, name: str) -> str:
        """Stored type of one matrix. Raises CheckpointError for a name that is not there."""
        return self._find(name).dtype

    def count_bytes(self, name: str) -> int:
        """Bytes of one matrix as it is read (quantised GGUF as float32). Raises CheckpointError as `shape` does."""
        rows, columns = self.shape(name)
        return rows * columns * get_entry_bytes(self.dtype(name))

    def count_stored_bytes(self, name: str) -> int | None:
        """Bytes of one matrix on disk, None for a type whose size is not known. Raises CheckpointError likewise."""
        return count_stored_bytes(self.shape(name), self.dtype(name))

    def open(self, name: str) -> ParameterMatrix:
        """One matrix. Raises CheckpointError for a name that is not there or a type that holds no plain numbers."""
        self._find(name)
        problem = self.find_problem(name)
        if problem is not None:
            raise CheckpointError(problem)
        return ParameterMatrix(name, self.source, self.open_rows(name))

    def matches(self, name: str, pattern: str) -> bool:
        """Whether `name`, or the name that the file has for it, matches the glob `pattern`."""
        stored = self.stored_names.get(name, name)
        return pattern in (name, stored) or fnmatchcase(name, pattern) or fnmatchcase(stored, pattern)

    def _find(self, name: str) -> TensorEntry:
        if name not in self.entries:
            raise CheckpointError(describe_unknown(self, name))
        return self.entries[name]


def describe_unknown(parameters: ModelParameters, pattern: str) -> str:
    """The sentence for a name or pattern that matches no matrix: what it is instead, or what is near it."""
    other = [entry for name, entry in parameters.left_out.items() if parameters.matches(name, pattern)]
    if other:
        dimensions = len(other[0].shape)
        return (
            f"{parameters.source}: expected a matrix, found that {other[0].describe()} has {dimensions} "
            f"dimension{'s' if dimensions != 1 else ''}; a test compares rows or columns, so name a two-dimensional "
            f"parameter, such as {', '.join(parameters.names[:2]) or 'none here'}."
        )
    near = difflib.get_close_matches(pattern, parameters.names, n=3, cutoff=0.3) or list(parameters.names[:3])
    return (
        f"{parameters.source}: expected a matrix whose name matches {pattern!r}, found none among "
        f"{len(parameters.names):,}; near names are {', '.join(near) or 'none'} (* stands for any characters)."
    )


def split_by_dimension(
    entries: Mapping[str, TensorEntry],
) -> tuple[dict[str, TensorEntry], dict[str, TensorEntry]]:
    """(matrices with at least one entry, all other tensors)."""
    matrices = {name: entry for name, entry in entries.items() if len(entry.shape) == 2 and 0 not in entry.shape}
    return matrices, {name: entry for name, entry in entries.items() if name not in matrices}


def describe_left_out(source: str, left_out: Mapping[str, TensorEntry]) -> tuple[str, ...]:
    """A note about tensors that are no matrices; none when there are none."""
    if not left_out:
        return ()
    flat = sum(len(entry.shape) < 2 for entry in left_out.values())
    deep = len(left_out) - flat
    parts = [f"{count:,} {word}" for count, word in ((flat, "one-dimensional"), (deep, "of other dimensions")) if count]
    example = next(iter(left_out.values())).describe()
    return (f"{source}: {' and '.join(parts)} tensors have no rows to compare and are left out (such as {example}).",)
