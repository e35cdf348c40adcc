"""One training through Hugging Face's Trainer: batches, checkpoints, progress, and a stop that is heard."""

import gc
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kslottery_core.errors import TuningError
from kslottery_core.jobs import count_processors
from kslottery_core.progress import OnProgress, ProgressEvent, ShouldStop
from kslottery_core.tuning.arguments import make_arguments
from kslottery_core.tuning.batches import Batches, share_examples
from kslottery_core.tuning.checkpointing import CheckpointPlan, TrainingPosition, load_last_checkpoint
from kslottery_core.tuning.dataset import Examples, collate
from kslottery_core.tuning.memory import PeakMemory
from kslottery_core.tuning.processes import Processes
from kslottery_core.tuning.quantization import let_trainer_take
from kslottery_core.tuning.settings import TuningSettings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from kslottery_core.tuning.trainer import CheckpointedTrainer, TrainingWatch


@dataclass(frozen=True)
class TrainingOutcome:
    """What one training did. Losses are means over the target tokens of one optimizer step, over all processes.

    `seconds` counts what led to a checkpoint that it went on from too; `notes` say where that was, and whether the
    batch had to be divided. `effective_batch` is in pairs. `optimizer_bytes` is the size of the optimizer's state in
    one process, `step_seconds` the median of the steps after the first. `weights` are the whole model's where the
    processes hold a part each (FSDP), in the leading one.
    """

    steps: int
    planned_steps: int
    first_loss: float | None
    final_loss: float | None
    seconds: float
    stopped: bool
    effective_batch: int
    optimizer_bytes: int | None = None
    step_seconds: float | None = None
    notes: tuple[str, ...] = ()
    weights: "dict[str, torch.Tensor] | None" = None


def train(
    model: "PreTrainedModel",
    examples: Examples,
    settings: TuningSettings,
    *,
    padding_id: int,
    device: str,
    autocast: bool,
    folder: Path,
    on_progress: OnProgress,
    should_stop: ShouldStop,
    memory: PeakMemory | None = None,
    processes: Processes | None = None,
    checkpoints: CheckpointPlan | None = None,
) -> TrainingOutcome:
    """Train whatever requires a gradient, keeping checkpoints and going on from one as `checkpoints` says.

    When the memory runs out, the batch is divided (half as many pairs at once, gathered twice as often, so that an
    optimizer step sees the same pairs), and the training goes on from its last checkpoint, or begins anew where no
    optimizer step had been taken. Raises TuningError when the loss or the gradient is no longer a number, naming the
    step, when the memory does not do for one pair, and when the disk does not take a checkpoint.

    Several `processes` all call this, with the same examples: each sees its part of every batch, and together they do
    what one would do with the same effective batch. There the batch is not divided when the memory runs out. `memory`
    is whoever measures it, whose peak is kept in the checkpoints.
    """
    processes, memory = processes or Processes(), memory or PeakMemory(device)
    if device.startswith("cuda:") and not processes.several:
        os.environ["ACCELERATE_TORCH_DEVICE"] = device  # Trainer asks accelerate, which would take the first one
    import torch

    threads = torch.get_num_threads()
    if checkpoints is not None and checkpoints.start is not None:
        # In which order numbers are added can follow from the number of threads.
        torch.set_num_threads(max(1, min(checkpoints.start.position.threads, count_processors())))
    try:
        training = _Training(
            model, examples, settings, padding_id, device, autocast, folder, memory, processes, checkpoints
        )
        return training.run(on_progress, should_stop)
    finally:
        torch.set_num_threads(threads)


