"""Tuned tickets: a few kilobytes of replaced rows over a base model.

A folder holds `ticket.json`, `rows.safetensors` ("token_ids" int64 (k,), "rows" float32 (k, d)) and `base.json`
({"source": ..., "revision": ..., "with_head": ...}; the last is true where a tied base's head takes the rows too).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kslottery_core.checkpoints.matrix import EmbeddingMatrix
from kslottery_core.checkpoints.row_readers import list_safetensors, replace_rows
from kslottery_core.checkpoints.sources import TICKET_FILES, OpenBase, explain_base, resolve_base
from kslottery_core.checkpoints.token_strings import list_tokenizer_files, load_token_table
from kslottery_core.errors import CheckpointError
from kslottery_core.records import load_json

if TYPE_CHECKING:
    import torch


def find_ticket_base(folder: Path) -> tuple[str, str | None]:
    """(source, revision) of the base model that base.json names. Raises CheckpointError when it names none."""
    base = _read_base(folder)
    return resolve_base(base.get("source"), base.get("revision"), folder, "base.json")


def changes_head(folder: Path) -> bool:
    """Whether the rows stand in the output head of a tied base too, which then stays tied. Raises CheckpointError."""
    return _read_base(folder).get("with_head") is True


def _read_base(folder: Path) -> dict[str, Any]:
    base = load_json(folder / "base.json", CheckpointError)
    if not isinstance(base, dict):
        raise CheckpointError(f'{folder / "base.json"}: expected {{"source": ..., "revision": ...}}, found {base!r}.')
    return base


def load_ticket_rows(folder: Path) -> "tuple[torch.Tensor, torch.Tensor]":
    """(token_ids (k,) int64, rows (k, d) float32) of a tuned ticket. Raises CheckpointError."""
    from safetensors.torch import load_file

    path = folder / "rows.safetensors"
    found = sorted(list_safetensors(path))
    if not {"token_ids", "rows"} <= set(found):
        raise CheckpointError(f"{path}: expected the tensors token_ids and rows, found {', '.join(found) or 'none'}.")
    tensors = load_file(path)
    return tensors["token_ids"], tensors["rows"]


def open_ticket(source: str, folder: Path, open_base: OpenBase) -> EmbeddingMatrix:
    """The base's embedding with the ticket's rows. Raises CheckpointError."""
    base_name, revision = find_ticket_base(folder)
    try:
        base: EmbeddingMatrix = open_base(base_name, revision)
    except CheckpointError as problem:
        raise explain_base(folder, base_name, problem) from None
    token_ids, rows = load_ticket_rows(folder)
    with_head = changes_head(folder)
    own_tokenizer = list_tokenizer_files(folder)
    return EmbeddingMatrix(
        source=source,
        kind="ticket",
        parameter=base.parameter,
        reader=replace_rows(base.reader, token_ids, rows, source),
        files=(*(folder / name for name in TICKET_FILES), *own_tokenizer, *base.files),
        model_folder=folder,
        load_token_table=(lambda: load_token_table(folder)) if own_tokenizer else base.load_token_table,
        # A tied base is untied when it loads with a ticket of input rows: the head keeps the base's rows.
        find_tied=lambda: False if base.tied and not with_head else base.tied,
        find_parameter_count=base.find_parameter_count,
        notes=(*base.notes, f"{source} is a tuned ticket on {base.source}: {len(token_ids):,} rows are replaced."),
    )
