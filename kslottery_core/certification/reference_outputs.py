"""The embedding-tuned model's own greedy outputs, generated once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from kslottery_core.progress import OnProgress, ProgressEvent, ShouldStop

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class ReferenceOutput:
    """Tokens that the model wrote after a prompt, its end token among them where it ended the output itself."""

    token_ids: tuple[int, ...]
    ended: bool


def generate_reference_outputs(
    model: "PreTrainedModel",
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    batch_size: int,
    on_progress: OnProgress,
    should_stop: ShouldStop,
) -> list[ReferenceOutput] | None:
    """Greedy outputs in the order of the prompts (token ids); None when stopped. Prompts of similar length share a
    batch. The settings that the model ships with (sampling, penalties) are left out, its end tokens are kept."""
    import torch
    from transformers import GenerationConfig

    shipped = model.generation_config
    end_ids = _list_end_ids(shipped, tokenizer)
    greedy = GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=max_new_tokens,
        eos_token_id=end_ids,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    outputs: dict[int, ReferenceOutput] = {}
    model.generation_config = greedy
    try:
        for start in range(0, len(order), batch_size):
            if should_stop():
                return None
            chosen = order[start : start + batch_size]
            longest = max(len(prompts[number]) for number in chosen)
            filler = [longest - len(prompts[number]) for number in chosen]
            padded = [[tokenizer.pad_token_id] * n + list(prompts[i]) for n, i in zip(filler, chosen, strict=True)]
            mask = [[0] * n + [1] * (longest - n) for n in filler]
            with torch.inference_mode():
                written = cast(Any, model).generate(
                    input_ids=torch.tensor(padded, device=model.device),
                    attention_mask=torch.tensor(mask, device=model.device),
                    generation_config=greedy,
                )
            for number, row in zip(chosen, written[:, longest:].tolist(), strict=True):
                outputs[number] = _cut_at_end(row, end_ids)
            on_progress(ProgressEvent("generate", len(outputs), len(prompts)))
    finally:
        model.generation_config = shipped
    return [outputs[number] for number in range(len(prompts))]


def _list_end_ids(shipped: Any, tokenizer: Any) -> list[int]:
    named = getattr(shipped, "eos_token_id", None)
    several = named if isinstance(named, list) else [named]
    return sorted({token_id for token_id in (*several, tokenizer.eos_token_id) if token_id is not None})


def _cut_at_end(token_ids: list[int], end_ids: list[int]) -> ReferenceOutput:
    for position, token_id in enumerate(token_ids):
        if token_id in end_ids:
            return ReferenceOutput(tuple(token_ids[: position + 1]), True)
    return ReferenceOutput(tuple(token_ids), False)
