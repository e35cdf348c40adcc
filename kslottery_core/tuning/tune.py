"""One call for every method: load the model, tune or transfer, save what is new, report what it cost."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kslottery_core.corpora import Corpus, CorpusSpec
from kslottery_core.errors import TuningError
from kslottery_core.progress import OnProgress, ProgressEvent, ShouldStop, ignore_progress, never_stop
from kslottery_core.tickets import Ticket, check_ticket_fits
from kslottery_core.tuning.dataset import Examples, encode_examples
from kslottery_core.tuning.matrix import get_input_matrix
from kslottery_core.tuning.memory import PeakMemory
from kslottery_core.tuning.settings import METHODS, TRAINED_METHODS, TuningSettings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

TIED_NOTE = (
    "The model shares one matrix between input and output embeddings. As in the paper, only input rows change: the "
    "output head keeps its own copy of the values it had."
)


@dataclass(frozen=True)
class TuningReport:
    """What one tuning did and cost; None means not measured. `saved_bytes` is the size of what was written."""

    method: str
    trained_parameters: int
    total_parameters: int
    steps: int
    planned_steps: int
    first_loss: float | None
    final_loss: float | None
    seconds: float | None
    peak_memory_bytes: int | None
    peak_memory_kind: str
    examples: int
    target_tokens: int
    precision: str
    stopped: bool
    untied_head: bool
    saved_path: str | None
    saved_bytes: int | None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, eq=False)
class TunedModel:
    """The model ready to generate, with the ticket's rows merged in."""

    model: "PreTrainedModel"
    tokenizer: Any
    report: TuningReport


def tune(
    method: str,
    *,
    model_source: str,
    revision: str | None = None,
    ticket: Ticket | None = None,
    after_source: str | None = None,
    corpus: Corpus | None = None,
    spec: CorpusSpec | None = None,
    prompt: str | None = None,
    settings: TuningSettings | None = None,
    device: str = "cpu",
    folder: Path,
    output: str = "rows",
    on_progress: OnProgress = ignore_progress,
    should_stop: ShouldStop = never_stop,
) -> TunedModel:
    """Tune `model_source` by one of `METHODS` and save the result below `folder`.

    `ticket` and `transfer` write their rows to `folder/ticket`, and with `output="checkpoint"` a whole model to
    `folder/model` as well; `full` and `embedding` write `folder/model`; `base` writes nothing. A training that was
    stopped is saved as it is. Raises TuningError, TicketError, CheckpointError or CorpusError before any training
    starts, and TuningError at a loss that is no number.
    """
    from kslottery_core.checkpoints import load_model, untie_head

    settings = settings or TuningSettings()
    if method not in METHODS:
        raise TuningError(f"method: expected one of {', '.join(METHODS)}, found {method!r}.")
    if method in ("ticket", "transfer") and ticket is None:
        raise TuningError(f"ticket: the method {method} needs one, found none; select a ticket first.")
    if method == "transfer" and after_source is None:
        raise TuningError("after: the method transfer copies rows from a tuned checkpoint, found none; name it.")
    if method in TRAINED_METHODS and (corpus is None or spec is None or prompt is None):
        raise TuningError(f"training text: the method {method} needs a corpus and a prompt, found none.")

    on_progress(ProgressEvent("load", 0, 1, message=f"loading {model_source}"))
    precision = _choose_precision(settings.precision, device)
    # Only the frozen part may be kept in 16 bits: what is trained stays float32.
    is_frozen = method in ("ticket", "transfer", "base")
    dtype = precision if is_frozen else "float32"
    model, tokenizer = load_model(model_source, revision=revision, dtype=dtype, device=device)
    on_progress(ProgressEvent("load", 1, 1))
    vocabulary_size, width = get_input_matrix(model).shape
    if ticket is not None and method in ("ticket", "transfer"):
        check_ticket_fits(ticket, vocabulary_size, width)
    examples = None
    if method in TRAINED_METHODS:
        assert corpus is not None and spec is not None and prompt is not None
        examples = encode_examples(tokenizer, corpus.pairs, spec, prompt, settings.max_length)
    memory = PeakMemory(device)
    untied = untie_head(model) if method in ("embedding", "ticket", "transfer") else False
    total = sum(parameter.numel() for parameter in model.parameters())
    notes = [TIED_NOTE] if untied else []
    if examples is not None and examples.shortened:
        notes.append(f"{examples.shortened} of {len(examples)} targets were cut at {settings.max_length} tokens.")

    trained, rows, outcome = 0, None, None
    if method == "transfer":
        rows = _transfer(model, after_source, ticket)
        trained = rows.numel()
    elif method in TRAINED_METHODS:
        from kslottery_core.tuning.training import train

        trained = _prepare(method, model, ticket)
        with memory:
            outcome = train(
                model,
                _not_none(examples),
                settings,
                padding_id=tokenizer.pad_token_id,
                device=device,
                autocast=precision == "bfloat16" and not is_frozen,
                folder=folder,
                on_progress=on_progress,
                should_stop=should_stop,
            )
        if method == "ticket":
            from kslottery_core.tuning.ticket import merge_ticket

            rows = merge_ticket(model)
    if outcome is not None and outcome.stopped:
        notes.append(f"Stopped at step {outcome.steps} of {outcome.planned_steps}; what was learned so far is kept.")

    saved_path, saved_bytes = _save(
        method, model, tokenizer, rows, ticket, model_source, revision, folder, output, on_progress
    )
    model.requires_grad_(False).eval()
    report = TuningReport(
        method=method,
        trained_parameters=trained,
        total_parameters=total,
        steps=outcome.steps if outcome else 0,
        planned_steps=outcome.planned_steps if outcome else 0,
        first_loss=outcome.first_loss if outcome else None,
        final_loss=outcome.final_loss if outcome else None,
        seconds=outcome.seconds if outcome else None,
        peak_memory_bytes=memory.peak_bytes if outcome else None,
        peak_memory_kind=memory.kind,
        examples=len(examples) if examples else 0,
        target_tokens=examples.target_tokens if examples else 0,
        precision=precision,
        stopped=outcome.stopped if outcome else False,
        untied_head=untied,
        saved_path=str(saved_path) if saved_path else None,
        saved_bytes=saved_bytes,
        notes=tuple(notes),
    )
    return TunedModel(model, tokenizer, report)


