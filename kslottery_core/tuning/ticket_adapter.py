"""Tuned tickets as PEFT adapters of the type TrainableTokens, and back: the form in which other tools take rows.

Both store the replaced rows themselves, (k, d) float32, so nothing is lost either way. PEFT ties what the model ties:
on a base whose head is its input embedding an adapter always changes both ends.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kslottery_core.errors import TicketError
from kslottery_core.tickets import Ticket, create_list_ticket

if TYPE_CHECKING:
    import torch

ADAPTER_TYPE = "TRAINABLE_TOKENS"


@dataclass(frozen=True, eq=False)
class TicketRows:
    """A tuned ticket: its rows (k, d) float32 in the order of its ids, over the base `source`.

    `with_head` says whether they stand in the output head too.
    """

    ticket: Ticket
    rows: "torch.Tensor"
    source: str
    revision: str | None = None
    with_head: bool = False


def save_ticket_adapter(ticket_folder: str | Path, folder: str | Path) -> Path:
    """Write a tuned-ticket folder as a PEFT adapter: adapter_config.json and adapter_model.safetensors in `folder`.

    Raises CheckpointError for a folder that is no tuned ticket, and TicketError for a ticket of input rows alone on a
    tied base, where PEFT would change the head too, and when the disk does not take it.
    """
    from kslottery_core.checkpoints import open_embedding
    from kslottery_core.checkpoints.ticket_folder import changes_head, find_ticket_base, load_ticket_rows

    ticket_folder, folder = Path(ticket_folder), Path(folder)
    source, revision = find_ticket_base(ticket_folder)
    source = str(Path(source).resolve()) if Path(source).exists() else source
    with_head = changes_head(ticket_folder)
    if open_embedding(source, revision=revision).tied and not with_head:
        raise TicketError(
            f"{ticket_folder}: the ticket changes input rows alone, but its base {source} shares them with the output "
            "head, and PEFT's TrainableTokens would change both; export a whole checkpoint, or train the ticket with "
            "input and head."
        )
    token_ids, rows = load_ticket_rows(ticket_folder)
    modules = _find_modules(source, revision)[: 2 if with_head else 1]
    _write_adapter(folder, modules, token_ids.tolist(), rows, source, revision)
    return folder


def _write_adapter(
    folder: Path, modules: list[str], token_ids: list[int], rows: "torch.Tensor", source: str, revision: str | None
) -> None:
    from peft import TrainableTokensConfig
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    config = TrainableTokensConfig(
        token_indices=token_ids,
        target_modules=modules[:1],
        task_type="CAUSAL_LM",
        base_model_name_or_path=source,
        revision=revision,
        inference_mode=True,
    )
    # PEFT ties a tied head by itself, but stores the rows under both names and misses one that is not there.
    tensors = {f"base_model.model.{module}.trainable_tokens_delta": rows.float().clone() for module in modules}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        config.save_pretrained(str(folder))
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    except (OSError, SafetensorError) as problem:
        raise TicketError(f"{folder}: the adapter cannot be written there ({problem}); free some space.") from None


def _find_modules(source: str, revision: str | None) -> list[str]:
    """Paths of input embedding and output head in the model, such as "model.embed_tokens"; files may shorten them."""
    from kslottery_core.checkpoints import load_model, open_embedding
    from kslottery_core.checkpoints.architecture import read_architecture

    model_folder = open_embedding(source, revision=revision).model_folder
    if model_folder is not None and (model_folder / "config.json").is_file():
        found = read_architecture(model_folder / "config.json")
        return [names[0].removesuffix(".weight") for names in (found.input_names, found.output_names) if names]
    model, _ = load_model(source, revision=revision, dtype="auto")  # a GGUF, or an adapter or ticket as the base
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    paths = {id(module): name for name, module in model.named_modules()}
    return [paths[id(end)] for end in ends if end is not None]


def load_ticket_adapter(folder: str | Path) -> TicketRows:
    """Read a PEFT adapter of the type TrainableTokens on its base's input embedding.

    Raises TicketError for an adapter of another type, for ids that repeat or that the base lacks and for rows of
    another width; CheckpointError for files that cannot be read.
    """
    from kslottery_core.checkpoints import label_tokens, open_embedding
    from kslottery_core.checkpoints.adapter import find_adapter_base, load_adapter_rows, read_adapter_config

    folder = Path(folder)
    found = read_adapter_config(folder).get("peft_type")
    if found != ADAPTER_TYPE:
        raise TicketError(
            f"{folder}: expected an adapter of type {ADAPTER_TYPE}, found {found!r}, which is no ticket; open it as a "
            "checkpoint instead."
        )
    source, revision = find_adapter_base(folder)
    source = str(Path(source).resolve()) if Path(source).exists() else source
    base = open_embedding(source, revision=revision)
    token_ids, rows = load_adapter_rows(str(folder), folder, base)
    if tuple(rows.shape) != (len(token_ids), base.shape[1]):
        raise TicketError(
            f"{folder}: expected {len(token_ids):,} rows of width {base.shape[1]}, found {rows.shape[0]:,} of width "
            f"{rows.shape[1]}; the adapter belongs to another base model than {source}."
        )
    labels, _ = label_tokens(base.token_strings, base.special_token_ids, base.shape[0])
    ticket = replace(
        create_list_ticket(token_ids, base.shape[0], labels),
        width=base.shape[1],
        fingerprint_before=base.fingerprint,
        note=f"Read from the PEFT adapter {folder.name}.",
    )
    order = sorted(range(len(token_ids)), key=token_ids.__getitem__)
    return TicketRows(ticket, rows.float()[order].contiguous(), source, revision, with_head=bool(base.tied))
