import pytest

from kslottery_core.corpora import Corpus, SentencePair, count_tokens, find_token_occurrences

PAIRS = (
    SentencePair("the small cat sees a red house", "a green bird sings in the old garden"),
    SentencePair("12 birds: the cat", "house"),
    SentencePair("the the the", "the cat and the cat"),
)


@pytest.fixture
def corpus():
    return Corpus("text", PAIRS, (), "0" * 64, lines=(1, 2, 5))


def test_every_token_is_found_as_often_as_it_is_counted(tiny_tokenizer, corpus):
    texts = [text for pair in PAIRS for text in (pair.source, pair.target)]
    counts = count_tokens(tiny_tokenizer, texts)
    found = find_token_occurrences(tiny_tokenizer, corpus, range(len(tiny_tokenizer)), shown=100)
    assert [one.total for one in found] == counts.tolist()
    assert counts.max() > 3
    for one in found:
        assert sum(len(shown.spans) for shown in one.shown) == one.total
        assert one.sentences == len(one.shown)
        assert one.read == 6


def test_the_marked_characters_are_the_token(tiny_tokenizer, corpus):
    for one in find_token_occurrences(tiny_tokenizer, corpus, range(3, len(tiny_tokenizer)), shown=100):
        written = tiny_tokenizer.convert_ids_to_tokens(one.token_id).replace("▁", " ").strip()
        for shown in one.shown:
            assert {shown.text[begin:end].strip() for begin, end in shown.spans} <= {written}


def test_sentences_come_with_their_line_and_side_in_the_order_of_the_text(tiny_tokenizer, corpus):
    (the,) = (token_id for word, token_id in tiny_tokenizer.get_vocab().items() if word == "▁the")
    (found,) = find_token_occurrences(tiny_tokenizer, corpus, [the])
    places = [(shown.line, shown.side) for shown in found.shown]
    assert places == [(1, "source"), (1, "target"), (2, "source"), (5, "source"), (5, "target")]
    assert (found.total, found.sentences) == (8, 5)
    (few,) = find_token_occurrences(tiny_tokenizer, corpus, [the], shown=2)
    assert (few.total, few.sentences, len(few.shown)) == (8, 5, 2)


def test_a_text_without_line_numbers_and_a_token_that_is_nowhere(tiny_tokenizer):
    corpus = Corpus("text", PAIRS[1:2], (), "0" * 64)
    the, end = find_token_occurrences(
        tiny_tokenizer, corpus, tiny_tokenizer.convert_tokens_to_ids(["▁the", tiny_tokenizer.eos_token])
    )
    assert [shown.line for shown in the.shown] == [None]
    assert (end.total, end.sentences, end.shown) == (0, 0, ())


def test_a_tokenizer_without_offsets_marks_nothing_but_counts_the_same(tiny_tokenizer, corpus):
    class Slow:
        is_fast = False

        def __call__(self, texts, **options):
            return {"input_ids": tiny_tokenizer(texts, **options)["input_ids"]}

    fast, slow = (find_token_occurrences(tokenizer, corpus, [10, 40]) for tokenizer in (tiny_tokenizer, Slow()))
    assert [one.total for one in slow] == [one.total for one in fast]
    assert all(shown.spans == () for one in slow for shown in one.shown)
