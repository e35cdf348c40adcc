"""LoRA: low-rank changes of linear layers are trained through PEFT, the model stays frozen (arXiv 2106.09685)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch

from kslottery_core.checkpoints.library_output import keep_transformers_quiet
from kslottery_core.errors import TuningError
from kslottery_core.tuning.settings import LoraSettings

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

NAMED_MODULES = 12
"""How many layers a sentence names."""


def list_linear_modules(model: "PreTrainedModel") -> tuple[str, ...]:
    """Paths of every linear layer (nn.Linear or GPT-2's Conv1D) but the output head, in the model's order."""
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    return tuple(
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not head
    )


def select_target_modules(paths: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """The paths that end in one of the names `wanted`, all for none. Raises TuningError for a name without a layer."""
    if not paths:
        raise TuningError(
            "lora: expected a model with linear layers besides its output head, found none; train its embedding or a "
            "ticket instead."
        )
    for name in wanted:
        if not any(_ends_in(path, name) for path in paths):
            known = list(dict.fromkeys(path.rpartition(".")[2] for path in paths))
            more = ", ..." if len(known) > NAMED_MODULES else ""
            raise TuningError(
                f"lora target modules: this model has no linear layer called {name!r}; it has "
                f"{', '.join(known[:NAMED_MODULES])}{more}."
            )
    return [path for path in paths if not wanted or any(_ends_in(path, name) for name in wanted)]


def _ends_in(path: str, name: str) -> bool:
    return f".{path}".endswith(f".{name}")


def prepare_lora(model: "PreTrainedModel", settings: LoraSettings, seed: int) -> "PeftModel":
    """The model with trainable float32 matrices A (r, inputs) and B (outputs, r) beside its linear layers.

    B starts at zero, so nothing changes before the first step; A is drawn with `seed`. Raises TuningError.
    """
    from peft import LoraConfig, get_peft_model
    from transformers.pytorch_utils import Conv1D

    paths = select_target_modules(list_linear_modules(model), settings.target_modules)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=cast(int, settings.alpha),  # PEFT only divides it
        lora_dropout=settings.dropout,
        target_modules=paths,
        fan_in_fan_out=any(isinstance(model.get_submodule(path), Conv1D) for path in paths),
        task_type="CAUSAL_LM",
    )
    model.requires_grad_(False)
    torch.manual_seed(seed)
    try:
        with keep_transformers_quiet():
            return get_peft_model(model, config)
    # PEFT refuses layers of some architectures (a state-space model's output) in words of its own.
    except (ValueError, NotImplementedError) as problem:
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0][:200].rstrip(".")
        raise TuningError(
            f"lora: PEFT cannot put a LoRA beside these layers of a model of type {model.config.model_type!r} "
            f"({reason}); name other lora target modules."
        ) from None


def check_lora_fits(blueprint: "PreTrainedModel", settings: LoraSettings) -> None:
    """Raise TuningError for a model that cannot take this LoRA; `blueprint` lies on the meta device and is changed."""
    paths = select_target_modules(list_linear_modules(blueprint), settings.target_modules)
    layers = [blueprint.get_submodule(path) for path in paths]
    widest = max(min(cast(torch.Tensor, layer.weight).shape) for layer in layers)
    if settings.rank > widest:
        raise TuningError(
            f"lora rank: expected at most {widest:,}, the full rank of the widest of these layers, found "
            f"{settings.rank:,}; lower it."
        )
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        prepare_lora(blueprint, settings, 0)


def merge_lora(model: "PeftModel") -> "PreTrainedModel":
    """Add (alpha / r) * B @ A to every changed layer and return the plain model, which gives the same logits."""
    return cast("PreTrainedModel", model.merge_and_unload())
