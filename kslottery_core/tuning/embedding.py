"""Embedding tuning: only the input embedding matrix is trained (arXiv 2402.02801, section 3)."""

from typing import TYPE_CHECKING

from kslottery_core.tuning.matrix import get_input_matrix

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def prepare_embedding(model: "PreTrainedModel") -> int:
    """Freeze all but the input embedding matrix (V, d); returns V * d. The head must be untied already.

    Without weight decay, rows of tokens that never occur in the training text stay bit-identical: their gradient is
    zero at every step, and Adam moves nothing on a zero gradient without history.
    """
    model.requires_grad_(False)
    matrix = get_input_matrix(model)
    matrix.requires_grad_(True)
    return matrix.numel()
