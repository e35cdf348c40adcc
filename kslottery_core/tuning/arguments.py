"""What Hugging Face's Trainer is told about one training."""

import math
from pathlib import Path

from transformers import TrainingArguments

from kslottery_core.tuning.batches import Batches
from kslottery_core.tuning.settings import TuningSettings


def make_arguments(
    settings: TuningSettings,
    batches: Batches,
    planned: int,
    *,
    device: str,
    autocast: bool,
    trains_all: bool,
    folder: Path,
) -> TrainingArguments:
    """Trainer's arguments for `planned` optimizer steps on "cpu", "cuda:N" or "mps"; `trains_all` for a whole model."""
    warms_up = settings.schedule != "constant"
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=batches.size,
        gradient_accumulation_steps=batches.accumulation,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        lr_scheduler_type=settings.schedule,
        warmup_steps=math.floor(settings.warmup_share * planned) if warms_up else 0,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        seed=settings.seed,
        data_seed=settings.seed,
        bf16=autocast,
        use_cpu=device == "cpu",
        average_tokens_across_devices=True,  # each target token weighs the same, whichever process sees it
        # Of a whole model a batch may leave parts out, such as experts; what the other methods train is always used.
        ddp_find_unused_parameters=trains_all,
        dataloader_pin_memory=device.startswith("cuda"),
        remove_unused_columns=False,
        logging_steps=1,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        save_strategy="no",  # the watch asks for checkpoints
        report_to=[],
        disable_tqdm=True,  # whoever watches draws from the events
    )
    # One process, one device: never silently data-parallel over all that one process sees.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments
