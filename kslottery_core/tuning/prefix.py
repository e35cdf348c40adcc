"""Prefix tuning: trained keys and values stand before the text in every layer, through PEFT (arXiv 2101.00190)."""

from typing import TYPE_CHECKING, Any

from kslottery_core.checkpoints.quiet import keep_transformers_quiet
from kslottery_core.errors import TuningError
from kslottery_core.tuning.settings import PrefixSettings

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def prepare_prefix(model: "PreTrainedModel", settings: PrefixSettings, seed: int) -> "PeftModel":
    """The frozen model with a trainable prefix, (virtual tokens, layers * 2 * key-value width), drawn with `seed`.

    The prefix takes its number of positions away from the text. Raises TuningError for an architecture that PEFT
    cannot give one to.
    """
    import torch
    from peft import PrefixTuningConfig, get_peft_model

    config = PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=settings.virtual_tokens)
    model.requires_grad_(False)
    torch.manual_seed(seed)
    try:
        with keep_transformers_quiet():
            return get_peft_model(model, config)
    # PEFT reads the shape from the config's many dialects and fails in as many ways.
    except Exception as problem:
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0][:200].rstrip(".")
        raise TuningError(
            f"prefix: PEFT cannot put a prefix before a model of type {model.config.model_type!r} ({reason}); choose "
            "another method."
        ) from None


def count_virtual_tokens(model: Any) -> int:
    """Positions that a PEFT prefix takes, 0 for any other model."""
    config = getattr(model, "active_peft_config", None)
    return int(getattr(config, "num_virtual_tokens", None) or 0)
