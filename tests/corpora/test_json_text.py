"""JSON lists and instruction data."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kslottery_core.corpora import ALPACA_PROMPT, CorpusSpec, SentencePair, check_prompt, fill_prompt, load_corpus
from kslottery_core.errors import CorpusError

ALPACA = [
    {"instruction": "Name a colour.", "input": "", "output": "Red."},
    {"instruction": "Translate.", "input": "two\nlines", "output": "dues\nlínies"},
    {"instruction": "Say hello.", "output": "Hello."},
]
EXPECTED = [
    SentencePair("Name a colour.", "Red."),
    SentencePair("Translate.\n\n### Input:\ntwo\nlines", "dues\nlínies"),
    SentencePair("Say hello.", "Hello."),
]


def write(folder, name, content):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1), encoding="utf-8")
    return path


def write_lines(folder, name, items):
    return write(folder, name, "".join(json.dumps(item) + "\n" for item in items))


@pytest.mark.parametrize("name", ["alpaca.json", "alpaca.jsonl", "lines.json"])
def test_instructions_become_pairs_with_the_input_below(tmp_path, name):
    path = write(tmp_path, name, ALPACA) if name == "alpaca.json" else write_lines(tmp_path, name, ALPACA)
    corpus = load_corpus(CorpusSpec(str(path)))
    assert list(corpus.pairs) == EXPECTED
    assert corpus.prompt == ALPACA_PROMPT


def test_the_filled_template_is_the_one_that_alpaca_publishes():
    check_prompt(ALPACA_PROMPT)
    filled = fill_prompt(ALPACA_PROMPT, source=EXPECTED[1].source, source_language="en", target_language="ca")
    assert filled == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nTranslate.\n\n### Input:\ntwo\nlines\n\n### Response:"
    )


def test_named_columns_or_languages_take_instructions_as_any_other_fields(tmp_path):
    path = write(tmp_path, "a.json", [ALPACA[0] | {"en": "a", "ca": "b"}])
    assert load_corpus(CorpusSpec(str(path))).pairs == (SentencePair("a", "b"),)
    named = CorpusSpec(str(path), source_column="instruction", target_column="output")
    assert (load_corpus(named).pairs, load_corpus(named).prompt) == ((EXPECTED[0],), None)


def test_examples_without_text_are_rejected_with_their_line(tmp_path):
    broken = [{"instruction": "a", "output": ""}, {"instruction": 3, "output": "b"}, 5]
    broken.append({"instruction": "a", "input": 4, "output": "b"})
    corpus = load_corpus(CorpusSpec(str(write(tmp_path, "a.json", [ALPACA[0], *broken])), max_rejected_share=1.0))
    assert [(r.line, r.reason) for r in corpus.rejected] == [
        (7, "the field 'output' is empty"),
        (11, "the field 'instruction' is not text (int)"),
        (15, "expected a JSON object, found int"),
        (16, "the field 'input' is not text (int)"),
    ]


FIELDS = st.text(st.characters(exclude_characters="\0\n\r", exclude_categories=("Cs",)), min_size=1).map(str.strip)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pairs=st.lists(st.tuples(FIELDS.filter(bool), FIELDS.filter(bool)), min_size=1, max_size=6),
    indent=st.sampled_from([None, 0, 3]),
    ascii_only=st.booleans(),
)
def test_a_list_of_translations_gives_what_was_written(tmp_path, pairs, indent, ascii_only):
    items = [{"translation": {"en": one, "ca": other}} for one, other in pairs]
    text = json.dumps(items, indent=indent, ensure_ascii=ascii_only)
    path = tmp_path / "list.json"
    path.write_bytes(b"\xef\xbb\xbf \n" + text.encode())
    corpus = load_corpus(CorpusSpec(str(path)))
    assert [(pair.source, pair.target) for pair in corpus.pairs] == pairs
    if indent is not None:
        starts = [n for n, line in enumerate(text.split("\n"), 2) if line.strip() == "{" and len(line) - indent == 1]
        assert list(corpus.lines) == starts


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"en": "a", "ca": "b"}\n {"en": "c"}]', "breaks at line 2, column 2 (Expecting ',' or ']')"),
        ('[{"en": "a", "ca": "b"},', "breaks at line 1, column 25"),
        ('[{"en": "a", "ca": "b"}', "breaks at line 1, column 24 (Expecting ',' or ']')"),
        ('[{"en": }]', "breaks at line 1"),
        ('[{"en": "a", "ca": "b"}] more', "expected nothing after the JSON list"),
        ("[", "breaks at line 1"),
        ("[]", "expected at least one pair of sentences, found none"),
        ("[] ]", "expected nothing after the JSON list"),
        ("", "expected at least one pair of sentences, found none"),
        ("[" * 100_000, "cannot be read"),
        ('[{"en": ' + "9" * 5000 + "}]", "cannot be read"),
        (b'[{"en": "a",\n "ca": "\xff"}]', "line 2: expected UTF-8 text"),
        ('{"a": 1}', "expected the language or column 'en', found 'a'"),
    ],
)
def test_a_malformed_list_is_one_clear_error(tmp_path, content, message):
    path = tmp_path / "broken.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CorpusError) as caught:
        load_corpus(CorpusSpec(str(path)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_list_is_one_clear_error(tmp_path):
    with pytest.raises(CorpusError, match="found nothing there"):
        load_corpus(CorpusSpec(str(Path(tmp_path) / "none.json")))
