"""Partial Tuning: only the ticket's rows of the input embedding are trained, everything else stays bit-identical.

The frozen rows are gathered as ever; a trained float32 difference of shape (k, d) is looked up by slot and added. So
there is no copy of the (V, d) matrix, no dense gradient of it, and an optimizer never holds an untouched row: weight
decay cannot move one.

Where input and output embedding are one matrix, its rows can be trained as what they are, input and head together: a
logit is linear in its row, so hidden @ difference^T is added to the ticket's k columns of the logits.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional

from kslottery_core.errors import TuningError
from kslottery_core.tickets import check_ticket_fits, create_list_ticket
from kslottery_core.tuning.matrix import get_input_matrix, has_tied_head

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class TicketEmbedding(nn.Module):
    """A frozen embedding (V, d) plus a trained float32 difference (k, d) on the ticket's rows.

    Weight decay pulls the difference to zero, that is the rows towards their values before tuning. As in the frozen
    embedding itself, the row of its padding token gets no gradient from here.
    """

    def __init__(self, frozen: nn.Embedding, token_ids: Sequence[int]) -> None:
        super().__init__()
        rows, width = frozen.weight.shape
        device = frozen.weight.device
        self.frozen = frozen
        self.delta = nn.Parameter(torch.zeros(len(token_ids), width, dtype=torch.float32, device=device))
        # Slot k means "no token of the ticket".
        slots = torch.full((rows,), len(token_ids), dtype=torch.int64, device=device)
        slots[torch.tensor(token_ids, device=device)] = torch.arange(len(token_ids), device=device)
        self.slots: torch.Tensor
        self.register_buffer("slots", slots, persistent=False)
        padding = frozen.padding_idx
        self._padding_slot = token_ids.index(padding) if padding is not None and padding in token_ids else None
        # Models such as Gemma multiply inside the embedding; the difference lives in the matrix, before that.
        scale = getattr(frozen, "embed_scale", None)
        self.scale = float(torch.as_tensor(scale).to(frozen.weight.dtype)) if scale is not None else 1.0

    @property
    def weight(self) -> torch.Tensor:
        """The frozen matrix, (V, d): what transformers asks an input embedding for."""
        return self.frozen.weight

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """(B, T) token ids -> (B, T, d)."""
        rows = self.frozen(input_ids)  # (B, T, d)
        slots = self.slots[input_ids]  # (B, T)
        delta: torch.Tensor = self.delta
        if self._padding_slot is not None:
            trained = torch.arange(len(delta), device=delta.device) != self._padding_slot
            delta = torch.where(trained.unsqueeze(-1), delta, delta.detach())
        # How many tokens are the ticket's is known only from the data: a compiled graph would break there, a GPU wait.
        if torch.compiler.is_compiling() or rows.is_cuda:
            return self._add_to_all(rows, slots, delta)
        return self._add_to_chosen(rows, slots, delta)

    def _add_to_all(self, rows: torch.Tensor, slots: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
        """Shapes that follow from B and T alone; tokens outside the ticket get a row of zeros."""
        count, width = delta.shape
        table = torch.cat((delta, delta.new_zeros(1, width)))  # (k + 1, d)
        # The backward of padding_idx passes over the tokens outside the ticket: most of a batch.
        difference = functional.embedding(slots, table, padding_idx=count)  # (B, T, d)
        return self._scale(difference).add_(rows).to(rows.dtype)

    def _add_to_chosen(self, rows: torch.Tensor, slots: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
        """The same sums at the ticket's tokens alone, written into the gathered rows, which nobody else holds."""
        places = (slots < len(delta)).nonzero(as_tuple=True)
        difference = functional.embedding(slots[places], delta)  # (ticket tokens, d)
        return rows.index_put_(places, self._scale(difference).add_(rows[places]).to(rows.dtype))

    def _scale(self, difference: torch.Tensor) -> torch.Tensor:
        return difference if self.scale == 1.0 else difference * self.scale

    @property
    def token_ids(self) -> torch.Tensor:
        """The ticket's ids in ascending order, (k,) int64."""
        return (self.slots < len(self.delta)).nonzero().squeeze(-1)

    @torch.no_grad()
    def compute_rows(self) -> torch.Tensor:
        """The tuned rows, (k, d) float32: frozen row plus difference, in ascending order of the token ids."""
        token_ids = self.token_ids
        return self.frozen.weight[token_ids].float() + self.delta[self.slots[token_ids]]


class TicketHead(nn.Module):
    """The output head of a tied model whose rows move together with those of a `TicketEmbedding`.

    The difference is the embedding's own parameter, so its gradient is the sum of both ends.
    """

    def __init__(self, frozen: nn.Linear, embedding: TicketEmbedding) -> None:
        super().__init__()
        self.frozen = frozen
        self.delta = embedding.delta
        columns = torch.empty(len(embedding.delta), dtype=torch.int64, device=embedding.delta.device)
        columns[embedding.slots[embedding.token_ids]] = embedding.token_ids
        self.columns: torch.Tensor
        self.register_buffer("columns", columns, persistent=False)

    @property
    def weight(self) -> torch.Tensor:
        """The frozen matrix, (V, d), shared with the input embedding."""
        return self.frozen.weight

    @property
    def bias(self) -> torch.Tensor | None:
        """The frozen head's bias, (V,), None where it has none."""
        return self.frozen.bias

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(B, T, d) hidden states -> (B, T, V) logits."""
        logits = self.frozen(hidden)
        change = functional.linear(hidden, self.delta.to(hidden.dtype))  # (B, T, k)
        return logits.index_add_(-1, self.columns, change.to(logits.dtype))


def prepare_ticket(model: "PreTrainedModel", token_ids: Sequence[int], *, with_head: bool = False) -> int:
    """Freeze the model and put a `TicketEmbedding` in place, with the head a `TicketHead` too; returns k * d.

    Raises TicketError for ids that repeat or that the model lacks and TuningError when the head is asked for and is
    not the input matrix.
    """
    rows, width = get_input_matrix(model).shape
    check_ticket_fits(create_list_ticket(token_ids, rows), rows, width)
    if with_head and not has_tied_head(model):
        raise TuningError(
            "ticket_rows: input_and_head needs a model whose output head is its input embedding, found one whose "
            "head is a matrix of its own; train the input rows alone."
        )
    model.requires_grad_(False)
    embedding = TicketEmbedding(cast(nn.Embedding, model.get_input_embeddings()), token_ids)
    if with_head:
        model.set_output_embeddings(TicketHead(cast(nn.Linear, model.get_output_embeddings()), embedding))
    model.set_input_embeddings(embedding)
    return embedding.delta.numel()


@torch.no_grad()
def merge_ticket(model: "PreTrainedModel") -> torch.Tensor:
    """Write the tuned rows into the matrix and restore the plain modules; returns the rows, (k, d) float32.

    The rows are in ascending order of the token ids. A tied matrix is written once and serves both ends.
    """
    embedding = cast(TicketEmbedding, model.get_input_embeddings())
    rows = embedding.compute_rows()
    embedding.frozen.weight[embedding.token_ids] = rows.to(embedding.frozen.weight.dtype)
    model.set_input_embeddings(embedding.frozen)
    head = model.get_output_embeddings()
    if isinstance(head, TicketHead):
        model.set_output_embeddings(head.frozen)
    return rows
