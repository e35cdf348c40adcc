"""A model without its weights: what a run is going to load, asked about its layers before anything is loaded."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kslottery_core.checkpoints.adapter import find_adapter_base
from kslottery_core.checkpoints.base_model import explain_base
from kslottery_core.checkpoints.models import find_model_folder
from kslottery_core.checkpoints.opening import DEEPEST_BASE
from kslottery_core.checkpoints.quiet import keep_error_stream_quiet, keep_transformers_quiet
from kslottery_core.checkpoints.sources import find_source
from kslottery_core.checkpoints.ticket_folder import find_ticket_base
from kslottery_core.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def build_blueprint(source: str | Path, *, revision: str | None = None) -> "PreTrainedModel | None":
    """The causal language model that `load_model` would load, on the meta device: every layer, no weight, no memory.

    An adapter or a tuned ticket gives its base's. None for a model on the hub and for a config that cannot be read or
    built in this way: loading it says more. Raises CheckpointError for weights alone, and for a model that is no causal
    language model.
    """
    with keep_transformers_quiet():
        return _build(source, revision, depth=0)


def _build(source: str | Path, revision: str | None, depth: int) -> "PreTrainedModel | None":
    if depth > DEEPEST_BASE:
        raise CheckpointError("Its base model leads back to itself; correct the base that it names.")
    found = find_source(source, revision)
    path = found.path
    if path is None:
        return None
    if found.kind in ("adapter", "ticket"):
        base = find_adapter_base(path) if found.kind == "adapter" else find_ticket_base(path)
        try:
            return _build(*base, depth + 1)
        except CheckpointError as problem:
            raise explain_base(path, base[0], problem) from None
    if found.kind == "gguf":
        # The bar of its conversion has no switch; it is drawn on the standard error stream.
        with keep_error_stream_quiet():
            return _build_from_config(found.text, path.parent, gguf_file=path.name)
    return _build_from_config(found.text, find_model_folder(found.text, path))


def _build_from_config(source: str, folder: Path, **options: Any) -> "PreTrainedModel | None":
    import torch
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False, **options)
    # A config comes from anywhere: transformers answers a bad one with whatever its classes happen to raise.
    except Exception:
        return None
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise CheckpointError(
            f"{source}: expected a causal language model, which continues a text, found a model of type "
            f"{config.model_type!r}; choose another model."
        )
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config)
    except Exception:  # some architectures compute while they are built, which needs memory
        return None
