"""GGUF files: metadata and tensor list from the header, rows dequantised a block at a time.

The header is read here and not by `gguf.GGUFReader`, which builds several NumPy views for each of some 100,000 token
strings (seconds for a small model) and answers a truncated file with whatever NumPy raises. Format: the GGUF
specification, versions 2 and 3, little endian.
"""

import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kslottery_core.checkpoints.library_output import keep_transformers_quiet
from kslottery_core.checkpoints.matrix import EmbeddingMatrix, RowReader
from kslottery_core.checkpoints.parameters import ColumnRows, ModelParameters, describe_left_out, split_by_dimension
from kslottery_core.checkpoints.row_readers import TensorEntry
from kslottery_core.checkpoints.token_strings import TokenTable
from kslottery_core.errors import CheckpointError

if TYPE_CHECKING:
    import torch

EMBEDDING, HEAD = "token_embd.weight", "output.weight"
PLAIN_TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
SCALAR_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
DEEPEST_ARRAY = 8  # real files nest none; a damaged one could nest until Python gives up
UNKNOWN_TOKEN, CONTROL_TOKEN, UNUSED_TOKEN = 2, 3, 5  # tokenizer.ggml.token_type


@dataclass(frozen=True)
class GGUFTensor:
    """`shape` is in torch's order (rows first); `offset` in bytes from the start of the file."""

    name: str
    shape: tuple[int, ...]
    type_id: int
    type_name: str
    row_bytes: int
    offset: int

    @property
    def dtype(self) -> str:
        """As torch names it for plain floats, else the quantisation, such as "Q4_1"."""
        return PLAIN_TYPES.get(self.type_name, self.type_name)


@dataclass(frozen=True)
class GGUFHeader:
    """Everything before the tensors' content: metadata by key, tensors by name."""

    metadata: dict[str, Any]
    tensors: dict[str, GGUFTensor]


