"""What a tuning leaves on disk: a ticket's rows in a few kilobytes, or a whole checkpoint for plain transformers."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kslottery_core.checkpoints.quiet import keep_transformers_quiet
from kslottery_core.errors import TuningError
from kslottery_core.records import save_json
from kslottery_core.tickets import Ticket, save_ticket

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def save_ticket_rows(
    folder: Path, ticket: Ticket, rows: "torch.Tensor", source: str, revision: str | None = None
) -> Path:
    """Write `rows.safetensors` (token_ids (k,), rows (k, d) float32), `ticket.json` and `base.json` to a folder.

    The folder opens as a checkpoint: the base model named in `base.json` with these rows in place.
    """
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_json(folder / "base.json", {"source": source, "revision": revision})
    save_ticket(ticket, folder / "ticket.json")
    token_ids = torch.tensor(ticket.token_ids, dtype=torch.int64)
    save_file({"token_ids": token_ids, "rows": rows.float().cpu().contiguous()}, folder / "rows.safetensors")
    return folder


def save_checkpoint(folder: Path, model: "PreTrainedModel", tokenizer: Any) -> Path:
    """Write a whole checkpoint that plain transformers loads. Raises TuningError when the disk does not take it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with keep_transformers_quiet():
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except OSError as problem:
        raise TuningError(f"{folder}: the checkpoint cannot be written there ({problem}); free some space.") from None
    return folder


def write_full_checkpoint(tuned_folder: str | Path, folder: str | Path) -> Path:
    """Write a tuned-ticket folder out as a full checkpoint in the base's own dtype; untouched values stay identical."""
    from kslottery_core.checkpoints import load_model

    model, tokenizer = load_model(str(tuned_folder), dtype="auto")
    return save_checkpoint(Path(folder), model, tokenizer)


def measure_folder_bytes(folder: Path) -> int:
    """Size on disk of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
