"""PEFT adapters that change embedding rows, laid over their base without loading a model.

Three ways in which PEFT stores embeddings, all read here: TrainableTokens (absolute replacement rows, although the
tensor is called `trainable_tokens_delta`), `modules_to_save` (a whole matrix), and LoRA on the embedding (A and B).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kslottery_core.checkpoints.gguf_file import EMBEDDING as GGUF_EMBEDDING
from kslottery_core.checkpoints.matrix import EmbeddingMatrix, RowReader
from kslottery_core.checkpoints.row_readers import LoraRows, replace_rows
from kslottery_core.checkpoints.sources import ADAPTER_CONFIG, OpenBase, explain_base, resolve_base
from kslottery_core.checkpoints.token_strings import list_tokenizer_files, load_token_table
from kslottery_core.checkpoints.weight_files import LocalFiles, WeightFiles, open_weight_file
from kslottery_core.errors import CheckpointError
from kslottery_core.records import load_json

if TYPE_CHECKING:
    import torch

ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
REPLACED_ROWS = ("trainable_tokens_delta", "token_adapter.trainable_tokens_delta")
WHOLE_MATRIX = ("modules_to_save.weight", "base_layer.weight", "weight")


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """The settings in adapter_config.json. Raises CheckpointError for a file that is missing or holds none."""
    config = load_json(folder / ADAPTER_CONFIG, CheckpointError)
    if not isinstance(config, dict):
        raise CheckpointError(f"{folder / ADAPTER_CONFIG}: expected the settings of a PEFT adapter, found {config!r}.")
    return config


def find_adapter_base(folder: Path) -> tuple[str, str | None]:
    """(source, revision) of the adapter's base model. Raises CheckpointError when its settings name none."""
    config = read_adapter_config(folder)
    return resolve_base(config.get("base_model_name_or_path"), config.get("revision"), folder, ADAPTER_CONFIG)


def open_adapter(source: str, folder: Path, open_base: OpenBase) -> EmbeddingMatrix:
    """The base's embedding with the adapter's rows. Raises CheckpointError for an adapter that changes none."""
    config = read_adapter_config(folder)
    base_name, revision = find_adapter_base(folder)
    try:
        base: EmbeddingMatrix = open_base(base_name, revision)
    except CheckpointError as problem:
        raise explain_base(folder, base_name, problem) from None
    if base.parameter == GGUF_EMBEDDING:
        raise CheckpointError(
            f"{source}: its base {base_name!r} is a GGUF, whose tensors have other names than the adapter's; "
            "merge the adapter with PEFT and save the model."
        )
    weights = open_adapter_weights(source, folder)
    if weights is None:
        raise CheckpointError(
            f"{folder}: expected {' or '.join(ADAPTER_WEIGHTS)} beside {ADAPTER_CONFIG}, found neither."
        )
    reader, note = _lay_over_base(weights, config, base, source)
    own_tokenizer = list_tokenizer_files(folder)
    return EmbeddingMatrix(
        source=source,
        kind="adapter",
        parameter=base.parameter,
        reader=reader,
        files=(folder / ADAPTER_CONFIG, *weights.used, *own_tokenizer, *base.files),
        model_folder=folder,
        load_token_table=(lambda: load_token_table(folder)) if own_tokenizer else base.load_token_table,
        find_tied=lambda: base.tied,
        find_parameter_count=base.find_parameter_count,
        notes=(*base.notes, note),
    )


def find_adapter_vocabulary(folder: Path, module: str) -> int | None:
    """V of the whole matrix that the adapter stores for the embedding `module`, None when it stores none.

    Raises CheckpointError for weights that cannot be read.
    """
    weights = open_adapter_weights(str(folder), folder)
    parts = {} if weights is None else _collect_parts(weights.names, module)
    whole = next((parts[ending] for ending in WHOLE_MATRIX if ending in parts), None)
    return None if weights is None or whole is None else weights.describe(whole).shape[0]


def load_adapter_rows(source: str, folder: Path, base: EmbeddingMatrix) -> "tuple[list[int], torch.Tensor]":
    """(token ids, rows) that the adapter replaces in the embedding of its base, in its own order.

    Raises CheckpointError for an adapter that replaces none there.
    """
    module = base.parameter.removesuffix(".weight")
    weights = open_adapter_weights(source, folder)
    parts = {} if weights is None else _collect_parts(weights.names, module)
    name = next((parts[ending] for ending in REPLACED_ROWS if ending in parts), None)
    if weights is None or name is None:
        raise CheckpointError(f"{source}: expected replaced rows of the input embedding {module!r}, found none.")
    return read_token_indices(read_adapter_config(folder), module, source), read_whole(weights, name)


def open_adapter_weights(source: str, folder: Path) -> WeightFiles | None:
    """The adapter's tensors, None when the folder holds none. Raises CheckpointError for a broken file."""
    files = LocalFiles(folder, source)
    return next((open_weight_file(files, name) for name in ADAPTER_WEIGHTS if files.fetch(name)), None)


