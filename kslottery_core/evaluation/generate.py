"""Outputs of a model for a list of prompts: greedy or beam search, batched by length, with a stop that is heard."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from kslottery_core.errors import EvaluationError
from kslottery_core.progress import OnProgress, ProgressEvent, ShouldStop, ignore_progress, never_stop

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class EvaluationSettings:
    """Decoding of one evaluation. `beams` = 1 is greedy; lengths are in tokens; `batch_size` in sentences."""

    beams: int = 1
    max_new_tokens: int = 64
    batch_size: int = 32

    def __post_init__(self) -> None:
        for name in ("beams", "max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise EvaluationError(f"{name}: expected a whole number of at least 1, found {getattr(self, name)!r}.")


@dataclass(frozen=True)
class Generation:
    """One output: its text without special tokens, whether the model ended it itself, and its length in tokens."""

    text: str
    stopped: bool
    tokens: int


def get_end_token_ids(model: "PreTrainedModel", tokenizer: Any) -> list[int]:
    """Every token that ends an output: the tokenizer's and those that the model's own generation settings name."""
    named = model.generation_config.eos_token_id if model.generation_config is not None else None
    named_list = named if isinstance(named, list) else [named]
    return sorted({token_id for token_id in (*named_list, tokenizer.eos_token_id) if token_id is not None})


def generate_outputs(
    model: "PreTrainedModel",
    tokenizer: Any,
    prompts: Sequence[str],
    settings: EvaluationSettings,
    *,
    on_progress: OnProgress = ignore_progress,
    should_stop: ShouldStop = never_stop,
) -> list[Generation | None]:
    """One `Generation` per prompt, in the order of the prompts; None for those not reached when stopped.

    Prompts of similar length share a batch, padded on the left. Nothing is sampled. Raises EvaluationError when a
    prompt and its output would not fit into the model's positions.
    """
    import torch
    from transformers import GenerationConfig, StoppingCriteriaList

    end_ids = get_end_token_ids(model, tokenizer)
    config = GenerationConfig(
        do_sample=False,
        num_beams=settings.beams,
        max_new_tokens=settings.max_new_tokens,
        eos_token_id=end_ids or None,
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end_ids[0],
        bos_token_id=tokenizer.bos_token_id,
    )
    encoded = [_encode_prompt(tokenizer, prompt) for prompt in prompts]
    _check_lengths(model, encoded, settings)
    order = sorted(range(len(prompts)), key=lambda position: len(encoded[position]))
    outputs: list[Generation | None] = [None] * len(prompts)
    shipped, model.generation_config = model.generation_config, config  # its own sampling defaults must not leak in
    done = 0

    def stop_all(input_ids: "torch.Tensor", scores: Any, **_: Any) -> "torch.Tensor":
        return torch.full((input_ids.shape[0],), should_stop(), dtype=torch.bool, device=input_ids.device)

    try:
        for start in range(0, len(order), settings.batch_size):
            batch = order[start : start + settings.batch_size]
            new_ids = _generate_batch(
                model, [encoded[position] for position in batch], config, StoppingCriteriaList([stop_all])
            )
            if should_stop():
                break  # this batch may be cut short, and a cut output is not the model's
            for position, ids in zip(batch, new_ids, strict=True):
                outputs[position] = _read_output(tokenizer, ids, end_ids)
            done += len(batch)
            on_progress(ProgressEvent("generate", done, len(prompts), time=time.time()))
    finally:
        model.generation_config = shipped
    return outputs


def check_prompts_fit(
    model: "PreTrainedModel", tokenizer: Any, prompts: Sequence[str], settings: EvaluationSettings
) -> None:
    """Raise EvaluationError when a prompt and its output would not fit into the model's positions."""
    _check_lengths(model, [_encode_prompt(tokenizer, prompt) for prompt in prompts], settings)


def _check_lengths(model: "PreTrainedModel", encoded: Sequence[list[int]], settings: EvaluationSettings) -> None:
    longest = max((len(ids) for ids in encoded), default=0)
    virtual = getattr(getattr(model, "active_peft_config", None), "num_virtual_tokens", 0) or 0
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is not None and virtual + longest + settings.max_new_tokens > positions:
        before = f"a prefix of {virtual} tokens, " if virtual else ""
        raise EvaluationError(
            f"max_new_tokens: {before}a prompt of {longest} tokens and {settings.max_new_tokens} new ones do not fit "
            f"into the {positions} positions of this model; shorten one of them."
        )


def _encode_prompt(tokenizer: Any, prompt: str) -> list[int]:
    ids = tokenizer(prompt)["input_ids"]
    return ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids


def _generate_batch(model: "PreTrainedModel", prompts: list[list[int]], config: Any, stopping: Any) -> list[list[int]]:
    import torch

    longest = max(len(ids) for ids in prompts)
    device = next(model.parameters()).device
    padded = [[config.pad_token_id] * (longest - len(ids)) + ids for ids in prompts]
    mask = [[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts]
    with torch.no_grad():
        whole = cast(Any, model).generate(
            input_ids=torch.tensor(padded, device=device),
            attention_mask=torch.tensor(mask, device=device),
            generation_config=config,
            stopping_criteria=stopping,
        )
    return whole[:, longest:].tolist()


def _read_output(tokenizer: Any, ids: list[int], end_ids: list[int]) -> Generation:
    ends = [position for position, token_id in enumerate(ids) if token_id in end_ids]
    length = ends[0] if ends else len(ids)
    text = tokenizer.decode(ids[:length], skip_special_tokens=True)
    return Generation(text=text, stopped=bool(ends), tokens=length)
