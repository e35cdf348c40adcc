"""Hugging Face's Trainer with checkpoints of what is trained alone, and a callback that reports and hears a stop."""

import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback

from kslottery_core.checkpoints.library_output import keep_transformers_quiet
from kslottery_core.errors import TuningError
from kslottery_core.progress import OnProgress, ProgressEvent, ShouldStop
from kslottery_core.tuning.batches import SharedOrder
from kslottery_core.tuning.checkpointing import TrainingPosition, write_checkpoint
from kslottery_core.tuning.processes import Processes

TRAINED_FILE = "trained.pt"
GATHERED_FILE = "pytorch_model_fsdp.bin"  # accelerate's name for the whole of a sharded model


class TrainingWatch(TrainerCallback):
    """Reports every step, stops when asked to, and asks for a checkpoint after the first step and every `every_steps`.

    The first one shows at once whether the disk takes it. 0 steps keep none. Of several processes all stop together
    when one is asked to, so that none waits for another that has left.
    """

    def __init__(
        self, planned: int, every_steps: int, on_progress: OnProgress, should_stop: ShouldStop, processes: Processes
    ) -> None:
        self.step = 0
        self.first_loss: float | None = None
        self.final_loss: float | None = None
        self.stopped = False
        self.saved = False  # whether this attempt has written a checkpoint
        self.changing = False  # whether the optimizer is at work: what is trained may be half changed
        self._planned = planned
        self._every_steps = every_steps
        self._on_progress = on_progress
        self._should_stop = should_stop
        self._processes = processes
        self._step_started = 0.0
        self._step_times: list[float] = []
        self._median_before: float | None = None

    def go_on_from(self, position: TrainingPosition) -> None:
        self.step, self.first_loss, self.final_loss = position.step, position.first_loss, position.final_loss
        self._median_before = position.step_seconds

    @property
    def step_seconds(self) -> float | None:
        """Median time of an optimizer step, the first left out, as it warms up; None below two steps.

        Of a resumed training it is that of the steps since then, or of those before where they are too few.
        """
        times = self._step_times[1:]
        return statistics.median(times) if times else self._median_before

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._step_started = time.perf_counter()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.changing = True

    def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A stop must be heard within an accumulated step too, which can take long."""
        if self._processes.agree(self._should_stop()):
            self.stopped = control.should_training_stop = True

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.changing, self.step = False, state.global_step
        if args.device.type == "cuda":
            torch.cuda.synchronize(args.device)  # a GPU is behind; the loss that is logged next waits for it anyway
        elif args.device.type == "mps":
            torch.mps.synchronize()
        self._step_times.append(time.perf_counter() - self._step_started)
        self.on_substep_end(args, state, control)
        if self._every_steps and (
            self.stopped or self.step in (1, self._planned) or self.step % self._every_steps == 0
        ):
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.saved = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **_: Any) -> None:
        state.log_history.clear()  # every checkpoint would hold all of it
        if logs is None or "loss" not in logs:
            return
        loss = float(logs["loss"])
        for name, value in (("loss", loss), ("gradient's norm", float(logs.get("grad_norm", 0.0)))):
            if not math.isfinite(value):
                raise TuningError(
                    f"training: the {name} is {value} at step {state.global_step} of {self._planned}; nothing after "
                    "that can be used, so lower the learning rate."
                )
        self.first_loss = loss if self.first_loss is None else self.first_loss
        self.final_loss = loss
        self._on_progress(ProgressEvent("tune", state.global_step, self._planned, loss, logs.get("learning_rate")))


class CheckpointedTrainer(Trainer):
    """Trainer whose checkpoints hold the trained parameters in place of the model.

    Optimizer, scheduler, random states and the way back into the data are Trainer's own. `describe` gives the position
    that a checkpoint is written with, `folder` is where it goes, `order` what several processes share. Of those the
    first writes what all have in common, and each its own random states. Where FSDP shards the model, the checkpoint
    holds the whole of it as accelerate gathers it.
    """

    def __init__(
        self,
        *,
        folder: Path,
        describe: Callable[[], TrainingPosition],
        processes: Processes,
        order: SharedOrder | None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.remove_callback(PrinterCallback)
        self._checkpoint_folder = folder
        self._describe = describe
        self._processes = processes
        self._order = order
        self._scratch: Path | None = None

    def _get_train_sampler(self, *arguments: Any, **options: Any) -> Any:
        return super()._get_train_sampler(*arguments, **options) if self._order is None else self._order

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        if not self._processes.leads:
            self._write_checkpoint(Path(self._processes.share(None)), model, trial)
            return
        position = self._describe()
        with write_checkpoint(self._checkpoint_folder, position) as scratch:
            self._processes.share(str(scratch))
            self._write_checkpoint(scratch, model, trial)
            inner = scratch / f"checkpoint-{position.step}"
            for path in inner.iterdir():
                path.rename(scratch / path.name)
            inner.rmdir()

    def _write_checkpoint(self, scratch: Path, model: torch.nn.Module, trial: Any) -> None:
        self._scratch = scratch
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self._scratch = None
        self._processes.wait()

    def _get_output_dir(self, trial: Any) -> str:
        return super()._get_output_dir(trial) if self._scratch is None else str(self._scratch)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the parameters that require a gradient, each once however often the model holds it."""
        assert output_dir is not None
        folder = Path(output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        if self.is_fsdp_enabled or not self._processes.leads:  # sharded weights are written beside the optimizer
            return
        torch.save(collect_trained(self.model), folder / TRAINED_FILE)

    def _init_training_state(self, *arguments: Any, **options: Any) -> Any:
        with keep_transformers_quiet():  # of a batch that had to be divided the notes tell
            return super()._init_training_state(*arguments, **options)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        load_trained(self.model if model is None else model, Path(resume_from_checkpoint))

    def measure_optimizer_bytes(self) -> int | None:
        """Bytes of the optimizer's state tensors in this process; None before its first step."""
        if self.optimizer is None:
            return None
        tensors = [
            getattr(value, "_local_tensor", value)  # of a sharded one the part that lies here
            for state in self.optimizer.state.values()
            for value in state.values()
            if isinstance(value, torch.Tensor)
        ]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors) or None

    def gather_weights(self) -> dict[str, torch.Tensor] | None:
        """Where FSDP shards the model, all of its weights on the CPU (in the leader); None elsewhere."""
        return self.accelerator.get_state_dict(self.model) if self.is_fsdp_enabled else None


def collect_trained(model: Any) -> dict[str, torch.Tensor]:
    """The parameters that require a gradient, by their names."""
    return {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad}


@torch.no_grad()
def load_trained(model: Any, folder: Path) -> None:
    """Put a checkpoint's parameters into the model. Raises TuningError when they are not the ones it trains."""
    saved = torch.load(folder / TRAINED_FILE, map_location="cpu", weights_only=True)
    trained = collect_trained(model)
    if {name: value.shape for name, value in saved.items()} != {name: value.shape for name, value in trained.items()}:
        raise TuningError(f"{folder}: it holds other parameters than this training changes; delete it to begin anew.")
    for name, value in saved.items():
        trained[name].copy_(value)


def load_gathered(folder: Path) -> dict[str, torch.Tensor]:
    """The whole model's weights of a checkpoint that processes with FSDP wrote."""
    return torch.load(folder / GATHERED_FILE, map_location="cpu", weights_only=True)
