"""The matrices of a GGUF file under the names, and in the layout, that transformers gives them.

The conversion to GGUF renames every tensor, reorders the rows of LLaMA's query and key projections (its rotary
embedding pairs neighbours where transformers pairs halves) and turns GPT-2's Conv1D matrices around. Row i can only be
compared with row i of a model folder when that is undone; architectures for which it is not known here keep the file's
own names, so that nothing is paired wrongly.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kslottery_core.checkpoints.gguf_file import (
    PLAIN_TYPES,
    GGUFHeader,
    GGUFRows,
    check_dequantisation,
    read_gguf_header,
)
from kslottery_core.checkpoints.matrix import RowReader
from kslottery_core.checkpoints.parameter_units import ColumnRows
from kslottery_core.checkpoints.parameters import ModelParameters, describe_left_out, split_by_dimension
from kslottery_core.checkpoints.quiet import keep_transformers_quiet
from kslottery_core.checkpoints.row_readers import TensorEntry
from kslottery_core.errors import CheckpointError

if TYPE_CHECKING:
    import torch

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
        return _lay_out(path, header, stored_names.get(name, name))

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


def _lay_out(path: Path, header: GGUFHeader, stored: str) -> RowReader:
    reader: RowReader = GGUFRows(path, header.tensors[stored])
    if _is_turned(header, stored):
        return ColumnRows(reader)
    if header.metadata.get("general.architecture") == "llama":
        for projection in ("q", "k"):
            heads = _count_heads(header, projection)
            if stored.endswith(f".attn_{projection}.weight") and heads and reader.shape[0] % (2 * heads) == 0:
                return UnpermutedRows(reader, heads)
    return reader
