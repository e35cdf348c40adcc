"""Test sentences that the training text holds too, word for word or nearly."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kslottery_core.corpora.pairs import Corpus, normalise_text
from kslottery_core.errors import CorpusError

SHINGLE_LENGTH = 5
NEAR_THRESHOLD = 0.8
_CHUNK_TEXTS = 4096
_NAMED_LEAKS = 3


@dataclass(frozen=True)
class Leak:
    """One test line with the training line that is most like it; `similarity` is 1.0 for an exact leak."""

    test_line: int
    train_line: int
    similarity: float


@dataclass(frozen=True)
class LeakReport:
    """Source sentences of a test text that the training text holds.

    `exact`: equal after Unicode NFC and with any white space as one space. `near`: not equal, but the sets of their
    character n-grams (n = `shingle_length`, without case) have a Jaccard similarity of at least `threshold`. Each test
    line is in at most one of the two, once. `tested` is the number of test pairs.
    """

    exact: tuple[Leak, ...]
    near: tuple[Leak, ...]
    tested: int
    threshold: float = NEAR_THRESHOLD
    shingle_length: int = SHINGLE_LENGTH

    def to_json(self) -> dict[str, Any]:
        """A JSON object with every field."""
        return asdict(self)

    def describe(self) -> tuple[str, ...]:
        """What a person must know about a score on this test: no sentence when there is no leak."""
        notes = []
        if self.exact:
            notes.append(f"{_count_sentences(len(self.exact))} also in the training corpus.")
        if self.near:
            named = ", ".join(
                f"test line {leak.test_line:,} like training line {leak.train_line:,} ({leak.similarity:.2f})"
                for leak in self.near[:_NAMED_LEAKS]
            )
            unnamed = len(self.near) - _NAMED_LEAKS
            more = f" and {unnamed:,} more" if unnamed > 0 else ""
            notes.append(
                f"{_count_sentences(len(self.near))} nearly in the training corpus (character "
                f"{self.shingle_length}-grams, Jaccard similarity of at least {self.threshold:g}): {named}{more}."
            )
        return tuple(notes)


def _count_sentences(number: int) -> str:
    return "1 test sentence is" if number == 1 else f"{number:,} test sentences are"


def find_leaks(train: Corpus, test: Corpus, threshold: float = NEAR_THRESHOLD) -> LeakReport:
    """Compare every source sentence of `test` with every one of `train`; time grows as their sum, not their product.

    Near leaks: a sentence that shares at least the share t of a test sentence's n-grams shares at least one of its
    (1 - t) n + 1 rarest ones (Chaudhuri, Ganti and Kaushik 2006, prefix filter), so only training sentences with one
    of those are compared, by hashed n-grams; what is found so is checked on the n-grams themselves. Nothing at or above
    the threshold is missed. Raises CorpusError for a threshold outside 0 < t <= 1.
    """
    if not 0 < threshold <= 1:
        raise CorpusError(f"leak threshold: expected a similarity above 0 and up to 1, found {threshold!r}.")
    train_texts = [normalise_text(pair.source) for pair in train.pairs]
    test_texts = [normalise_text(pair.source) for pair in test.pairs]
    train_lines = train.lines or range(1, len(train_texts) + 1)
    test_lines = test.lines or range(1, len(test_texts) + 1)
    first_with: dict[str, int] = {}
    for position, text in enumerate(train_texts):
        first_with.setdefault(text, position)
    exact, others = [], []
    for position, text in enumerate(test_texts):
        if text in first_with:
            exact.append(Leak(test_lines[position], train_lines[first_with[text]], 1.0))
        else:
            others.append(position)
    near = []
    candidates = _find_candidates(
        [_fold(text) for text in train_texts], [_fold(test_texts[position]) for position in others], threshold
    )
    for position, found in zip(others, candidates, strict=True):
        similarities = [(_compute_jaccard(test_texts[position], train_texts[other]), -other) for other in found]
        if similarities and (best := max(similarities))[0] >= threshold:
            near.append(Leak(test_lines[position], train_lines[-best[1]], best[0]))
    return LeakReport(tuple(exact), tuple(near), len(test_texts), threshold)


def count_leaks(train: Corpus, test: Corpus) -> int:
    """How many pairs of `test` have a source sentence that `train` holds too, but for white space and Unicode form."""
    known = {normalise_text(pair.source) for pair in train.pairs}
    return sum(normalise_text(pair.source) in known for pair in test.pairs)


def _fold(text: str) -> str:
    return text.casefold().ljust(SHINGLE_LENGTH)


def _list_shingles(text: str) -> set[str]:
    folded = _fold(text)
    return {folded[start : start + SHINGLE_LENGTH] for start in range(len(folded) - SHINGLE_LENGTH + 1)}


def _compute_jaccard(first: str, second: str) -> float:
    one, other = _list_shingles(first), _list_shingles(second)
    return len(one & other) / len(one | other)


def _hash_shingles(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(hash, text) of every distinct shingle of every text, uint64 and int64 of one length, sorted by text.

    Five code points of 21 bits are mixed into 64 bits with the finaliser of splitmix64 (Steele, Lea and Flood 2014).
    """
    if not texts:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    points = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32).astype(np.uint64)
    lengths = np.array([len(text) for text in texts])
    windows = len(points) - SHINGLE_LENGTH + 1
    code = [points[shift : shift + windows] for shift in range(SHINGLE_LENGTH)]
    hashes = _mix(code[0] | code[1] << np.uint64(21) | code[2] << np.uint64(42)) ^ (code[3] | code[4] << np.uint64(21))
    hashes = _mix(hashes)
    owners = np.repeat(np.arange(len(texts)), lengths)
    kept = owners[:windows] == owners[SHINGLE_LENGTH - 1 :]
    hashes, owners = hashes[kept], owners[:windows][kept]
    order = np.lexsort((hashes, owners))
    hashes, owners = hashes[order], owners[order]
    first = np.append(True, (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1]))
    return hashes[first], owners[first]


