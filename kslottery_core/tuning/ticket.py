"""Partial Tuning: only the ticket's rows of the input embedding are trained, everything else stays bit-identical.

The frozen rows are gathered as ever; a trained float32 difference of shape (k, d) is looked up by slot and added. So
there is no copy of the (V, d) matrix, no dense gradient of it, and an optimizer never holds an untouched row: weight
decay cannot move one.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class TicketEmbedding(nn.Module):
    """A frozen embedding (V, d) plus a trained float32 difference (k, d) on the ticket's rows.

    Weight decay pulls the difference to zero, that is the rows towards their values before tuning.
    """

    def __init__(self, frozen: nn.Embedding, token_ids: Sequence[int]) -> None:
        super().__init__()
        device = frozen.weight.device
        self.frozen = frozen
        self.delta = nn.Parameter(torch.zeros(len(token_ids), frozen.embedding_dim, dtype=torch.float32, device=device))
        slots = torch.full((frozen.num_embeddings,), -1, dtype=torch.int64, device=device)
        slots[torch.tensor(token_ids, device=device)] = torch.arange(len(token_ids), device=device)
        self.slots: torch.Tensor
        self.register_buffer("slots", slots, persistent=False)
        # Models such as Gemma multiply inside the embedding; the difference lives in the matrix, before that.
        scale = getattr(frozen, "embed_scale", None)
        self.scale = float(scale) if scale is not None else 1.0

    @property
    def weight(self) -> torch.Tensor:
        """The frozen matrix, (V, d): what transformers asks an input embedding for."""
        return self.frozen.weight

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """(B, T) token ids -> (B, T, d)."""
        rows = self.frozen(input_ids)  # (B, T, d)
        slots = self.slots[input_ids]  # (B, T)
        difference = functional.embedding(slots.clamp(min=0), self.delta) * self.scale
        difference = difference * (slots >= 0).unsqueeze(-1)
        return (rows.float() + difference).to(rows.dtype)

    @torch.no_grad()
    def compute_rows(self) -> torch.Tensor:
        """The tuned rows, (k, d) float32: frozen row plus difference, in the order of the token ids."""
        token_ids = (self.slots >= 0).nonzero().squeeze(-1)
        return self.frozen.weight[token_ids].float() + self.delta[self.slots[token_ids]]


def prepare_ticket(model: "PreTrainedModel", token_ids: Sequence[int]) -> int:
    """Freeze the model and put a `TicketEmbedding` in place; returns k * d."""
    model.requires_grad_(False)
    embedding = TicketEmbedding(cast(nn.Embedding, model.get_input_embeddings()), token_ids)
    model.set_input_embeddings(embedding)
    return embedding.delta.numel()


@torch.no_grad()
def merge_ticket(model: "PreTrainedModel") -> torch.Tensor:
    """Write the tuned rows into the matrix and restore the plain embedding; returns the rows, (k, d) float32."""
    embedding = cast(TicketEmbedding, model.get_input_embeddings())
    rows = embedding.compute_rows()
    token_ids = (embedding.slots >= 0).nonzero().squeeze(-1)
    embedding.frozen.weight[token_ids] = rows.to(embedding.frozen.weight.dtype)
    model.set_input_embeddings(embedding.frozen)
    return rows
