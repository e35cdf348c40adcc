"""How often each token occurs in text, and which tokens a prompt template is made of."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from kslottery_core.corpora.prompts import fill_prompt
from kslottery_core.errors import CorpusError

_BATCH_TEXTS = 1000
_LEAD = ":"
_SENTENCES = ("The", "a", "x")  # which of them a space joins depends on the vocabulary


def count_tokens(tokenizer: Any, texts: Iterable[str], vocabulary_size: int | None = None) -> np.ndarray:
    """Occurrences of every token id in `texts`, (V,) int64, without the tokens that a tokenizer adds around a text.

    A text is counted as it stands in a prompt, after a colon and a space: there a first word has another token than at
    the very beginning. `tokenizer` is one of transformers; V is `vocabulary_size` (an embedding may have more rows than
    the tokenizer has tokens), or the tokenizer's own. Raises CorpusError for a token that has no row.
    """
    size = len(tokenizer) if vocabulary_size is None else vocabulary_size
    counts = np.zeros(size, dtype=np.int64)
    for batch in _batch(texts):
        counts += _count_ids(tokenizer, [f"{_LEAD} {text}" for text in batch], size)
        counts -= _count_ids(tokenizer, [_LEAD], size) * len(batch)
    return np.maximum(counts, 0)


def _count_ids(tokenizer: Any, texts: list[str], size: int) -> np.ndarray:
    ids = [token_id for row in tokenizer(texts, add_special_tokens=False)["input_ids"] for token_id in row]
    highest = max(ids, default=-1)
    if highest >= size:
        raise CorpusError(
            f"tokenizer: expected token ids from 0 to {size - 1}, found {highest}; it belongs to another model."
        )
    return np.bincount(np.array(ids, dtype=np.int64), minlength=size)


def _batch(texts: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(texts)
    while batch := list(islice(remaining, _BATCH_TEXTS)):
        yield batch


def list_prompt_tokens(tokenizer: Any, template: str, *, source_language: str, target_language: str) -> tuple[int, ...]:
    """Distinct ids of the tokens of a filled template that lie outside its source sentence, ascending.

    What the tokenizer puts before every text (`<s>`) belongs to them, its end token does not. A token that joins the
    template's text with the sentence's, such as a space with the first word, counts as the sentence's.
    Raises CorpusError as `fill_prompt` does.
    """
    mark = "\ue000"  # private use: stands in no template
    languages = {"source_language": source_language, "target_language": target_language}
    pieces = fill_prompt(template, source=mark, **languages).split(mark)
    found = [_list_outside(tokenizer, pieces, sentence) for sentence in _SENTENCES]
    return tuple(sorted(set.intersection(*found) - {tokenizer.eos_token_id}))


def _list_outside(tokenizer: Any, pieces: list[str], sentence: str) -> set[int]:
    """Ids of the tokens of the pieces, with the sentence between each two of them, that touch no sentence."""
    if not getattr(tokenizer, "is_fast", False):  # no offsets: piece by piece
        ids = {i for piece in pieces for i in tokenizer(piece, add_special_tokens=False)["input_ids"]}
        return ids | set(tokenizer("")["input_ids"])
    spans, start = [], 0
    for piece in pieces[:-1]:
        start += len(piece)
        spans.append((start, start + len(sentence)))
        start += len(sentence)
    encoded = tokenizer(sentence.join(pieces), return_offsets_mapping=True)
    return {
        token_id
        for token_id, (begin, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        if not any(begin < last and end > first for first, last in spans)
    }
