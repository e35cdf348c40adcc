"""One training through Hugging Face's Trainer: schedule, seed, accumulation, progress, and a stop that is heard."""

import gc
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kslottery_core.errors import TuningError
from kslottery_core.progress import OnProgress, ProgressEvent, ShouldStop
from kslottery_core.tuning.checkpointing import (
    CheckpointPlan,
    TrainingPosition,
    load_last_checkpoint,
)
from kslottery_core.tuning.dataset import Examples, collate
from kslottery_core.tuning.settings import TuningSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, TrainingArguments

    from kslottery_core.tuning.trainer import TrainingWatch


@dataclass(frozen=True)
class TrainingOutcome:
    """What one training did. Losses are means over the target tokens of one optimizer step.

    `seconds` counts what led to a checkpoint that it went on from too; `notes` say where that was, and whether the
    batch had to be divided.
    """

    steps: int
    planned_steps: int
    first_loss: float | None
    final_loss: float | None
    seconds: float
    stopped: bool
    notes: tuple[str, ...] = ()


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
    checkpoints: CheckpointPlan | None = None,
) -> TrainingOutcome:
    """Train whatever requires a gradient, keeping checkpoints and going on from one as `checkpoints` says.

    When the memory runs out, the batch is divided (half as many pairs at once, gathered twice as often, so that an
    optimizer step sees the same pairs), and the training goes on from its last checkpoint, or begins anew where no
    optimizer step had been taken. Raises TuningError when the loss or the gradient is no longer a number, naming the
    step, when the memory does not do for one pair, and when the disk does not take a checkpoint.
    """
    if device.startswith("cuda:"):
        os.environ["ACCELERATE_TORCH_DEVICE"] = device  # Trainer asks accelerate, which would take the first one
    import torch

    threads = torch.get_num_threads()
    if checkpoints is not None and checkpoints.start is not None:
        # In which order numbers are added can follow from the number of threads.
        torch.set_num_threads(max(1, min(checkpoints.start.position.threads, len(os.sched_getaffinity(0)))))
    try:
        training = _Training(model, examples, settings, padding_id, device, autocast, folder, checkpoints)
        return training.run(on_progress, should_stop)
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class _Batches:
    """How the effective batch is divided: pairs seen at once, and how many such batches an optimizer step gathers."""

    size: int
    accumulation: int

    def divide(self) -> "_Batches | None":
        """Half the size and twice the accumulation (or the next whole divisor); None for a size of 1."""
        for divisor in range(2, self.size + 1):
            if self.size % divisor == 0:
                return _Batches(self.size // divisor, self.accumulation * divisor)
        return None

    def __str__(self) -> str:
        pairs = "1 pair" if self.size == 1 else f"{self.size} pairs"
        return f"{pairs} at once" + (f", {self.accumulation} times a step" if self.accumulation > 1 else "")


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
        checkpoints: CheckpointPlan | None,
    ) -> None:
        self._model, self._examples, self._settings = model, examples, settings
        self._padding_id, self._device, self._autocast = padding_id, device, autocast
        self._folder, self._checkpoints = folder, checkpoints
        steps_an_epoch = math.ceil(math.ceil(len(examples) / settings.batch_size) / settings.gradient_accumulation)
        self._planned = settings.max_steps or max(1, math.ceil(steps_an_epoch * settings.epochs))
        self._batches = _Batches(settings.batch_size, settings.gradient_accumulation)
        self._notes: tuple[str, ...] = ()
        self._seconds_before = 0.0
        self._start = None if checkpoints is None else checkpoints.start
        if self._start is not None:
            position = self._start.position
            self._batches = _Batches(position.batch_size, position.gradient_accumulation)
            self._notes = (*position.notes, f"Continued from the checkpoint of step {position.step:,}.")
            self._seconds_before = position.seconds
        self._started = time.perf_counter()

    def run(self, on_progress: OnProgress, should_stop: ShouldStop) -> TrainingOutcome:
        from kslottery_core.tuning.trainer import TrainingWatch, load_trained

        every_steps = 0 if self._checkpoints is None else self._checkpoints.every_steps
        while True:
            watch = TrainingWatch(self._planned, every_steps, on_progress, should_stop)
            if self._start is not None:
                watch.go_on_from(self._start.position)
            if self._start is not None and watch.step >= self._planned:
                load_trained(self._model, self._start.folder)  # only what comes after the training was left to do
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
                notes=self._notes,
            )

    def _try(self, watch: "TrainingWatch") -> bool:
        """Train to the end or to a stop; False when the memory ran out."""
        import torch

        from kslottery_core.tuning.trainer import CheckpointedTrainer

        trainer = CheckpointedTrainer(
            folder=self._folder if self._checkpoints is None else self._checkpoints.folder,
            describe=lambda: self._describe(watch),
            model=self._model,
            args=self._make_arguments(),
            train_dataset=self._examples,
            data_collator=lambda items: collate(items, self._padding_id),
            callbacks=[watch],
        )
        done = True
        try:
            trainer.train(resume_from_checkpoint=None if self._start is None else str(self._start.folder))
        except RuntimeError as problem:
            if not _is_out_of_memory(problem):
                raise
            done = False
        finally:
            # With autocast accelerate wraps the model's forward; what is scored must be the plain model again.
            trainer.accelerator.unwrap_model(self._model, keep_fp32_wrapper=False)
        if not done:
            self._model.zero_grad(set_to_none=True)
            trainer.accelerator.free_memory()
            del trainer
            gc.collect()
            if self._device.startswith("cuda"):
                torch.cuda.empty_cache()
        return done

    def _describe(self, watch: "TrainingWatch") -> TrainingPosition:
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
        )

    def _divide_batches(self, watch: "TrainingWatch") -> str:
        """Take smaller batches and choose where to go on from; returns a note that says so. Raises TuningError."""
        step, found, smaller = watch.step + 1, self._batches, self._batches.divide()
        where = f"training: out of memory at step {step:,} of {self._planned:,} with {found}"
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
            f"stays {smaller.size * smaller.accumulation}."
        )

    def _read_seconds(self) -> float:
        return self._seconds_before + time.perf_counter() - self._started

    def _make_arguments(self) -> "TrainingArguments":
        from transformers import TrainingArguments

        settings = self._settings
        warms_up = settings.schedule != "constant"
        arguments = TrainingArguments(
            output_dir=str(self._folder),
            per_device_train_batch_size=self._batches.size,
            gradient_accumulation_steps=self._batches.accumulation,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            lr_scheduler_type=settings.schedule,
            warmup_steps=math.floor(settings.warmup_share * self._planned) if warms_up else 0,
            num_train_epochs=settings.epochs,
            max_steps=settings.max_steps or -1,
            seed=settings.seed,
            data_seed=settings.seed,
            bf16=self._autocast,
            use_cpu=self._device == "cpu",
            dataloader_pin_memory=self._device != "cpu",
            remove_unused_columns=False,
            logging_steps=1,
            logging_first_step=True,
            logging_nan_inf_filter=False,
            save_strategy="no",  # the watch asks for checkpoints
            report_to=[],
            disable_tqdm=True,  # whoever watches draws from the events
        )
        arguments._n_gpu = min(1, arguments.n_gpu)  # one run, one device: never silently data-parallel over them all
        return arguments


def _is_out_of_memory(problem: RuntimeError) -> bool:
    import torch

    # The allocator of a CPU has no error class of its own.
    return isinstance(problem, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate" in str(problem)
