"""The columns of a matrix as rows, read in blocks, so that a column can be the unit of a test."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kslottery_core.checkpoints.matrix import BLOCK_BYTES, RowReader

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
