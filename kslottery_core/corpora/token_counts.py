"""How often each token occurs in text, where, and which tokens a prompt template is made of."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from kslottery_core.corpora.pairs import Corpus
from kslottery_core.corpora.prompts import fill_prompt
from kslottery_core.errors import CorpusError

_BATCH_TEXTS = 1000
_LEAD = ": "  # as in a prompt: a first word has another token there than at the very beginning
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
        counts += _count_ids(tokenizer, [f"{_LEAD}{text}" for text in batch], size)
        counts -= _count_ids(tokenizer, [_LEAD.rstrip()], size) * len(batch)
    return np.maximum(counts, 0)


def _count_ids(tokenizer: Any, texts: list[str], size: int) -> np.ndarray:
    return tally_token_ids(tokenizer(texts, add_special_tokens=False)["input_ids"], size)


def tally_token_ids(rows: Iterable[Sequence[int]], size: int) -> np.ndarray:
    """How often each of `size` ids stands in the rows, (size,) int64. Raises CorpusError for an id beyond them."""
    ids = [token_id for row in rows for token_id in row]
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


@dataclass(frozen=True)
class Occurrence:
    """One sentence that holds the token. `line` counts from 1, None where the text does not number its lines.

    `spans` are (begin, end) characters of `text`, one an occurrence, ascending; (0, 0) stands for the space before the
    sentence. Empty where the tokenizer does not tell (`is_fast` is False).
    """

    line: int | None
    side: str
    text: str
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class TokenOccurrences:
    """All of a token's occurrences counted, and the first sentences that hold it, in the order of the text.

    `total` is the count that `count_tokens` gives; `sentences` are those that hold the token, `read` all of them, both
    with the two sides of a pair as two sentences.
    """

    token_id: int
    total: int
    sentences: int
    read: int
    shown: tuple[Occurrence, ...]


def find_token_occurrences(
    tokenizer: Any, corpus: Corpus, token_ids: Sequence[int], shown: int = 10
) -> tuple[TokenOccurrences, ...]:
    """Look for several tokens in one pass over both sides of a text; at most `shown` sentences of each are kept.

    `tokenizer` is one of transformers. What it adds around a text counts for nothing.
    """
    totals, sentences = dict.fromkeys(token_ids, 0), dict.fromkeys(token_ids, 0)
    kept: dict[int, list[Occurrence]] = {token_id: [] for token_id in token_ids}
    lead = tokenizer(_LEAD.rstrip(), add_special_tokens=False)["input_ids"]
    remaining, read = _list_sentences(corpus), 0
    while batch := list(islice(remaining, _BATCH_TEXTS)):
        read += len(batch)
        rows = tokenizer([_LEAD + text for _, _, text in batch], add_special_tokens=False)["input_ids"]
        for (line, side, text), row in zip(batch, rows, strict=True):
            present = set(row)
            for token_id in totals:
                times = row.count(token_id) - lead.count(token_id) if token_id in present else 0
                if times > 0:
                    totals[token_id] += times
                    sentences[token_id] += 1
                    if len(kept[token_id]) < shown:
                        spans = _find_spans(tokenizer, text, token_id)
                        kept[token_id].append(Occurrence(line, side, text, spans))
    return tuple(TokenOccurrences(i, totals[i], sentences[i], read, tuple(kept[i])) for i in token_ids)


def _list_sentences(corpus: Corpus) -> Iterator[tuple[int | None, str, str]]:
    for at, pair in enumerate(corpus.pairs):
        line = corpus.lines[at] if corpus.lines else None
        yield line, "source", pair.source
        yield line, "target", pair.target


def _find_spans(tokenizer: Any, text: str, token_id: int) -> tuple[tuple[int, int], ...]:
    if not getattr(tokenizer, "is_fast", False):
        return ()
    encoded = tokenizer(_LEAD + text, add_special_tokens=False, return_offsets_mapping=True)
    spans = []
    for found, (begin, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
        if found == token_id and end >= len(_LEAD):  # what ends before is the colon's
            spans.append((max(0, begin - len(_LEAD)), end - len(_LEAD)))
    return tuple(spans)
