"""The one matrix that this project is about."""

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def get_input_matrix(model: "PreTrainedModel") -> "torch.nn.Parameter":
    """The model's input embedding matrix, (V, d)."""
    return cast("torch.nn.Parameter", model.get_input_embeddings().weight)
