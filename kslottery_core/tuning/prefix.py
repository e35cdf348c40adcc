"""Prefix tuning: trained keys and values stand before the text in every layer, through PEFT (arXiv 2101.00190)."""

from typing import TYPE_CHECKING, Any

from kslottery_core.checkpoints.library_output import keep_transformers_quiet
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
        raise _refuse(model, problem) from None


def check_prefix_fits(blueprint: "PreTrainedModel", settings: PrefixSettings) -> "PeftModel":
    """Raise TuningError for a model that cannot take a prefix, else return it with one; `blueprint` lies on meta.

    PEFT prepares some architectures whose layers then fail on the first batch: those that keep a state instead of keys
    and values, and those whose keys have another shape than PEFT thinks. So one batch goes through, without memory.
    """
    import torch

    positions = getattr(blueprint.config, "max_position_embeddings", None)
    if positions is not None and settings.virtual_tokens >= positions:
        raise TuningError(
            f"virtual tokens: {settings.virtual_tokens:,} of them leave no room for text in the {positions:,} "
            "positions of this model; take fewer."
        )
    kinds = set(getattr(blueprint.config, "layer_types", None) or ())
    other = next((kind for kind in sorted(kinds) if "attention" not in kind or "linear" in kind), None)
    if other is not None or getattr(blueprint, "_is_stateful", False):
        found = f"layers of the kind {other!r}" if other is not None else "layers that keep a state instead"
        raise _refuse(blueprint, TuningError(f"a prefix is keys and values for attention, found {found}"))
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = prepare_prefix(blueprint, settings, 0)
        tokens = torch.ones((1, 2), dtype=torch.int64)
        try:
            with keep_transformers_quiet(), torch.no_grad():
                model(input_ids=tokens, attention_mask=torch.ones_like(tokens))
        except Exception as problem:
            if "meta" not in str(problem):  # it asked for a value: nothing is known then
                raise _refuse(blueprint, problem) from None
    return model


def _refuse(model: "PreTrainedModel", problem: Exception) -> TuningError:
    reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0][:200].rstrip(".")
    return TuningError(
        f"prefix: PEFT cannot put a prefix before a model of type {model.config.model_type!r} ({reason}); choose "
        "another method."
    )


def count_virtual_tokens(model: Any) -> int:
    """Positions that a PEFT prefix takes, 0 for any other model."""
    config = getattr(model, "active_peft_config", None)
    return int(getattr(config, "num_virtual_tokens", None) or 0)
