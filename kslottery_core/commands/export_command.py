"""`export`: what a tuning left behind, in the form that other tools take."""

import shutil
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kslottery_core.errors import RunError
from kslottery_core.records import save_json

ADAPTER_CONFIG = "adapter_config.json"


class ExportForm(StrEnum):
    checkpoint = "checkpoint"
    adapter = "adapter"
    ticket = "ticket"


def export(
    tuned: Annotated[
        str, typer.Argument(help="A run's id, or the folder of a tuned ticket or PEFT adapter.", metavar="TUNED")
    ],
    out: Annotated[Path, typer.Argument(help="A new or empty folder.", metavar="OUT")],
    form: Annotated[
        ExportForm,
        typer.Option(
            "--as",
            help="checkpoint: a whole model for plain transformers; adapter: for PEFT; ticket: rows of a PEFT adapter.",
        ),
    ] = ExportForm.checkpoint,
) -> None:
    """Write what was tuned out as a whole checkpoint or a PEFT adapter, or an adapter's rows as a tuned ticket."""
    from kslottery_core.tuning import load_ticket_adapter, save_ticket_adapter, save_ticket_rows, write_full_checkpoint

    folder = _find_tuned(tuned)
    is_adapter = (folder / ADAPTER_CONFIG).is_file()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"export: expected an empty or new folder, found something at {out}; choose another.")
    if form is ExportForm.checkpoint:
        typer.echo(f"Wrote the whole checkpoint to {write_full_checkpoint(folder, out)}.")
    elif form is ExportForm.adapter:
        typer.echo(
            f"Wrote the adapter to {_copy_adapter(folder, out) if is_adapter else save_ticket_adapter(folder, out)}."
        )
    elif is_adapter:
        rows = load_ticket_adapter(folder)
        saved = save_ticket_rows(out, rows.ticket, rows.rows, rows.source, rows.revision, with_head=rows.with_head)
        typer.echo(f"Wrote the ticket of {rows.ticket.size:,} tokens to {saved}.")
    else:
        raise RunError(f"export: {folder} is a tuned ticket already; choose --as checkpoint or --as adapter.")


def _find_tuned(tuned: str) -> Path:
    """The folder of what was tuned. Raises RunError when there is nothing that can be exported."""
    from kslottery_core.runs import RunStore

    given = Path(tuned)
    checkpoints = None if given.exists() else RunStore().get(tuned).checkpoints
    candidates = [given] if checkpoints is None else [checkpoints / "ticket", checkpoints / "adapter"]
    for folder in candidates:
        if (folder / "rows.safetensors").is_file() or (folder / ADAPTER_CONFIG).is_file():
            return folder
    if checkpoints is not None and (checkpoints / "model").is_dir():
        raise RunError(
            f"export: the run {tuned} left a whole checkpoint already, in {checkpoints / 'model'}; use that."
        )
    raise RunError(
        f"export: expected a tuned ticket or an adapter, found no rows.safetensors and no {ADAPTER_CONFIG} in "
        f"{candidates[0] if checkpoints is None else checkpoints}."
    )


def _copy_adapter(folder: Path, out: Path) -> Path:
    """Copy config and weights; a base that was named from the adapter's folder is named by its whole path instead."""
    from kslottery_core.checkpoints.adapter import ADAPTER_WEIGHTS, find_adapter_base, read_adapter_config

    config = read_adapter_config(folder)
    base, _ = find_adapter_base(folder)
    if Path(base).exists():
        config["base_model_name_or_path"] = str(Path(base).resolve())
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in ADAPTER_WEIGHTS:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, out / name)
        save_json(out / ADAPTER_CONFIG, config)
    except OSError as problem:
        raise RunError(f"export: the adapter cannot be copied to {out} ({problem}).") from None
    return out