class _Training:
    """One training: attempts with ever smaller batches until one comes to its end."""

    def __init__(
        self,
        model: "PreTrainedModel",
        examples: Examples,
        settings: TuningSettings,
        padding_id: int,
        device: str,
        autocast: bool,
        folder: Path,
        memory: PeakMemory,
        processes: Processes,
        checkpoints: CheckpointPlan | None,
    ) -> None:
        self._model, self._examples, self._settings = model, examples, settings
        self._padding_id, self._device, self._autocast = padding_id, device, autocast
        self._folder, self._memory, self._processes, self._checkpoints = folder, memory, processes, checkpoints
        self._batches = Batches(settings.batch_size, settings.gradient_accumulation, processes.count)
        steps_an_epoch = self._batches.count_steps(len(examples))
        self._planned = settings.max_steps or max(1, math.ceil(steps_an_epoch * settings.epochs))
        self._notes: tuple[str, ...] = ()
        self._seconds_before = 0.0
        self._start = None if checkpoints is None else checkpoints.start
        if self._start is not None:
            position = self._start.position
            self._batches = Batches(position.batch_size, position.gradient_accumulation, processes.count)
            self._notes = (*position.notes, f"Continued from the checkpoint of step {position.step:,}.")
            self._seconds_before = position.seconds
            memory.include(position.peak_memory_bytes)
        self._optimizer_bytes = None if self._start is None else self._start.position.optimizer_bytes
        self._weights: dict[str, torch.Tensor] | None = None
        self._started = time.perf_counter()

    def run(self, on_progress: OnProgress, should_stop: ShouldStop) -> TrainingOutcome:
        from kslottery_core.tuning.trainer import TrainingWatch, load_gathered, load_trained

        every_steps = 0 if self._checkpoints is None else self._checkpoints.every_steps
        while True:
            watch = TrainingWatch(self._planned, every_steps, on_progress, should_stop, self._processes)
            if self._start is not None:
                watch.go_on_from(self._start.position)
            if self._start is not None and watch.step >= self._planned:  # only what comes after it was left to do
                if self._processes.shards:
                    self._weights = load_gathered(self._start.folder)
                else:
                    load_trained(self._model, self._start.folder)
            elif not self._try(watch):
                note = self._divide_batches(watch)
                self._notes = (*self._notes, note)
                on_progress(ProgressEvent("load", 0, 1, message=note))
                continue
            return TrainingOutcome(
                steps=watch.step,
                planned_steps=self._planned,
                first_loss=watch.first_loss,
                final_loss=watch.final_loss,
                seconds=self._read_seconds(),
                stopped=watch.stopped and watch.step < self._planned,
                effective_batch=self._batches.effective,
                optimizer_bytes=self._optimizer_bytes,
                step_seconds=watch.step_seconds,
                notes=self._notes,
                weights=self._weights,
            )

    def _try(self, watch: "TrainingWatch") -> bool:
        """Train to the end or to a stop; False when the memory ran out."""
        import torch

        trainer = self._make_trainer(watch)
        done = True
        try:
            trainer.train(resume_from_checkpoint=None if self._start is None else str(self._start.folder))
            self._weights = trainer.gather_weights()
        except RuntimeError as problem:
            if not _is_out_of_memory(problem):
                raise
            done = False
        finally:
            self._optimizer_bytes = trainer.measure_optimizer_bytes() or self._optimizer_bytes
            # With autocast accelerate wraps the model's forward; what is scored must be the plain model again.
            trainer.accelerator.unwrap_model(self._model, keep_fp32_wrapper=False)
        if not done:
            self._model.zero_grad(set_to_none=True)
            trainer.accelerator.free_memory()
            del trainer
            gc.collect()
            if self._device.startswith("cuda"):
                torch.cuda.empty_cache()
            elif self._device == "mps":
                torch.mps.empty_cache()
        return done

    def _make_trainer(self, watch: "TrainingWatch") -> "CheckpointedTrainer":
        """Raises TuningError where several processes would not do what one does."""
        from torch.nn.parallel import DistributedDataParallel

        from kslottery_core.tuning.trainer import CheckpointedTrainer

        if self._processes.several:
            # They never change, and DDP would send them around at every step: a ticket's slots are V numbers.
            buffers = [name for name, _ in self._model.named_buffers()]
            DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(self._model, buffers)
        examples, order = share_examples(self._examples, self._batches, self._settings.seed)
        with let_trainer_take(self._model):
            trainer = CheckpointedTrainer(
                folder=self._folder if self._checkpoints is None else self._checkpoints.folder,
                describe=lambda: self._describe(watch, trainer),
                processes=self._processes,
                order=order,
                model=self._model,
                args=make_arguments(
                    self._settings,
                    self._batches,
                    self._planned,
                    device=self._device,
                    autocast=self._autocast,
                    trains_all=all(parameter.requires_grad for parameter in self._model.parameters()),
                    folder=self._folder,
                ),
                train_dataset=examples,
                data_collator=lambda items: collate(items, self._padding_id),
                callbacks=[watch],
            )
        if self._processes.several and not trainer.model_accepts_loss_kwargs:
            raise TuningError(
                f"processes: this model ({type(self._model).__name__}) averages its loss over each batch by itself, so "
                f"that {self._processes.count} processes would not weigh every token alike; start one process."
            )
        if self._processes.shards and not trainer.is_fsdp_enabled:
            raise TuningError(
                f"FSDP: accelerate shards nothing on the device {self._device!r}; start the processes on GPUs, or "
                "without FSDP."
            )
        if self._processes.shards and not getattr(trainer.accelerator, "is_fsdp2", False):
            raise TuningError(
                "FSDP: expected its second version, found the first; launch with --fsdp_version 2, or set FSDP_VERSION "
                "to 2."
            )
        return trainer

    def _describe(self, watch: "TrainingWatch", trainer: "CheckpointedTrainer") -> TrainingPosition:
        import torch

        assert self._checkpoints is not None  # without them the watch asks for none
        return TrainingPosition(
            step=watch.step,
            planned_steps=self._planned,
            batch_size=self._batches.size,
            gradient_accumulation=self._batches.accumulation,
            threads=torch.get_num_threads(),
            seconds=self._read_seconds(),
            first_loss=watch.first_loss,
            final_loss=watch.final_loss,
            notes=self._notes,
            identity=self._checkpoints.identity,
            processes=self._processes.count,
            sharded=self._processes.shards,
            peak_memory_bytes=self._memory.read(),
            optimizer_bytes=trainer.measure_optimizer_bytes(),
            step_seconds=watch.step_seconds,
        )

    def _divide_batches(self, watch: "TrainingWatch") -> str:
        """Take smaller batches and choose where to go on from; returns a note that says so. Raises TuningError."""
        step, found, smaller = watch.step + 1, self._batches, self._batches.divide()
        where = f"training: out of memory at step {step:,} of {self._planned:,} with {found}"
        if self._processes.several:
            raise TuningError(
                f"{where} in one of {self._processes.count} processes, which cannot divide their batches by "
                "themselves; lower batch_size and raise gradient_accumulation as much."
            )
        if smaller is None:
            raise TuningError(f"{where}; lower max_length, or take a smaller model or a device with more memory.")
        if self._checkpoints is not None and watch.saved:
            self._start = load_last_checkpoint(self._checkpoints.folder.parent, self._checkpoints.identity)
        if self._start is None and (watch.step or watch.changing):
            raise TuningError(f"{where}, without a checkpoint to go on from; start again with a smaller batch_size.")
        self._batches = smaller
        origin = "the start" if self._start is None else f"the checkpoint of step {self._start.position.step:,}"
        return (
            f"Out of memory at step {step:,} with {found}: went on from {origin} with {smaller}; the effective batch "
            f"stays {smaller.effective}."
        )

    def _read_seconds(self) -> float:
        return self._seconds_before + time.perf_counter() - self._started


def _is_out_of_memory(problem: RuntimeError) -> bool:
    import torch

    # The allocators of a CPU and of Apple's GPU have no error class of their own.
    words = ("DefaultCPUAllocator: can't allocate", "MPS backend out of memory")
    return isinstance(problem, torch.OutOfMemoryError) or any(part in str(problem) for part in words)
