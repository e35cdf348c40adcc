"""The demo text as a whole: its words, its sizes, and how it is divided."""

import json
from collections import Counter
from itertools import pairwise

import pytest

from kslottery_core.corpora import CorpusSpec, count_leaks, load_corpus
from kslottery_core.demo import phrases
from kslottery_core.demo.grammar_romance import elides
from kslottery_core.demo.lexicon import ADJECTIVES, NOUNS
from kslottery_core.demo.phrases import LANGUAGES, PhraseRow, generate_phrases, save_demo_corpora, split_phrases
from kslottery_core.demo.verbs import VERBS
from kslottery_core.errors import CorpusError


@pytest.fixture(scope="module")
def rows():
    return generate_phrases(seed=0)


def test_every_word_has_as_many_forms_as_the_grammars_need():
    for word in NOUNS:
        size = 1 if "mass" in word.tags else 2
        assert len(word.en) == size, word
        assert len(word.ca) == len(word.es) == size + 1, word
        assert len(word.ro) == 2 * size + 1, word
        assert len(word.de) in ({2} if "mass" in word.tags else {4, 5}), word
        assert {word.ca[0], word.es[0], word.ro[0], word.de[0]} <= {"m", "f", "n"}, word
        assert word.de[1][0].isupper(), word
    for word in ADJECTIVES:
        assert len(word.ca) == len(word.es) == len(word.ro) == 4, word
    for word in VERBS:
        assert [len(getattr(word, language)) for language in LANGUAGES] == [3, 3, 4, 3, 4], word


def test_every_tag_that_is_asked_for_is_a_tag_of_some_noun():
    known = frozenset().union(*(word.tags for word in NOUNS))
    for word in ADJECTIVES:
        assert word.tags <= known, word
    for word in VERBS:
        assert word.subject_tags <= known, word
        assert word.object_tags <= known | {"-"}, word


def test_six_thousand_different_sentences_can_be_drawn():
    drawn = generate_phrases(seed=3, count=6000)
    assert len({row.en for row in drawn}) == 6000


def test_asking_for_more_than_the_lexicon_holds_is_one_clear_error(monkeypatch):
    monkeypatch.setattr(phrases, "write_sentence", lambda sentence: PhraseRow("A b c d.", "b", "c", "d", "e"))
    with pytest.raises(CorpusError, match="asked for 5 different demo phrases, found 1"):
        generate_phrases(count=5)


def test_the_same_seed_draws_the_same_rows(rows):
    assert generate_phrases(seed=0) == rows
    assert generate_phrases(seed=1, count=50) != rows[:50]


def test_no_sentence_of_any_language_is_in_two_rows(rows):
    for language in LANGUAGES:
        (_, most), *_ = Counter(getattr(row, language) for row in rows).most_common(1)
        assert most == 1, language


def test_splits_have_their_sizes_and_share_no_sentence(rows):
    splits = split_phrases(rows)
    assert {name: len(part) for name, part in splits.items()} == {"train": 5000, "dev": 200, "test": 200}
    for language in LANGUAGES:
        train, dev, test = ({getattr(row, language) for row in splits[name]} for name in ("train", "dev", "test"))
        assert train.isdisjoint(dev)
        assert train.isdisjoint(test)
        assert dev.isdisjoint(test)


def test_nearly_every_word_of_the_test_split_occurs_in_the_train_split(rows):
    splits = split_phrases(rows)
    for language in LANGUAGES:
        train, test = (
            {word.strip(".,?¿") for row in splits[name] for word in getattr(row, language).lower().split()}
            for name in ("train", "test")
        )
        # A rare ending may be seen only once ("ajutat-o"); the words themselves are all known.
        assert len(test - train) <= 2, (language, test - train)


def test_sentences_have_four_to_fourteen_words_and_are_well_formed(rows):
    for row in rows:
        assert 4 <= len(row.en.split()) <= 14
        for language in LANGUAGES:
            text = getattr(row, language)
            assert len(text.split()) <= 17, text
            assert text.lstrip("¿")[0].isupper(), text
            assert text[-1] in ".?", text
            assert "  " not in text, text
            assert text.count("?") == text.count("¿") or language != "es", text
            assert (text[-1] == "?") == (row.en[-1] == "?"), text


def test_spanish_and_catalan_contract_what_must_be_contracted(rows):
    assert not [row.es for row in rows if " a el " in row.es or " de el " in row.es]
    vowel_after_article = {f"{article} {word.ca[1]}" for word in NOUNS if elides(word) for article in ("el", "la")}
    for row in rows:
        words = row.ca.lower().rstrip(".?").split()
        pairs = {f"{first} {second}" for first, second in pairwise(words)}
        assert not pairs & vowel_after_article, row.ca


def test_saved_files_hold_the_splits_and_are_small(tmp_path, rows):
    paths = save_demo_corpora(tmp_path / "text")
    assert sorted(path.name for path in (tmp_path / "text").iterdir()) == ["dev.jsonl", "test.jsonl", "train.jsonl"]
    assert sum(path.stat().st_size for path in paths.values()) < 2_500_000
    for name, part in split_phrases(rows).items():
        lines = paths[name].read_text(encoding="utf-8").splitlines()
        assert [json.loads(line) for line in lines] == [row.to_json() for row in part]


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "en"])
def test_saved_files_load_as_corpora_without_rejection_or_leak(tmp_path, language):
    paths = save_demo_corpora(tmp_path)
    train, test = (load_corpus(CorpusSpec(str(paths[name]), target=language)) for name in ("train", "test"))
    assert (len(train.pairs), len(test.pairs)) == (5000, 200)
    assert train.rejected == test.rejected == ()
    assert count_leaks(train, test) == 0
