"""A path or hub id becomes embedding rows that are read lazily, token strings, and a content fingerprint."""

from kslottery_core.checkpoints.matrix import EmbeddingMatrix, count_parameters
from kslottery_core.checkpoints.models import load_model, untie_head
from kslottery_core.checkpoints.opening import open_embedding
from kslottery_core.checkpoints.pair import EmbeddingPair, open_pair
from kslottery_core.checkpoints.sources import check_source, looks_like_hub_id
from kslottery_core.checkpoints.ticket_folder import load_ticket_rows
from kslottery_core.checkpoints.token_labels import TOKEN_KINDS, label_tokens

__all__ = [
    "TOKEN_KINDS",
    "EmbeddingMatrix",
    "EmbeddingPair",
    "check_source",
    "count_parameters",
    "label_tokens",
    "load_model",
    "load_ticket_rows",
    "looks_like_hub_id",
    "open_embedding",
    "open_pair",
    "untie_head",
]