def _lay_over_base(
    weights: WeightFiles, config: dict[str, Any], base: EmbeddingMatrix, source: str
) -> tuple[RowReader, str]:
    module = base.parameter.removesuffix(".weight")
    parts = _collect_parts(weights.names, module)
    reader: RowReader = base.reader
    done = []
    for ending in WHOLE_MATRIX:
        if ending in parts:
            reader = weights.open_rows(parts[ending])
            if reader.shape[1] != base.shape[1]:
                raise CheckpointError(
                    f"{source}: the adapter's embedding has width {reader.shape[1]}, its base has {base.shape[1]}; "
                    "it belongs to another base model."
                )
            done.append("a whole embedding matrix")
            break
    if "lora_embedding_A" in parts and "lora_embedding_B" in parts:
        reader = _merge_lora(weights, parts, config, reader, module, source)
        done.append("a LoRA on the embedding")
    for ending in REPLACED_ROWS:
        if ending in parts:
            import torch

            token_ids = torch.tensor(read_token_indices(config, module, source), dtype=torch.int64)
            reader = replace_rows(reader, token_ids, read_whole(weights, parts[ending]), source)
            done.append(f"{len(token_ids):,} replaced rows")
    if not done:
        raise CheckpointError(
            f"{source}: this adapter ({config.get('peft_type')}) changes no row of the input embedding "
            f"{base.parameter!r}, so there is nothing to compare; choose one trained on embedding rows "
            "(TrainableTokens, modules_to_save or LoRA on the embedding), or compare its other matrices with "
            "`kslottery scan` or on the page Layers."
        )
    return reader, f"{source} is an adapter on {base.source}: {' and '.join(done)} over its embedding."


def _collect_parts(names: list[str], module: str) -> dict[str, str]:
    """The adapter's tensors that belong to the embedding module, by what follows the module's name.

    The base's checkpoint may lack the base-model prefix that the adapter's names carry (GPT-2's `wte` is
    `transformer.wte` in the model), so the module's name is looked for at any dot.
    """
    parts = {}
    for name in names:
        head, found, ending = f".{name}".partition(f".{module}.")
        if found and ending and head.count(".") <= 4:
            parts[ending.removesuffix(".default")] = name
    return parts


def read_whole(weights: WeightFiles, name: str) -> Any:
    """A small matrix as one tensor. Raises CheckpointError unless it is a matrix of floats."""
    reader = weights.open_rows(name)
    return reader.read_rows(0, reader.shape[0])


def _merge_lora(
    weights: WeightFiles, parts: dict[str, str], config: dict[str, Any], reader: RowReader, module: str, source: str
) -> LoraRows:
    if config.get("use_dora"):
        raise CheckpointError(
            f"{source}: DoRA on the embedding cannot be read row by row; merge the adapter and save it."
        )
    lora_a, lora_b = read_whole(weights, parts["lora_embedding_A"]), read_whole(weights, parts["lora_embedding_B"])
    rank = lora_a.shape[0]
    if tuple(lora_a.shape[1:]) != reader.shape[:1] or tuple(lora_b.shape) != (reader.shape[1], rank):
        raise CheckpointError(
            f"{source}: the adapter's LoRA on the embedding is for a matrix of {lora_a.shape[1]} × {lora_b.shape[0]}, "
            f"the base's is {reader.shape[0]} × {reader.shape[1]}; it belongs to another base model."
        )
    return LoraRows(reader, lora_a, lora_b, compute_lora_scaling(config, module, rank))


def compute_lora_scaling(config: dict[str, Any], module: str, rank: int) -> float:
    """What PEFT multiplies B @ A of `module` with: alpha / r, or alpha / sqrt(r) for rank-stabilised LoRA."""
    from peft.utils.other import get_pattern_key

    alphas = config.get("alpha_pattern") or {}
    alpha = float(alphas.get(get_pattern_key(list(alphas), module), config.get("lora_alpha", rank)))
    return alpha / (rank**0.5 if config.get("use_rslora") else rank)


def read_token_indices(config: dict[str, Any], module: str, source: str) -> list[int]:
    """The token ids whose rows the adapter replaces in the embedding `module`. Raises CheckpointError."""
    indices = config.get("token_indices") or config.get("trainable_token_indices")
    if isinstance(indices, dict):
        # PEFT's keys are module names or their endings, such as {"embed_tokens": [...], "lm_head": [...]}.
        matching = [
            ids for name, ids in indices.items() if f".{module}".endswith(f".{name}") or name.endswith(f".{module}")
        ]
        indices = matching[0] if matching else None
    if not isinstance(indices, list) or not all(type(token_id) is int for token_id in indices):
        raise CheckpointError(f"{source}: expected a list of token ids in {ADAPTER_CONFIG}, found {indices!r}.")
    return indices
