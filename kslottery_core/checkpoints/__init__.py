"""A path or hub id becomes embedding rows that are read lazily, token strings, and a content fingerprint."""

from kslottery_core.checkpoints.matrix import EmbeddingMatrix, count_parameters
from kslottery_core.checkpoints.model_files import compute_model_digest, find_last_change
from kslottery_core.checkpoints.models import (
    build_blueprint,
    find_generation_config,
    is_unmerged,
    load_model,
    load_quantized_model,
    untie_head,
)
from kslottery_core.checkpoints.opening import open_embedding
from kslottery_core.checkpoints.pair import (
    EmbeddingPair,
    EmbeddingSeries,
    find_step,
    make_labels,
    open_pair,
    open_series,
)
from kslottery_core.checkpoints.parameter_pair import ParameterPair, open_parameter_pair, open_parameters
from kslottery_core.checkpoints.parameters import ModelParameters, ParameterMatrix
from kslottery_core.checkpoints.sources import check_source, looks_like_hub_id
from kslottery_core.checkpoints.ticket_folder import load_ticket_rows
from kslottery_core.checkpoints.token_strings import TOKEN_KINDS, label_tokens
from kslottery_core.checkpoints.tokenizer import load_tokenizer

__all__ = [
    "TOKEN_KINDS",
    "EmbeddingMatrix",
    "EmbeddingPair",
    "EmbeddingSeries",
    "ModelParameters",
    "ParameterMatrix",
    "ParameterPair",
    "build_blueprint",
    "check_source",
    "compute_model_digest",
    "count_parameters",
    "find_generation_config",
    "find_last_change",
    "find_step",
    "is_unmerged",
    "label_tokens",
    "load_model",
    "load_quantized_model",
    "load_ticket_rows",
    "load_tokenizer",
    "looks_like_hub_id",
    "make_labels",
    "open_embedding",
    "open_pair",
    "open_parameter_pair",
    "open_parameters",
    "open_series",
    "untie_head",
]
