"""The leak check against a comparison of every test sentence with every training sentence."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kslottery_core.corpora import Corpus, Leak, SentencePair, count_leaks, find_leaks, normalise_text
from kslottery_core.errors import CorpusError


def make(sources, lines=()):
    return Corpus("x", tuple(SentencePair(source, "t") for source in sources), (), "", tuple(lines))


def compare_all(train, test, threshold):
    """The similarity of the most similar training sentence, by the definition, for each test line that leaks."""

    def shingle(text):
        folded = normalise_text(text).casefold().ljust(5)
        return {folded[start : start + 5] for start in range(len(folded) - 4)}

    known = {normalise_text(source) for source in train}
    exact = {line for line, source in enumerate(test, 1) if normalise_text(source) in known}
    near = {}
    for line, source in enumerate(test, 1):
        one = shingle(source)
        best = max((len(one & other) / len(one | other) for other in map(shingle, train)), default=0.0)
        if line not in exact and best >= threshold:
            near[line] = best
    return exact, near


WORDS = st.lists(
    st.sampled_from(["the", "cat", "dog", "sat", "on", "a", ".", "CAT", "é", "e\u0301", "日本"]), min_size=1, max_size=7
)
SENTENCES = st.lists(WORDS.map(" ".join), max_size=8)


@settings(max_examples=150, deadline=None)
@given(SENTENCES, SENTENCES, st.sampled_from([0.2, 0.5, 0.8, 0.95, 1.0]))
def test_leaks_are_those_that_comparing_all_with_all_finds(train, test, threshold):
    report = find_leaks(make(train), make(test), threshold)
    exact, near = compare_all(train, test, threshold)
    assert {leak.test_line for leak in report.exact} == exact
    assert {leak.test_line: leak.similarity for leak in report.near} == pytest.approx(near)
    for leak in report.near:
        (best,) = compare_all([train[leak.train_line - 1]], [test[leak.test_line - 1]], 0.0)[1].values()
        assert best == pytest.approx(leak.similarity)


def test_lines_are_those_of_the_files():
    train = make(["The dog sleeps in the house.", "Another thing"], [4, 9])
    test = make(["Something else", " The  dog sleeps in the house.", "the dog sleeps in the house!"], [2, 3, 7])
    report = find_leaks(train, test)
    assert report.exact == (Leak(3, 4, 1.0),)
    # 28 characters hold 24 n-grams; the last one differs: 23 shared of 25.
    assert report.near == (Leak(7, 4, 23 / 25),)
    assert report.tested == 3
    assert report.to_json()["near"] == ({"test_line": 7, "train_line": 4, "similarity": 23 / 25},)
    first, second = report.describe()
    assert first == "1 test sentence is also in the training corpus."
    assert "test line 7 like training line 4 (0.92)" in second
    assert find_leaks(make(["a"]), make(["b"])).describe() == ()


def test_white_space_and_unicode_form_hide_no_exact_leak():
    assert len(find_leaks(make(["café con  leche"]), make(["cafe\u0301 con\u00a0leche"])).exact) == 1
    assert count_leaks(make(["café con  leche"]), make(["cafe\u0301 con\u00a0leche", "other"])) == 1


def test_empty_sides_have_no_leak():
    assert find_leaks(make([]), make(["a"])).near == ()
    assert find_leaks(make(["a"]), make([])).tested == 0


@pytest.mark.parametrize("threshold", [0, 1.1, float("nan")])
def test_a_threshold_that_makes_no_sense_is_one_clear_error(threshold):
    with pytest.raises(CorpusError, match="leak threshold: expected a similarity above 0 and up to 1"):
        find_leaks(make(["a"]), make(["b"]), threshold)


def test_twenty_thousand_by_a_thousand_sentences_take_seconds():
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(5000)]
    weights = [1 / (rank + 1) for rank in range(5000)]
    train = [" ".join(draw.choices(words, weights, k=draw.randint(10, 20))) for _ in range(20_000)]
    test = [" ".join(draw.choices(words, weights, k=15)) for _ in range(950)]
    test += train[:25] + [f"{source} end" for source in train[-25:]]
    start = time.perf_counter()
    report = find_leaks(make(train), make(test))
    assert time.perf_counter() - start < 30
    assert [leak.train_line for leak in report.exact] == list(range(1, 26))
    assert [leak.train_line for leak in report.near] == list(range(19_976, 20_001))
