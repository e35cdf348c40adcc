"""The one matrix that this project is about."""

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def get_input_matrix(model: "PreTrainedModel") -> "torch.nn.Parameter":
    """The model's input embedding matrix, (V, d)."""
    return cast("torch.nn.Parameter", model.get_input_embeddings().weight)


def has_tied_head(model: "PreTrainedModel") -> bool:
    """Whether the output head is the input embedding matrix itself."""
    head = model.get_output_embeddings()
    return head is not None and head.weight is get_input_matrix(model)