class _HeaderCursor:
    def __init__(self, content: mmap.mmap) -> None:
        self.content = content
        self.position = 0

    def take(self, size: int) -> bytes:
        piece = self.content[self.position : self.position + size]
        if len(piece) < size:
            raise EOFError
        self.position += size
        return piece

    def scalar(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def text(self) -> str:
        return self.take(self.scalar("Q")).decode("utf-8", errors="replace")

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind == STRING:
            return self.text()
        if kind != ARRAY:
            return self.scalar(SCALAR_FORMATS[kind])
        if depth == DEEPEST_ARRAY:
            raise ValueError
        item, count = self.scalar("I"), self.scalar("Q")
        if item in SCALAR_FORMATS:
            code = SCALAR_FORMATS[item]
            return struct.unpack(f"<{count}{code}", self.take(count * struct.calcsize(f"<{code}")))
        return tuple(self.value(item, depth + 1) for _ in range(count))


def read_gguf_header(path: Path) -> GGUFHeader:
    """Metadata and tensors of a GGUF file; raises CheckpointError for one that is not complete."""
    try:
        stat = path.stat()
        return _read_header(path, stat.st_size, stat.st_mtime_ns)
    except OSError as problem:
        raise CheckpointError(f"{path}: the file cannot be read ({problem}).") from None


@lru_cache(maxsize=4)
def _read_header(path: Path, size: int, modified: int) -> GGUFHeader:
    """`size` and `modified` are in the cache's key, so that a rewritten file is read again."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _parse_header(_HeaderCursor(content), path, size)
    except (EOFError, struct.error, KeyError, ValueError, OverflowError, MemoryError, TypeError):
        raise CheckpointError(
            f"{path}: expected a complete GGUF file (version 2 or 3, little endian), found {size:,} bytes whose header "
            "breaks off or makes no sense; it is truncated or damaged, so copy or download it again."
        ) from None


def _parse_header(cursor: _HeaderCursor, path: Path, size: int) -> GGUFHeader:
    if cursor.take(4) != b"GGUF" or cursor.scalar("I") not in (2, 3):
        raise ValueError
    tensor_count, value_count = cursor.scalar("Q"), cursor.scalar("Q")
    metadata = {}
    for _ in range(value_count):
        key = cursor.text()
        metadata[key] = cursor.value(cursor.scalar("I"))
    described = []
    for _ in range(tensor_count):
        name, dimensions = cursor.text(), cursor.scalar("I")
        sizes = struct.unpack(f"<{dimensions}Q", cursor.take(8 * dimensions))
        described.append((name, sizes, cursor.scalar("I"), cursor.scalar("Q")))
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or alignment < 1:
        raise CheckpointError(
            f"{path}: expected a positive number of bytes as general.alignment, found {alignment!r}; "
            "the header is damaged, so copy or download the file again."
        )
    start = -(-cursor.position // alignment) * alignment
    for name, sizes, _, _ in described:
        if not sizes:
            raise CheckpointError(
                f"{path}: expected a shape for the tensor {name!r}, found one without dimensions; "
                "the header is damaged, so copy or download the file again."
            )
    tensors = {name: _lay_out(name, sizes, kind, start + offset) for name, sizes, kind, offset in described}
    for tensor in tensors.values():
        needed = tensor.offset + tensor.row_bytes * prod(tensor.shape[:-1])
        if needed > size:
            raise CheckpointError(
                f"{path}: the tensor {tensor.name!r} ends at byte {needed:,} but the file has {size:,}; "
                "it is truncated, so copy or download it again."
            )
    return GGUFHeader(metadata, tensors)


def _lay_out(name: str, sizes: tuple[int, ...], kind: int, offset: int) -> GGUFTensor:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    quantisation = GGMLQuantizationType(kind)
    block_values, block_bytes = GGML_QUANT_SIZES[quantisation]
    if sizes[0] % block_values:
        raise ValueError
    row_bytes = sizes[0] // block_values * block_bytes
    return GGUFTensor(name, tuple(reversed(sizes)), kind, quantisation.name, row_bytes, offset)


@dataclass(frozen=True)
class GGUFRows:
    """Rows of one matrix (V, d) of a GGUF file; quantised ones come dequantised as float32."""

    path: Path
    tensor: GGUFTensor

    @property
    def shape(self) -> tuple[int, int]:
        """(V, d)."""
        return self.tensor.shape[0], self.tensor.shape[1]

    @property
    def dtype(self) -> str:
        """Stored type: a plain float's name, or the quantisation."""
        return self.tensor.dtype

    def read_rows(self, start: int, stop: int) -> "torch.Tensor":
        """Rows start..stop-1, (stop - start, d). Raises CheckpointError when the file can no longer be read."""
        import numpy as np
        import torch
        from gguf.constants import GGMLQuantizationType
        from gguf.quants import dequantize

        size = (stop - start) * self.tensor.row_bytes
        try:
            with self.path.open("rb") as file:
                file.seek(self.tensor.offset + start * self.tensor.row_bytes)
                content = bytearray(file.read(size))
        except OSError as problem:
            raise CheckpointError(f"{self.path}: the file cannot be read ({problem}).") from None
        if len(content) < size:
            raise CheckpointError(f"{self.path}: the file became shorter while it was read; open it again.")
        if self.tensor.type_name in PLAIN_TYPES:
            dtype = getattr(torch, self.dtype)
            if not content:
                return torch.empty(0, self.shape[1], dtype=dtype)
            return torch.frombuffer(content, dtype=dtype).view(stop - start, self.shape[1])
        if not content:
            return torch.empty(0, self.shape[1])
        # As one long row: the package walks over rows in Python, sixteen at a time.
        blocks = np.frombuffer(content, dtype=np.uint8).reshape(1, size)
        values = dequantize(blocks, GGMLQuantizationType(self.tensor.type_id))
        return torch.from_numpy(np.ascontiguousarray(values).reshape(stop - start, self.shape[1]))


def open_gguf(source: str, path: Path, parameter: str | None) -> EmbeddingMatrix:
    """Open the token embedding of a GGUF file, or the matrix `parameter`. Raises CheckpointError."""
    header = read_gguf_header(path)
    tensors, parameter_count = header.tensors, _count_elements(header)
    name = parameter or EMBEDDING
    if name not in tensors:
        listed = ", ".join(list(tensors)[:5])
        raise CheckpointError(
            f"{path}: expected a tensor named {name!r}, found none among {len(tensors)} tensors ({listed}, ...); "
            "name one with --parameter."
        )
    tensor = tensors[name]
    if len(tensor.shape) != 2 or 0 in tensor.shape or tensor.type_name.startswith("I"):
        raise CheckpointError(
            f"{path}: expected an embedding matrix of floats, found "
            f"{TensorEntry(name, tensor.shape, tensor.type_name).describe()}; name another tensor with --parameter."
        )
    check_dequantisation(path, tensor)
    notes: tuple[str, ...] = ()
    if tensor.type_name not in PLAIN_TYPES:
        notes = (
            f"{source} stores its embedding as {tensor.type_name}: rows are dequantised to float32, and the "
            "rounding counts as change unless the other side was made from this very file.",
        )
    return EmbeddingMatrix(
        source=source,
        kind="gguf",
        parameter=name,
        reader=GGUFRows(path, tensor),
        files=(path,),
        model_folder=path.parent,
        load_token_table=_make_table_loader(path),
        find_tied=lambda: HEAD not in tensors if name == EMBEDDING else None,
        notes=notes,
        find_parameter_count=lambda: parameter_count,
    )


def _count_elements(header: GGUFHeader) -> int | None:
    parts = header.metadata.get("split.count", 1)
    # One part of a model that was split over several files lists its own tensors alone.
    return None if parts not in (0, 1) else sum(prod(tensor.shape) for tensor in header.tensors.values())


def check_dequantisation(path: Path, tensor: GGUFTensor) -> None:
    """Raises CheckpointError for a quantisation that the package gguf cannot turn into numbers."""
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import _type_traits

    if tensor.type_name not in PLAIN_TYPES and GGMLQuantizationType(tensor.type_id) not in _type_traits:
        raise CheckpointError(
            f"{path}: the package gguf cannot dequantise {tensor.type_name}, the type of {tensor.name!r}; "
            "convert the model to another quantisation or to F16."
        )


def _make_table_loader(path: Path) -> Callable[[], TokenTable]:
    def load() -> TokenTable:
        return _build_token_table(read_gguf_header(path).metadata)

    return load


def _build_token_table(metadata: dict[str, Any]) -> TokenTable:
    tokens = metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, tuple) or not tokens or not all(isinstance(token, str) for token in tokens):
        return TokenTable(note="The GGUF file holds no tokenizer, so tokens are shown by their id.")
    kinds = metadata.get("tokenizer.ggml.token_type")
    if not isinstance(kinds, tuple) or len(kinds) != len(tokens):
        kinds = (1,) * len(tokens)
    special = {token_id for token_id, kind in enumerate(kinds) if kind in (UNKNOWN_TOKEN, CONTROL_TOKEN)}
    for role in ("bos", "eos", "unknown", "padding", "separator", "cls", "mask"):
        token_id = metadata.get(f"tokenizer.ggml.{role}_token_id")
        if isinstance(token_id, int) and 0 <= token_id < len(tokens):
            special.add(token_id)
    # Converters fill up the vocabulary with placeholders such as [PAD49152]; no text ever becomes one.
    strings = tuple("" if kind == UNUSED_TOKEN else token for token, kind in zip(tokens, kinds, strict=True))
    return TokenTable(strings, frozenset(special))


