"""One training through Hugging Face's Trainer: schedule, seed, accumulation, progress, and a stop that is heard."""

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kslottery_core.errors import TuningError
from kslottery_core.progress import OnProgress, ProgressEvent, ShouldStop
from kslottery_core.tuning.dataset import Examples, collate
from kslottery_core.tuning.settings import TuningSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class TrainingOutcome:
    """What one training did. Losses are means over the target tokens of one optimizer step."""

    steps: int
    planned_steps: int
    first_loss: float | None
    final_loss: float | None
    seconds: float
    stopped: bool


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
) -> TrainingOutcome:
    """Train whatever requires a gradient. Raises TuningError when the loss is no longer a number, naming the step."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    if device.startswith("cuda:"):
        os.environ["ACCELERATE_TORCH_DEVICE"] = device  # Trainer asks accelerate, which would take the first one
    steps_an_epoch = math.ceil(math.ceil(len(examples) / settings.batch_size) / settings.gradient_accumulation)
    planned = settings.max_steps or max(1, math.ceil(steps_an_epoch * settings.epochs))
    losses: list[float] = []
    stopped = False

    class Reporter(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            nonlocal stopped
            if should_stop():
                stopped = control.should_training_stop = True

        # A cancel must be heard within an accumulated step too, which can take long.
        on_substep_end = on_step_end

        def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **_: Any) -> None:
            if logs is None or "loss" not in logs:
                return
            loss = float(logs["loss"])
            if not math.isfinite(loss):
                raise TuningError(
                    f"training: the loss is {loss} at step {state.global_step} of {planned}; nothing after that can be "
                    "used, so lower the learning rate."
                )
            losses.append(loss)
            on_progress(ProgressEvent("tune", state.global_step, planned, loss, logs.get("learning_rate")))

    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        lr_scheduler_type=settings.schedule,
        warmup_steps=math.floor(settings.warmup_share * planned) if settings.schedule != "constant" else 0,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        seed=settings.seed,
        data_seed=settings.seed,
        bf16=autocast,
        use_cpu=device == "cpu",
        dataloader_pin_memory=device != "cpu",
        remove_unused_columns=False,
        logging_steps=1,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,  # whoever watches draws from the events
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # one run, one device: never silently data-parallel over all of them
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=examples,
        data_collator=lambda items: collate(items, padding_id),
        callbacks=[Reporter()],
    )
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    started = time.perf_counter()
    trainer.train()
    # With autocast accelerate wraps the model's forward; what is scored and saved must be the plain model again.
    trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    return TrainingOutcome(
        steps=trainer.state.global_step,
        planned_steps=planned,
        first_loss=losses[0] if losses else None,
        final_loss=losses[-1] if losses else None,
        seconds=time.perf_counter() - started,
        stopped=stopped and trainer.state.global_step < planned,
    )
