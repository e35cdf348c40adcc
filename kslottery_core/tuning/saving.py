"""What a tuning leaves on disk: a ticket's rows or an adapter beside its base, or a whole checkpoint."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kslottery_core.checkpoints.library_output import keep_transformers_quiet
from kslottery_core.errors import TuningError
from kslottery_core.records import save_json
from kslottery_core.tickets import Ticket, save_ticket

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel


def save_ticket_rows(
    folder: Path,
    ticket: Ticket,
    rows: "torch.Tensor",
    source: str,
    revision: str | None = None,
    *,
    with_head: bool = False,
) -> Path:
    """Write `rows.safetensors` (token_ids (k,), rows (k, d) float32), `ticket.json` and `base.json` to a folder.

    The folder opens as a checkpoint: the base model named in `base.json` with these rows in place, in its input
    embedding alone or, `with_head`, in the one matrix that a tied base uses at both ends.
    """
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_json(folder / "base.json", {"source": source, "revision": revision, "with_head": with_head})
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


def save_adapter(folder: Path, model: "PeftModel", source: str, revision: str | None = None) -> Path:
    """Write a trained PEFT adapter on the base `source`: adapter_config.json and adapter_model.safetensors.

    PEFT's own `save_pretrained` would also ask the hub about the base and add a model card. Raises TuningError when
    the disk does not take it.
    """
    import copy

    from peft import get_peft_model_state_dict
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    config = copy.copy(model.peft_config["default"])
    config.base_model_name_or_path, config.revision = source, revision
    config.inference_mode = True  # what is opened again is used, and trained only where somebody asks for it
    tensors = get_peft_model_state_dict(model, save_embedding_layers=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        config.save_pretrained(str(folder))
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            folder / "adapter_model.safetensors",
            metadata={"format": "pt"},
        )
    except (OSError, SafetensorError) as problem:
        raise TuningError(f"{folder}: the adapter cannot be written there ({problem}); free some space.") from None
    return folder


def write_full_checkpoint(tuned_folder: str | Path, folder: str | Path) -> Path:
    """Write a tuned ticket or a LoRA out as a full checkpoint in the base's own dtype; all else stays identical.

    Raises TuningError for a prefix, which cannot be merged.
    """
    from kslottery_core.checkpoints import is_unmerged, load_model

    model, tokenizer = load_model(str(tuned_folder), dtype="auto")
    if is_unmerged(model):
        raise TuningError(
            f"{tuned_folder}: a prefix is no change of weights and cannot be merged into a whole checkpoint; use it "
            "as an adapter on its base."
        )
    return save_checkpoint(Path(folder), model, tokenizer)


def measure_folder_bytes(folder: Path) -> int:
    """Size on disk of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
