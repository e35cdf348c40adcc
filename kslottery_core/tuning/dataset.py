"""Sentence pairs as training examples: prompt tokens out of the loss, target and end-of-sequence token in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kslottery_core.corpora import CorpusSpec, SentencePair, fill_prompt
from kslottery_core.errors import TuningError

if TYPE_CHECKING:
    import torch

IGNORED = -100  # the label that torch's cross-entropy leaves out


@dataclass(frozen=True)
class Examples:
    """Encoded pairs. `items` hold input_ids and labels as lists of equal length T; `shortened` targets were cut."""

    items: tuple[dict[str, list[int]], ...]
    shortened: int
    target_tokens: int

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, position: int) -> dict[str, list[int]]:
        return self.items[position]


def encode_pair(tokenizer: Any, prompt: str, target: str, max_length: int) -> tuple[list[int], int]:
    """Token ids of prompt, space, target and end token, cut at `max_length`, and how many belong to the prompt.

    Both are encoded in one go, so that the target's first token carries its leading space as it will when generated.
    """
    prompt_ids = tokenizer(prompt)["input_ids"]
    ids = tokenizer(f"{prompt} {target}")["input_ids"]
    end = tokenizer.eos_token_id
    # A tokenizer may end every text with its end token; the prompt must not carry it, the whole must once.
    if prompt_ids and prompt_ids[-1] == end:
        prompt_ids = prompt_ids[:-1]
    if not ids or ids[-1] != end:
        ids = [*ids, end]
    shared = 0
    while shared < min(len(prompt_ids), len(ids)) and prompt_ids[shared] == ids[shared]:
        shared += 1
    return ids[:max_length], shared


def encode_examples(
    tokenizer: Any,
    pairs: Sequence[SentencePair],
    spec: CorpusSpec,
    prompt: str,
    max_length: int,
    lines: Sequence[int] = (),
) -> Examples:
    """Encode every pair; `lines` are their numbers in the text, for messages.

    Raises TuningError when there is no end token or a target would be cut off entirely.
    """
    if tokenizer.eos_token_id is None:
        raise TuningError("tokenizer: expected an end-of-sequence token to learn to stop with, found none.")
    languages = {"source_language": spec.source, "target_language": spec.target}
    items, shortened, target_tokens = [], 0, 0
    for number, pair in enumerate(pairs, start=1):
        ids, prompt_length = encode_pair(
            tokenizer, fill_prompt(prompt, source=pair.source, **languages), pair.target, max_length
        )
        if prompt_length >= len(ids):
            line = f" (line {lines[number - 1]:,})" if lines else ""
            raise TuningError(
                f"max_length: the prompt of training pair {number:,}{line} alone has {prompt_length:,} tokens, so "
                f"{max_length:,} tokens cut its target off entirely; raise max_length, leave long pairs out "
                "(max_characters) or shorten the prompt."
            )
        shortened += ids[-1] != tokenizer.eos_token_id
        target_tokens += len(ids) - prompt_length
        items.append({"input_ids": ids, "labels": [IGNORED] * prompt_length + ids[prompt_length:]})
    return Examples(tuple(items), shortened, target_tokens)


def check_examples_fit(examples: Examples, positions: int | None, virtual_tokens: int = 0) -> None:
    """Raise TuningError when an example, behind a prefix of `virtual_tokens`, exceeds the positions of the model.

    `positions` is None where an architecture has no such limit.
    """
    longest, number = max((len(item["input_ids"]), -at) for at, item in enumerate(examples.items, start=1))
    if positions is None or longest + virtual_tokens <= positions:
        return
    if virtual_tokens:
        raise TuningError(
            f"virtual tokens: {virtual_tokens:,} of them and a training example of {longest:,} tokens do not fit into "
            f"the {positions:,} positions of this model; take fewer or lower max_length."
        )
    raise TuningError(
        f"max_length: training pair {-number:,} has {longest:,} tokens, which do not fit into the {positions:,} "
        f"positions of this model; lower max_length to at most {positions:,}."
    )


def collate(items: Sequence[dict[str, list[int]]], padding_id: int) -> "dict[str, torch.Tensor]":
    """Pad on the right to the longest example: input_ids, attention_mask and labels, each (B, T) int64."""
    import torch

    longest = max(len(item["input_ids"]) for item in items)

    def pad(name: str, filler: int) -> "torch.Tensor":
        return torch.tensor([item[name] + [filler] * (longest - len(item[name])) for item in items])

    lengths = torch.tensor([[len(item["input_ids"])] for item in items])
    return {
        "input_ids": pad("input_ids", padding_id),
        "attention_mask": (torch.arange(longest)[None, :] < lengths).long(),
        "labels": pad("labels", IGNORED),
    }
