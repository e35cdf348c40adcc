"""One call for every method: load the model, tune or transfer, save what is new, report what it cost."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kslottery_core.errors import TuningError
from kslottery_core.progress import OnProgress, ProgressEvent, ShouldStop, ignore_progress, never_stop
from kslottery_core.tickets import check_ticket_fits
from kslottery_core.tuning.checkpointing import TRAINING_FOLDER, CheckpointPlan, load_last_checkpoint
from kslottery_core.tuning.dataset import Examples, check_examples_fit, encode_examples
from kslottery_core.tuning.identity import describe_training
from kslottery_core.tuning.matrix import get_input_matrix
from kslottery_core.tuning.memory import PeakMemory
from kslottery_core.tuning.prefix import count_virtual_tokens
from kslottery_core.tuning.processes import Processes, read_processes
from kslottery_core.tuning.quantization import describe_quantization, is_quantized
from kslottery_core.tuning.report import TuningReport, describe_outcome
from kslottery_core.tuning.saving import (
    measure_folder_bytes,
    save_adapter,
    save_checkpoint,
    save_ticket_rows,
    write_full_checkpoint,
)
from kslottery_core.tuning.settings import ADAPTER_METHODS
from kslottery_core.tuning.task import TuningTask

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

TIED_NOTE = (
    "The model shares one matrix between input and output embeddings. As in the paper, only input rows change: the "
    "output head keeps its own copy of the values it had."
)


@dataclass(frozen=True, eq=False)
class TunedModel:
    """The model ready to generate, with a ticket's rows or a LoRA merged in, and behind its prefix where it has one.

    On a quantised model a LoRA stays beside it: merged in, it would be rounded. Of several processes only the leading
    one has a model to generate with.
    """

    model: "PreTrainedModel"
    tokenizer: Any
    report: TuningReport


def tune(
    task: TuningTask,
    folder: Path,
    *,
    on_progress: OnProgress = ignore_progress,
    should_stop: ShouldStop = never_stop,
    on_loaded: Callable[["PreTrainedModel", Any], None] | None = None,
    resume: bool = False,
) -> TunedModel:
    """Perform a task and save the result below `folder`.

    `on_loaded` gets model and tokenizer before anything is trained; what it raises ends the tuning there. While it
    trains, `folder/training` holds the last checkpoint (see `checkpoint_steps`), which stays for the caller to discard;
    with `resume` the training goes on from there as if it had never ended, or begins where there is none.

    `ticket` and `transfer` write their rows to `folder/ticket`, and with `output="checkpoint"` a whole model to
    `folder/model` as well; `lora` and `prefix` write a PEFT adapter to `folder/adapter`, `lora` with a whole model on
    request too; `full` and `embedding` write `folder/model`; `base` writes nothing. A training that was stopped is
    saved as it is. Raises TuningError, TicketError, CheckpointError or CorpusError before any training
    starts, a checkpoint of another training among the reasons, and TuningError at a loss that is no number.
    """
    from kslottery_core.checkpoints import untie_head

    processes = _join_processes(task)
    precision = _choose_precision(task.settings.precision, task.device)
    on_progress(ProgressEvent("load", 0, 1, message=f"loading {task.model}"))
    plain, tokenizer = _load(task, precision, "cpu" if processes.shards else task.device)  # a part goes to each device
    on_progress(ProgressEvent("load", 1, 1))
    _check_model(task, plain)
    model: Any = plain  # or PEFT's model around it
    if task.method == "prefix":  # it takes positions away, which whoever checks the model must see
        from kslottery_core.tuning.prefix import prepare_prefix

        model = prepare_prefix(plain, task.settings.prefix, task.settings.seed)
    if on_loaded is not None:
        on_loaded(model, tokenizer)
    examples = _encode(task, tokenizer, model)
    untied = untie_head(plain) if task.moves_input_rows_alone else False
    total = plain.num_parameters()  # of which some may be packed
    notes = [TIED_NOTE] if untied else []
    if task.ticket is not None and task.ticket.vocabulary_size != get_input_matrix(plain).shape[0]:
        notes.append(
            f"The ticket was made for a vocabulary of {task.ticket.vocabulary_size:,} tokens, this model has "
            f"{get_input_matrix(plain).shape[0]:,} rows."
        )
    if task.settings.quantization != "none":
        notes.append(describe_quantization(task.settings.quantization))
    if examples is not None and examples.shortened:
        notes.append(f"{examples.shortened} of {len(examples)} targets were cut at {task.settings.max_length} tokens.")

    trained, rows, outcome, memory = 0, None, None, PeakMemory(task.device)
    if task.method == "transfer":
        rows = _transfer(plain, task)
    elif examples is not None:
        from kslottery_core.tuning.training import train

        model, trained = _prepare(model, task)
        checkpoints = _plan_checkpoints(task, model, examples, precision, folder, resume, processes)
        with memory:
            outcome = train(
                model,
                examples,
                task.settings,
                padding_id=tokenizer.pad_token_id,
                device=task.device,
                autocast=precision == "bfloat16" and not task.keeps_the_rest_frozen,
                folder=folder,
                on_progress=on_progress,
                should_stop=should_stop,
                memory=memory,
                processes=processes,
                checkpoints=checkpoints,
            )
        memory.include(processes.find_largest(memory.peak_bytes))
        notes += outcome.notes
        if outcome.weights is not None and processes.leads:
            model = plain = _load_weights(task, outcome.weights)
        if task.method == "ticket":
            from kslottery_core.tuning.ticket import merge_ticket

            rows = merge_ticket(plain)
        if outcome.stopped:
            notes.append(f"Stopped at step {outcome.steps} of {outcome.planned_steps}; what was learned is kept.")

    saved = None
    if processes.leads:
        on_progress(ProgressEvent("save", 0, 1))
        saved = _save(task, model, tokenizer, rows, folder)
        on_progress(ProgressEvent("save", 1, 1))
        model = _finish(task, model, precision)
    report = TuningReport(
        method=task.method,
        trained_parameters=trained,
        copied_parameters=rows.numel() if rows is not None and task.method == "transfer" else 0,
        total_parameters=total,
        peak_memory_bytes=memory.peak_bytes,
        peak_memory_kind=memory.kind,
        examples=len(examples) if examples else 0,
        target_tokens=examples.target_tokens if examples else 0,
        precision=precision,
        untied_head=untied,
        saved_path=str(saved) if saved else None,
        saved_bytes=measure_folder_bytes(saved) if saved else None,
        notes=tuple(notes),
        quantization=task.settings.quantization,
        processes=processes.count,
        sharded=processes.shards,
        **describe_outcome(outcome),
    )
    return TunedModel(model, tokenizer, report)


def _join_processes(task: TuningTask) -> Processes:
    """Meet whoever trains together with this process, and refuse what several cannot do."""
    processes = read_processes() if task.trains else Processes()
    if processes.shards and task.method != "full":
        raise TuningError(
            f"FSDP: it is for full fine-tuning, whose optimizer needs the room, found the method {task.method}; start "
            "the processes without FSDP."
        )
    processes.join(task.device)
    return processes


def _load(task: TuningTask, precision: str, device: str) -> "tuple[PreTrainedModel, Any]":
    from kslottery_core.checkpoints import load_model, load_quantized_model

    if task.settings.quantization != "none":
        from kslottery_core.tuning.quantization import build_quantization

        quantization = build_quantization(task.settings.quantization, precision)
        return load_quantized_model(task.model, quantization, revision=task.revision, dtype=precision, device=device)
    dtype = precision if task.keeps_the_rest_frozen else "float32"  # what is trained stays float32
    return load_model(task.model, revision=task.revision, dtype=dtype, device=device)


def _load_weights(task: TuningTask, weights: "dict[str, torch.Tensor]") -> "PreTrainedModel":
    """The model anew on the CPU, whole, with what several processes trained a part of each."""
    from kslottery_core.checkpoints import load_model

    model, _ = load_model(task.model, revision=task.revision)
    model.load_state_dict(weights)
    return model


def _finish(task: TuningTask, model: Any, precision: str) -> Any:
    """The model as it is scored: as it opens again, in the same number format for every method."""
    import torch

    if not is_quantized(model):
        if task.method == "lora":
            from kslottery_core.tuning.lora import merge_lora

            model = merge_lora(model)
        model.to(task.device, getattr(torch, precision))
    return model.requires_grad_(False).eval()


def _choose_precision(precision: str, device: str) -> str:
    import torch

    if precision != "auto":
        return precision
    return "bfloat16" if device.startswith("cuda") and torch.cuda.is_bf16_supported() else "float32"


def _check_model(task: TuningTask, model: "PreTrainedModel") -> None:
    """Refuse a model that the method cannot go on from."""
    from kslottery_core.checkpoints import is_unmerged

    if task.method != "base" and is_unmerged(model):
        raise TuningError(
            f"model: {task.model} is a prefix before a model, which can be evaluated but not tuned on; name the model "
            "itself."
        )
    if task.ticket is not None:
        check_ticket_fits(task.ticket, *get_input_matrix(model).shape)


def _encode(task: TuningTask, tokenizer: Any, model: "PreTrainedModel") -> Examples | None:
    if not task.trains:
        return None
    assert task.corpus is not None and task.languages is not None and task.prompt is not None  # checked by the task
    corpus, settings = task.corpus, task.settings
    examples = encode_examples(
        tokenizer, corpus.pairs, task.languages, task.prompt, settings.max_length, lines=corpus.lines
    )
    if not len(examples):
        raise TuningError("training text: expected at least one valid pair, found none.")
    check_examples_fit(examples, getattr(model.config, "max_position_embeddings", None), count_virtual_tokens(model))
    return examples


def _prepare(model: "PreTrainedModel", task: TuningTask) -> "tuple[PreTrainedModel, int]":
    """Decide what is trainable: (the model to train, how many numbers that is)."""
    if task.method == "full":
        from kslottery_core.tuning.full import prepare_full

        return model, prepare_full(model)
    if task.method == "embedding":
        from kslottery_core.tuning.embedding import prepare_embedding

        return model, prepare_embedding(model)
    if task.method == "ticket":
        from kslottery_core.tuning.ticket import prepare_ticket

        assert task.ticket is not None
        return model, prepare_ticket(model, task.ticket.token_ids, with_head=task.moves_head_rows)
    adapted: Any = model  # a prefix stands before it already
    if task.method == "lora":
        from kslottery_core.tuning.lora import prepare_lora

        adapted = prepare_lora(model, task.settings.lora, task.settings.seed)
    return adapted, sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)


def _plan_checkpoints(
    task: TuningTask,
    model: Any,
    examples: Examples,
    precision: str,
    folder: Path,
    resume: bool,
    processes: Processes,
) -> CheckpointPlan | None:
    """Where the training's checkpoints go and which one it goes on from; None when it keeps none."""
    if not task.settings.checkpoint_steps and not resume:
        return None
    identity = describe_training(task, model, examples, precision)
    start = load_last_checkpoint(folder, identity, processes) if resume else None
    processes.wait()  # the first new checkpoint removes the one that the others may still look at
    return CheckpointPlan(folder / TRAINING_FOLDER, task.settings.checkpoint_steps, identity, start)


def _transfer(model: "PreTrainedModel", task: TuningTask) -> "torch.Tensor":
    from kslottery_core.checkpoints import open_embedding
    from kslottery_core.tuning.transfer import transfer_rows

    assert task.after is not None and task.ticket is not None
    return transfer_rows(model, open_embedding(task.after, revision=task.after_revision), task.ticket.token_ids)


def _save(task: TuningTask, model: Any, tokenizer: Any, rows: "torch.Tensor | None", folder: Path) -> Path | None:
    """Write what is new; returns the folder whose size is the result's size."""
    if task.method == "base":
        return None
    if task.method in ADAPTER_METHODS:
        saved = save_adapter(folder / "adapter", model, task.model, task.revision)
    elif rows is None or task.ticket is None:
        return save_checkpoint(folder / "model", model, tokenizer)
    else:
        saved = save_ticket_rows(
            folder / "ticket", task.ticket, rows, task.model, task.revision, with_head=task.moves_head_rows
        )
    if task.output == "checkpoint":
        write_full_checkpoint(saved, folder / "model")
    return saved
