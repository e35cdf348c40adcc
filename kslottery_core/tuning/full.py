"""Full fine-tuning: every parameter is trained."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def prepare_full(model: "PreTrainedModel") -> int:
    """Make all parameters trainable; returns how many numbers that is. A tied head stays tied."""
    model.requires_grad_(True)
    return sum(parameter.numel() for parameter in model.parameters())
