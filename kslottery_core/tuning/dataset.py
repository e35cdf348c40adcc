"""Sentence pairs as training examples: prompt tokens out of the loss, target and end-of-sequence token in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kslottery_core.corpora import (
    DEFAULT_PROMPT,
    Corpus,
    CorpusSpec,
    SentencePair,
    count_tokens,
    fill_prompt,
    tally_token_ids,
)
from kslottery_core.errors import TuningError
from kslottery_core.tuning.settings import TuningSettings

if TYPE_CHECKING:
    import torch

IGNORED = -100  # the label that torch's cross-entropy leaves out


COUNTED = ("training", "text")
"""What a frequency counts: every token that the model reads in training, or those of the sentences alone."""

_BATCH_PAIRS = 1000


@dataclass(frozen=True)
class TokenCounting:
    """How tokens of a parallel text are counted: `counted` is one of COUNTED.

    With "training", every pair counts as tuning encodes it: `prompt` with both sentences, what the tokenizer adds, and
    the end token, cut at `max_length` tokens. "text" counts both sentences alone. Raises TuningError.
    """

    counted: str = "training"
    prompt: str = DEFAULT_PROMPT
    max_length: int = TuningSettings.max_length

    def __post_init__(self) -> None:
        if self.counted not in COUNTED:
            raise TuningError(f"counted: expected one of {', '.join(COUNTED)}, found {self.counted!r}.")

    def describe(self, text: str) -> str:
        """The name of a text with what was counted in it, for notes and labels."""
        return f"{text} ({'as read in training' if self.counted == 'training' else 'the text alone'})"

    def count(self, tokenizer: Any, corpus: Corpus, spec: CorpusSpec, vocabulary_size: int) -> np.ndarray:
        """Occurrences of every token, (V,) int64; a text with a prompt of its own is read with that one.

        Raises CorpusError for a token that has no row, or as `fill_prompt` does.
        """
        if self.counted == "text":
            sentences = (side for pair in corpus.pairs for side in (pair.source, pair.target))
            return count_tokens(tokenizer, sentences, vocabulary_size)
        prompt, languages = corpus.prompt or self.prompt, _name_languages(spec)
        counts = np.zeros(vocabulary_size, dtype=np.int64)
        for start in range(0, len(corpus.pairs), _BATCH_PAIRS):
            pairs = corpus.pairs[start : start + _BATCH_PAIRS]
            texts = [f"{fill_prompt(prompt, source=pair.source, **languages)} {pair.target}" for pair in pairs]
            rows = tokenizer(texts)["input_ids"]
            counts += tally_token_ids(
                [_end(ids, tokenizer.eos_token_id)[: self.max_length] for ids in rows], vocabulary_size
            )
        return counts


def _name_languages(spec: CorpusSpec) -> dict[str, str]:
    return {"source_language": spec.source, "target_language": spec.target}


def _end(ids: list[int], end: int | None) -> list[int]:
    """The ids with the end token once, if there is one; a tokenizer may add it by itself."""
    return ids if end is None or (ids and ids[-1] == end) else [*ids, end]


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
    ids = _end(ids, end)
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
    languages = _name_languages(spec)
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
