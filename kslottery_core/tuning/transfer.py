"""Partial Transfer: the ticket's rows are copied from the tuned checkpoint; nothing is trained."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from kslottery_core.errors import TuningError
from kslottery_core.tuning.matrix import get_input_matrix

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from kslottery_core.checkpoints import EmbeddingMatrix


@torch.no_grad()
def transfer_rows(model: "PreTrainedModel", after: "EmbeddingMatrix", token_ids: Sequence[int]) -> torch.Tensor:
    """Copy rows of the tuned matrix into the model's input embedding; returns them, (k, d) float32.

    Raises TuningError when the tuned matrix has another width or lacks one of the ids.
    """
    matrix = get_input_matrix(model)  # (V, d)
    rows, width = after.shape
    if width != matrix.shape[1] or rows <= max(token_ids):
        raise TuningError(
            f"after: expected rows of width {matrix.shape[1]} up to id {max(token_ids)}, found {rows} rows of width "
            f"{width}; transfer from the checkpoint that this model was tuned into."
        )
    copied = after.read_token_rows(list(token_ids)).float()
    matrix[torch.tensor(list(token_ids), device=matrix.device)] = copied.to(matrix.device, matrix.dtype)
    return copied