MODEL_TYPES = {
    "llama": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
    "phi3": "phi3",
    "starcoder2": "starcoder2",
    "stablelm": "stablelm",
    "nemotron": "nemotron",
    "gpt2": "gpt2",
}
"""GGUF architectures whose matrices transformers takes over unchanged, LLaMA's and GPT-2's apart (see below)."""

GPT2_TURNED = ("attn_qkv", "attn_output", "ffn_up", "ffn_down")


@dataclass(frozen=True)
class UnpermutedRows:
    """Rows of a rotary projection of `heads` heads, put back into transformers' order.

    Within a head of 2h rows the file holds row i of the first half at 2i and row i of the second half at 2i + 1.
    """

    base: RowReader
    heads: int

    @property
    def shape(self) -> tuple[int, int]:
        """(R, C) of the base."""
        return self.base.shape

    @property
    def dtype(self) -> str:
        """The base's stored type."""
        return self.base.dtype

    def read_rows(self, start: int, stop: int) -> "torch.Tensor":
        """Rows start..stop-1, (stop - start, C). Raises CheckpointError as the base does."""
        import torch

        size = self.shape[0] // self.heads
        first, last = start // size, -(-stop // size)  # whole heads around what is asked for
        block = self.base.read_rows(first * size, last * size)
        row = torch.arange(start, stop)
        within = row % size
        place = row - within + 2 * (within % (size // 2)) + within // (size // 2)
        return block[place - first * size]


def open_gguf_parameters(source: str, path: Path) -> ModelParameters:
    """Every matrix of a GGUF file. Raises CheckpointError for a damaged file."""
    header = read_gguf_header(path)
    translated = _translate_names(header)
    stored_names = {name: stored for stored, name in translated.items()}
    described = {}
    for stored, tensor in header.tensors.items():
        name = translated.get(stored, stored)
        shape = tensor.shape[::-1] if _is_turned(header, stored) else tensor.shape
        described[name] = TensorEntry(name, shape, tensor.dtype)
    entries, left_out = split_by_dimension(described)

    def open_rows(name: str) -> RowReader:
        return _open_stored_rows(path, header, stored_names.get(name, name))

    def find_problem(name: str) -> str | None:
        tensor = header.tensors[stored_names.get(name, name)]
        if tensor.type_name.startswith("I"):
            return f"{path}: expected a matrix of floats, found {entries[name].describe()}; it cannot be compared."
        try:
            check_dequantisation(path, tensor)
        except CheckpointError as problem:
            return str(problem)
        return None

    return ModelParameters(
        source=source,
        kind="gguf",
        entries=entries,
        left_out=left_out,
        open_rows=open_rows,
        files=(path,),
        notes=(*describe_left_out(source, left_out), *_describe_source(source, header, entries, translated)),
        stored_names=stored_names,
        find_problem=find_problem,
    )


def _describe_source(
    source: str, header: GGUFHeader, entries: dict[str, TensorEntry], translated: dict[str, str]
) -> list[str]:
    notes = []
    quantised = sorted({entry.dtype for entry in entries.values()} - set(PLAIN_TYPES.values()))
    if quantised:
        notes.append(
            f"{source} stores matrices as {', '.join(quantised)}: they are dequantised to float32, and the rounding "
            "counts as change unless the other side was made from this very file."
        )
    architecture = header.metadata.get("general.architecture")
    if not translated:
        notes.append(
            f"{source} has the architecture {architecture!r}, whose tensor names and layout are not translated here: "
            "its matrices keep the names of the file and can be compared with another GGUF of the same kind."
        )
    return notes


def _translate_names(header: GGUFHeader) -> dict[str, str]:
    """The file's name -> transformers' name, for an architecture of `MODEL_TYPES`; empty for any other."""
    architecture = header.metadata.get("general.architecture")
    blocks = header.metadata.get(f"{architecture}.block_count")
    if architecture not in MODEL_TYPES or type(blocks) is not int or not 0 < blocks <= 1000:
        return {}
    if architecture == "llama" and not _count_heads(header, "q"):
        return {}
    from gguf.constants import MODEL_ARCH, MODEL_ARCH_NAMES
    from gguf.tensor_mapping import get_tensor_name_map

    kinds: dict[str, MODEL_ARCH] = {name: kind for kind, name in MODEL_ARCH_NAMES.items()}
    name_map = get_tensor_name_map(kinds[architecture], blocks)
    translated: dict[str, str] = {}
    for name in _list_model_names(MODEL_TYPES[architecture], blocks):
        stored = name_map.get_name(name, try_suffixes=(".weight", ".bias"))
        if stored in header.tensors:
            translated.setdefault(stored, name)
    return translated


def _list_model_names(model_type: str, blocks: int) -> list[str]:
    """Parameter names of a model of that many layers, built without memory; sizes do not matter for names."""
    import torch

    with keep_transformers_quiet():
        from transformers import AutoConfig, AutoModelForCausalLM

        config = AutoConfig.for_model(model_type, num_hidden_layers=1)
        with torch.device("meta"):
            names = list(AutoModelForCausalLM.from_config(config).state_dict())
    repeated: list[str] = []
    for name in names:
        if ".0." in name:
            repeated += [name.replace(".0.", f".{block}.", 1) for block in range(blocks)]
        else:
            repeated.append(name)
    return repeated


def _count_heads(header: GGUFHeader, projection: str) -> int:
    """Heads of the query ("q") or key ("k") projection; 0 when the metadata does not say it in one number."""
    found = header.metadata.get("llama.attention.head_count")
    if projection == "k":
        found = header.metadata.get("llama.attention.head_count_kv", found)
    return found if type(found) is int and found > 0 else 0


def _is_turned(header: GGUFHeader, stored: str) -> bool:
    return header.metadata.get("general.architecture") == "gpt2" and any(
        stored.endswith(f".{part}.weight") for part in GPT2_TURNED
    )


def _open_stored_rows(path: Path, header: GGUFHeader, stored: str) -> RowReader:
    reader: RowReader = GGUFRows(path, header.tensors[stored])
    if _is_turned(header, stored):
        return ColumnRows(reader)
    if header.metadata.get("general.architecture") == "llama":
        for projection in ("q", "k"):
            heads = _count_heads(header, projection)
            if stored.endswith(f".attn_{projection}.weight") and heads and reader.shape[0] % (2 * heads) == 0:
                return UnpermutedRows(reader, heads)
    return reader