def _mix(values: np.ndarray) -> np.ndarray:
    values = (values ^ values >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ values >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return values ^ values >> np.uint64(31)


def _find_candidates(train: Sequence[str], test: Sequence[str], threshold: float) -> list[list[int]]:
    """For each test text the positions of the training texts that are most like it and at least like the threshold."""
    hashes, owners = _hash_shingles(test)
    known, shingles = np.unique(hashes, return_inverse=True)  # a shingle's number is its place in `known`
    if not len(known):
        return [[] for _ in test]
    sizes = np.zeros(len(train), np.int64)  # distinct shingles of each training text
    held_by, held = [], []
    for start in range(0, len(train), _CHUNK_TEXTS):
        found, texts = _hash_shingles(train[start : start + _CHUNK_TEXTS])
        sizes[start : start + _CHUNK_TEXTS] = np.bincount(texts, minlength=len(train[start : start + _CHUNK_TEXTS]))
        places = np.minimum(np.searchsorted(known, found), len(known) - 1)
        is_known = known[places] == found
        held.append(places[is_known].astype(np.int32))
        held_by.append((texts[is_known] + start).astype(np.int32))
    in_train, by_train = _concatenate(held), _concatenate(held_by)  # ascending by training text
    text_starts = np.searchsorted(by_train, np.arange(len(train) + 1))
    order = np.argsort(in_train, kind="stable")
    with_shingle = by_train[order]
    shingle_starts = np.searchsorted(in_train[order], np.arange(len(known) + 1))
    frequency = np.diff(shingle_starts)
    test_starts = np.searchsorted(owners, np.arange(len(test) + 1))
    is_own = np.zeros(len(known), dtype=bool)
    result = []
    for position in range(len(test)):
        own = shingles[test_starts[position] : test_starts[position + 1]]
        least = math.ceil(threshold * len(own) - 1e-9)
        rare = own[np.argsort(frequency[own], kind="stable")][: len(own) - least + 1]
        texts = np.unique(
            np.concatenate([with_shingle[shingle_starts[s] : shingle_starts[s + 1]] for s in rare.tolist()])
        )
        texts = texts[(sizes[texts] >= least) & (sizes[texts] * threshold <= len(own) + 1e-9)]
        is_own[own] = True
        result.append(_keep_best(texts, is_own, in_train, text_starts, sizes, len(own), threshold))
        is_own[own] = False
    return result


def _keep_best(
    texts: np.ndarray,
    is_own: np.ndarray,
    in_train: np.ndarray,
    text_starts: np.ndarray,
    sizes: np.ndarray,
    own_size: int,
    threshold: float,
) -> list[int]:
    """Of the training `texts` those of the highest similarity, when that reaches the threshold; at most a few."""
    if not len(texts):
        return []
    lengths = text_starts[texts + 1] - text_starts[texts]
    offsets = np.cumsum(lengths) - lengths
    places = np.arange(lengths.sum()) - np.repeat(offsets - text_starts[texts], lengths)
    shared = np.add.reduceat(is_own[in_train[places]].astype(np.int64), offsets)
    similarity = shared / (sizes[texts] + own_size - shared)
    best = similarity.max()
    return texts[similarity == best][:_NAMED_LEAKS].tolist() if best >= threshold - 1e-9 else []


def _concatenate(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, np.int32)
