"""Token counts and the tokens of a template, against the tokenizer itself."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kslottery_core.corpora import DEFAULT_PROMPT, count_tokens, list_prompt_tokens
from kslottery_core.errors import CorpusError

LANGUAGES = {"source_language": "en", "target_language": "ca"}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text("the small ctrd.", max_size=20), max_size=6))
def test_counts_are_those_of_each_text_after_a_colon(tiny_tokenizer, texts):
    expected = Counter()
    for text in texts:
        expected.update(tiny_tokenizer(f": {text}", add_special_tokens=False)["input_ids"])
    expected.subtract({tiny_tokenizer(":")["input_ids"][0]: len(texts)})
    counts = count_tokens(tiny_tokenizer, iter(texts), 70)
    assert (counts.shape, counts.dtype) == ((70,), np.int64)
    assert {token_id: count for token_id, count in enumerate(counts) if count} == +expected


def test_a_first_word_counts_as_after_a_space(tiny_tokenizer):
    counts = count_tokens(tiny_tokenizer, ["the", "the"])
    names = tiny_tokenizer.convert_ids_to_tokens(np.flatnonzero(counts).tolist())
    assert (names, counts.sum(), len(counts)) == (["▁the"], 2, len(tiny_tokenizer))


def test_more_texts_than_a_batch_are_all_counted(tiny_tokenizer):
    assert count_tokens(tiny_tokenizer, ["the"] * 2345).sum() == 2345


def test_a_tokenizer_of_another_model_is_one_clear_error(tiny_tokenizer):
    with pytest.raises(CorpusError, match="expected token ids from 0 to 3, found"):
        count_tokens(tiny_tokenizer, ["the cat"], 4)


def test_tokens_of_the_template_are_those_that_every_filled_prompt_has(tiny_tokenizer):
    ids = list_prompt_tokens(tiny_tokenizer, DEFAULT_PROMPT, **LANGUAGES)
    filled = DEFAULT_PROMPT.format(source="bird", source_language="English", target_language="Catalan")
    whole = set(tiny_tokenizer(filled)["input_ids"])
    assert set(ids) <= whole
    assert list(ids) == sorted(set(ids))
    # What is left over belongs to the sentence "bird" with the space before it.
    assert whole - set(ids) <= set(tiny_tokenizer(" bird")["input_ids"])


def test_the_sentence_may_stand_anywhere_and_twice(tiny_tokenizer):
    def name(template):
        ids = list_prompt_tokens(tiny_tokenizer, template, **LANGUAGES)
        return set(tiny_tokenizer.convert_ids_to_tokens(ids))

    assert name("{source}") == set()
    # In this small vocabulary a space joins none of the sample sentences, so it is a token of its own.
    assert name("{source} the {source}") == {"▁the", "▁"}
    assert name("the{source}") - {"t", "h", "e", "th", "he", "the"} == set()


def test_a_slow_tokenizer_is_asked_piece_by_piece():
    class Slow:
        eos_token_id = 2
        is_fast = False

        def __call__(self, text, add_special_tokens=True):
            ids = [10 + "abc".index(letter) for letter in text]
            return {"input_ids": [1, *ids, 2] if add_special_tokens else ids}

    assert list_prompt_tokens(Slow(), "a{source}b", **LANGUAGES) == (1, 10, 11)


def test_a_prompt_without_a_place_for_the_sentence_is_one_clear_error(tiny_tokenizer):
    with pytest.raises(CorpusError, match=r"found none; add \{source\}"):
        list_prompt_tokens(tiny_tokenizer, "Translate:", **LANGUAGES)