def _not_none(examples: Examples | None) -> Examples:
    if not examples:
        raise TuningError("training text: expected at least one valid pair, found none.")
    return examples


def _choose_precision(precision: str, device: str) -> str:
    import torch

    has_bfloat16 = device.startswith("cuda") and torch.cuda.is_bf16_supported()
    if precision == "auto":
        return "bfloat16" if has_bfloat16 else "float32"
    return precision


def _prepare(method: str, model: "PreTrainedModel", ticket: Ticket | None) -> int:
    if method == "full":
        from kslottery_core.tuning.full import prepare_full

        return prepare_full(model)
    if method == "embedding":
        from kslottery_core.tuning.embedding import prepare_embedding

        return prepare_embedding(model)
    from kslottery_core.tuning.ticket import prepare_ticket

    assert ticket is not None
    return prepare_ticket(model, ticket.token_ids)


def _transfer(model: "PreTrainedModel", after_source: str | None, ticket: Ticket | None) -> "torch.Tensor":
    from kslottery_core.checkpoints import open_embedding
    from kslottery_core.tuning.transfer import transfer_rows

    assert after_source is not None and ticket is not None
    return transfer_rows(model, open_embedding(after_source), ticket.token_ids)


def _save(
    method: str,
    model: "PreTrainedModel",
    tokenizer: Any,
    rows: "torch.Tensor | None",
    ticket: Ticket | None,
    model_source: str,
    revision: str | None,
    folder: Path,
    output: str,
    on_progress: OnProgress,
) -> tuple[Path | None, int | None]:
    from kslottery_core.tuning.saving import (
        measure_folder_bytes,
        save_checkpoint,
        save_ticket_rows,
        write_full_checkpoint,
    )

    if method == "base":
        return None, None
    on_progress(ProgressEvent("save", 0, 1))
    if rows is not None and ticket is not None:
        saved = save_ticket_rows(folder / "ticket", ticket, rows, model_source, revision)
        if output == "checkpoint":
            write_full_checkpoint(saved, folder / "model")
    else:
        saved = save_checkpoint(folder / "model", model, tokenizer)
    on_progress(ProgressEvent("save", 1, 1))
    return saved, measure_folder_bytes(saved)
