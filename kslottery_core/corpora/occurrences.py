"""Where a token occurs in a parallel text: how often, in which sentences, and at which characters of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from kslottery_core.corpora.pairs import Corpus

_BATCH_TEXTS = 1000
_LEAD = ": "  # as `count_tokens` counts: a first word has another token there than at the very beginning


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
