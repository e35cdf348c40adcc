"""The input-embedding matrix of a checkpoint, read a few rows at a time."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from kslottery_core.checkpoints.token_strings import TokenTable
from kslottery_core.errors import CheckpointError

if TYPE_CHECKING:
    import torch

BLOCK_BYTES = 1 << 23
"""How many bytes of rows a pass over the whole matrix holds at once."""


class RowReader(Protocol):
    """Rows of one matrix (V, d) on disk; `dtype` is the name of the stored type."""

    @property
    def shape(self) -> tuple[int, int]:
        """(V, d)."""

    @property
    def dtype(self) -> str:
        """Name of the stored type."""

    def read_rows(self, start: int, stop: int) -> "torch.Tensor":
        """Rows start..stop-1, (stop - start, d), in the stored dtype (float32 for quantised GGUF)."""


@dataclass(frozen=True, eq=False)
class EmbeddingMatrix:
    """One input-embedding matrix (V, d). Construction reads no row; `open_embedding` makes it.

    `kind` is "folder", "safetensors", "bin", "gguf", "adapter", "ticket" or "hub"; `parameter` is the tensor's name in
    the file; `files` are all files that decide its content; `model_folder` is the local folder of the whole model
    (for kind "hub" the cache's snapshot folder, which may hold this tensor's shard alone), None for a lone file.
    """

    source: str
    kind: str
    parameter: str
    reader: RowReader
    files: tuple[Path, ...]
    model_folder: Path | None
    load_token_table: Callable[[], TokenTable]
    find_tied: Callable[[], bool | None]
    notes: tuple[str, ...] = ()
    find_parameter_count: Callable[[], int | None] = lambda: None

    @property
    def shape(self) -> tuple[int, int]:
        """(V, d)."""
        return self.reader.shape

    @property
    def dtype(self) -> str:
        """Stored type: "float64", "float32", "float16", "bfloat16", or a GGUF quantisation such as "Q4_1"."""
        return self.reader.dtype

    @cached_property
    def tied(self) -> bool | None:
        """Whether input and output embedding are one matrix; None when the source cannot tell."""
        return self.find_tied()

    @cached_property
    def token_table(self) -> TokenTable:
        """The tokenizer's strings and special ids, or why there are none; read when first asked for."""
        return self.load_token_table()

    @property
    def token_strings(self) -> tuple[str, ...] | None:
        """The tokenizer's raw strings by id ("" where it has a hole), or None without a tokenizer."""
        return self.token_table.strings

    @property
    def special_token_ids(self) -> frozenset[int]:
        """Ids that the tokenizer marks special or gives a role; empty without a tokenizer."""
        return self.token_table.special_ids

    def read_rows(self, start: int, stop: int) -> "torch.Tensor":
        """Rows start..stop-1 as a CPU tensor (stop - start, d) in the stored dtype (float32 for quantised GGUF).

        Raises CheckpointError outside 0 <= start <= stop <= V, or when the file can no longer be read.
        """
        if not 0 <= start <= stop <= self.shape[0]:
            raise CheckpointError(
                f"{self.source}: expected rows within 0 to {self.shape[0]}, asked for {start} to {stop}."
            )
        return self.reader.read_rows(start, stop)

    def read_token_rows(self, token_ids: Sequence[int]) -> "torch.Tensor":
        """The rows of `token_ids`, in that order, repeats allowed: (len(token_ids), d).

        Raises CheckpointError for an id outside 0..V-1.
        """
        import torch

        wanted = [int(token_id) for token_id in token_ids]
        outside = [token_id for token_id in wanted if not 0 <= token_id < self.shape[0]]
        if outside:
            raise CheckpointError(
                f"{self.source}: token id {outside[0]} is outside the matrix, which has ids 0 to {self.shape[0] - 1}."
            )
        if not wanted:
            return self.reader.read_rows(0, 0)
        slots: dict[int, int] = {}
        blocks = []
        for start, stop in _group_runs(sorted(set(wanted))):
            for token_id in range(start, stop):
                slots[token_id] = len(slots)
            blocks.append(self.reader.read_rows(start, stop))
        return torch.cat(blocks)[[slots[token_id] for token_id in wanted]]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of dtype name, shape and every row's bytes. Reads the whole matrix once, block by block.

        Raises CheckpointError when a file can no longer be read.
        """
        digest = hashlib.sha256(f"{self.dtype} {self.shape[0]} {self.shape[1]}\n".encode())
        block = max(1, BLOCK_BYTES // (self.shape[1] * 4))
        for start in range(0, self.shape[0], block):
            rows = self.reader.read_rows(start, min(start + block, self.shape[0]))
            digest.update(memoryview(_view_bytes(rows)))  # type: ignore[arg-type]
        return digest.hexdigest()

    @property
    def file_signature(self) -> str:
        """A digest of path, size and modification time of every file behind the matrix: a cheap cache key."""
        return compute_file_signature(self.parameter, self.files)


def compute_file_signature(subject: str, files: Sequence[Path]) -> str:
    """SHA-256 (hex) of `subject` and of path, size and modification time of each file; one that is gone counts too."""
    digest = hashlib.sha256(subject.encode())
    for path in sorted({path.resolve() for path in files}):
        try:
            stat = path.stat()
            digest.update(f"\n{path}\0{stat.st_size}\0{stat.st_mtime_ns}".encode())
        except OSError:
            digest.update(f"\n{path}\0gone".encode())
    return digest.hexdigest()


def count_parameters(matrix: EmbeddingMatrix) -> int | None:
    """Number of parameters of the whole model that the matrix belongs to; None where nothing describes a whole model.

    No weight is read: config.json describes the model (a matrix that input and output share counts once), a GGUF's
    header lists its tensors, an adapter or a tuned ticket counts its base.
    """
    return matrix.find_parameter_count()


def _group_runs(sorted_ids: list[int]) -> list[tuple[int, int]]:
    """Neighbouring ids become one (start, stop), so that a dense request is read in few slices."""
    runs: list[tuple[int, int]] = []
    for token_id in sorted_ids:
        if runs and runs[-1][1] == token_id:
            runs[-1] = (runs[-1][0], token_id + 1)
        else:
            runs.append((token_id, token_id + 1))
    return runs


def _view_bytes(rows: "torch.Tensor") -> object:
    import torch

    # Through uint8 because NumPy has no bfloat16.
    return rows.contiguous().view(torch.uint8).numpy()
