"""Parallel text: what is accepted, what is rejected and with which reason."""

import csv
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kslottery_core.corpora import Corpus, CorpusSpec, SentencePair, count_leaks, load_corpus
from kslottery_core.errors import CorpusError
from kslottery_core.records import read_record

PAIRS = [("The dog sleeps.", "El gos dorm."), ('He says "yes".', "Diu «sí»."), ("A, b", "C, d")]


def write_pairs(path, pairs, source="en", target="ca"):
    if path.suffix == ".jsonl":
        lines = [json.dumps({"translation": {source: one, target: other}}) for one, other in pairs]
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    elif path.suffix in {".csv", ".tsv"}:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="," if path.suffix == ".csv" else "\t")
            writer.writerows([(source, target), *pairs])
    else:
        for language, column in ((source, 0), (target, 1)):
            text = "".join(pair[column] + "\n" for pair in pairs)
            path.with_suffix(f".{language}").write_text(text, encoding="utf-8", newline="\n")
    return path


def load_pairs(path, **options):
    return [(pair.source, pair.target) for pair in load_corpus(CorpusSpec(str(path), **options)).pairs]


def write_bytes(folder, name, content):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("name", ["text.jsonl", "text.csv", "text.tsv", "text.en", "text.ca"])
def test_every_format_gives_the_pairs_that_were_written(tmp_path, name):
    path = write_pairs(tmp_path / name, PAIRS)
    assert load_pairs(path) == PAIRS
    corpus = load_corpus(CorpusSpec(str(path)))
    assert corpus.name == name
    assert corpus.rejected == ()
    assert corpus.fingerprint == load_corpus(CorpusSpec(str(write_pairs(tmp_path / "again.csv", PAIRS)))).fingerprint


SIDES = st.text(st.characters(exclude_characters="\0\n\r", exclude_categories=("Cs",)), min_size=1).map(str.strip)
SIDES = SIDES.filter(bool)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pairs=st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=8), ending=st.sampled_from([".jsonl", ".csv", ".tsv"])
)
def test_any_single_line_pairs_load_back_equal(tmp_path, pairs, ending):
    assert load_pairs(write_pairs(tmp_path / f"any{ending}", pairs)) == pairs


def test_flat_json_lines_and_other_languages_are_read(tmp_path):
    path = write_bytes(tmp_path, "flat.jsonl", '{"de": "Hund", "ro": "câine", "id": 4}\n')
    assert load_pairs(path, source="de", target="ro") == [("Hund", "câine")]


@pytest.mark.parametrize("name", ["text.jsonl", "text.csv", "text.tsv", "text.en"])
def test_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path, name):
    path = write_pairs(tmp_path / name, PAIRS)
    for side in tmp_path.iterdir():
        side.write_bytes(b"\xef\xbb\xbf" + side.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    assert load_pairs(path) == PAIRS


def test_white_space_around_a_sentence_is_removed_and_blank_lines_are_passed_over(tmp_path):
    path = write_bytes(tmp_path, "text.tsv", "\n en \t ca \n\n a \t b \n\t\n")
    assert load_pairs(path) == [("a", "b")]


def test_quotes_that_are_text_stay_in_tab_separated_lines(tmp_path):
    path = write_bytes(tmp_path, "text.tsv", 'en\tca\n"Yes" he said\t"Sí" va dir\n"open\tclose"\n"a ""b"""\tc\n')
    assert load_pairs(path) == [('"Yes" he said', '"Sí" va dir'), ('"open', 'close"'), ('a "b"', "c")]


def test_limit_takes_the_first_valid_pairs(tmp_path):
    path = write_bytes(tmp_path, "text.tsv", "en\tca\na\tb\n\tx\nc\td\ne\tf\nbroken\n")
    corpus = load_corpus(CorpusSpec(str(path), limit=2, max_rejected_share=0.5))
    assert corpus.pairs == (SentencePair("a", "b"), SentencePair("c", "d"))
    assert [rejection.line for rejection in corpus.rejected] == [3]


def test_every_rejected_json_line_has_its_number_and_reason(tmp_path):
    lines = [
        b'{"en": "a", "ca": "b"}',
        b"{",
        b"[1]",
        b'{"translation": "x"}',
        b'{"en": "a"}',
        b'{"en": "a", "ca": "  "}',
        b'{"en": 3, "ca": "b"}',
        b'{"en": "a", "ca": null}',
        b'{"en": "a\\nb", "ca": "c"}',
        b'{"en": "\\ud800", "ca": "c"}',
        b'{"en": "\xff", "ca": "c"}',
        b"[" * 100_000,
        b'{"en": ' + b"9" * 5000 + b"}",
    ]
    corpus = load_corpus(
        CorpusSpec(str(write_bytes(tmp_path, "text.jsonl", b"\n".join(lines))), max_rejected_share=1.0)
    )
    assert len(corpus.pairs) == 1
    expected = [
        (2, "the line is not JSON"),
        (3, "expected a JSON object, found list"),
        (4, "expected languages in 'translation', found str"),
        (5, "the field 'ca' is missing"),
        (6, "the field 'ca' is empty"),
        (7, "the field 'en' is not text (int)"),
        (8, "the field 'ca' is not text (NoneType)"),
        (9, "the field 'en' has a line break inside"),
        (10, "the field 'en' is not text (half of a character pair)"),
        (11, "the line is not UTF-8 text"),
        (12, "the line is not JSON"),
        (13, "the line is not JSON"),
    ]
    assert [rejection.line for rejection in corpus.rejected] == [line for line, _ in expected]
    for rejection, (_, reason) in zip(corpus.rejected, expected, strict=True):
        assert rejection.reason.startswith(reason)
        assert len(rejection.text) <= 200


def test_every_rejected_table_line_has_its_number_and_reason(tmp_path):
    content = b'en,ca\na,b\n1,2,3\nonly\n\xff,x\n"q" r,s\n"a\nb",c\nd,e\n'
    corpus = load_corpus(CorpusSpec(str(write_bytes(tmp_path, "text.csv", content)), max_rejected_share=1.0))
    assert [(pair.source, pair.target) for pair in corpus.pairs] == [("a", "b"), ("d", "e")]
    assert [(rejection.line, rejection.reason.split(" (")[0]) for rejection in corpus.rejected] == [
        (3, "the line has 3 columns where the header has 2"),
        (4, "the line has 1 column where the header has 2"),
        (5, "the line is not UTF-8 text"),
        (6, "the line is not CSV"),
        (7, "the field 'en' has a line break inside"),
    ]
    tabs = load_corpus(
        CorpusSpec(str(write_bytes(tmp_path, "text.tsv", b"en\tca\na\tb\n\xff\tx\n")), max_rejected_share=1.0)
    )
    assert [rejection.reason for rejection in tabs.rejected] == ["the line is not UTF-8 text"]


def test_aligned_files_reject_the_line_where_one_side_is_empty_or_broken(tmp_path):
    path = write_bytes(tmp_path, "text.en", b"a\nb\nc\nd\n")
    write_bytes(tmp_path, "text.ca", b"A\n\n\xff\nD\n")
    corpus = load_corpus(CorpusSpec(str(path), max_rejected_share=0.5))
    assert [pair.target for pair in corpus.pairs] == ["A", "D"]
    assert [(rejection.line, rejection.reason) for rejection in corpus.rejected] == [
        (2, "the field 'ca' is empty"),
        (3, "the line is not UTF-8 text"),
    ]


def test_too_many_rejected_lines_are_an_error_with_their_count_and_the_first_reason(tmp_path):
    path = write_bytes(tmp_path, "text.tsv", "en\tca\n" + "a\tb\n" * 8 + "x\t\n" * 2)
    with pytest.raises(
        CorpusError, match=r"at most 10% .* found 2 of 10 \(the first: line 10: the field 'ca' is empty"
    ):
        load_corpus(CorpusSpec(str(path)))
    assert len(load_corpus(CorpusSpec(str(path), max_rejected_share=0.2)).pairs) == 8


def test_a_hopeless_file_is_not_read_to_its_end(tmp_path):
    path = write_bytes(tmp_path, "text.jsonl", "nonsense\n" * 1500)
    with pytest.raises(CorpusError, match="found none in 1,000 lines"):
        load_corpus(CorpusSpec(str(path)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.jsonl", b"", "found none (no line, or only a header)"),
        ("text.csv", b"", "found none (no line, or only a header)"),
        ("text.csv", b"en,ca\n", "found none (no line, or only a header)"),
        ("text.en", b"", "found none (no line, or only a header)"),
        ("text.jsonl", b"\n\n", "found none (no line, or only a header)"),
        ("text.jsonl", b"{\n", "found none in 1 line (the first: line 1: the line is not JSON"),
        ("text.jsonl", b'{"translation": {"en": "a", "es": "b"}}\n', "column 'ca', found 'en', 'es'"),
        ("text.jsonl", b'{"English": "a", "es": "b"}\n', "column 'en', found 'English', 'es'"),
        ("text.csv", b"en,es\na,b\n", "expected a column 'ca', found the columns 'en', 'es'"),
        ("text.csv", b"en;ca\na;b\n", "the columns look separated by ';' where a .csv file has ','"),
        ("text.tsv", b"en,ca\na,b\n", r"the columns look separated by ',' where a .tsv file has '\t'"),
        ("text.csv", b"en,ca,en\na,b,c\n", "expected each column name once, found 'en' 2 times"),
        (
            "text.csv",
            b'"en" x,ca\na,b\n',
            "line 1: expected a header line with column names, found: the line is not CSV",
        ),
        ("text.tsv", b"\xe9,ca\na,b\n", "expected a header line with column names, found: the line is not UTF-8"),
        ("text.csv", b'en,ca\na,b\n"c,d\ne,f\n', "line 3: a quote opens here and is never closed"),
        ("text.jsonl", "{}".encode("utf-16"), "found UTF-16"),
        ("text.csv", b"\x89PNG\r\n\x00\x01", "found a binary file (a zero byte in line 2)"),
        ("text.txt", b"a\n", "ends in .jsonl, .csv or .tsv, or in .en with its other side"),
    ],
)
def test_file_that_cannot_be_used_is_one_clear_error(tmp_path, name, content, message):
    path = write_bytes(tmp_path, name, content)
    if name == "text.en":
        write_bytes(tmp_path, "text.ca", content)
    with pytest.raises(CorpusError) as caught:
        load_corpus(CorpusSpec(str(path)))
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_path_without_a_readable_file_is_one_clear_error(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for path, message in [
        (tmp_path / "none.jsonl", "found nothing there"),
        (tmp_path / "folder.csv", "found a folder"),
        (tmp_path / ("x" * 300 + ".csv"), "cannot be read"),
        (tmp_path / "zero\0.csv", "cannot be read"),
        (Path("~nobody-of-this-name/a.csv"), "home folder that is not known"),
    ]:
        with pytest.raises(CorpusError, match=message):
            load_corpus(CorpusSpec(str(path)))


def test_aligned_files_of_different_length_are_an_error_with_both_counts(tmp_path):
    path = write_bytes(tmp_path, "text.en", "a\nb\n")
    with pytest.raises(CorpusError, match=r"text\.ca: expected a file of parallel text, found nothing there"):
        load_corpus(CorpusSpec(str(path)))
    write_bytes(tmp_path, "text.ca", "A\n")
    with pytest.raises(CorpusError, match=r"as many lines as in text\.ca, found 2 and 1"):
        load_corpus(CorpusSpec(str(path)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": " "}, "path: expected a name"),
        ({"path": "a", "source": ""}, "source: expected a name"),
        ({"path": "a", "source": "ca"}, "two different columns, found 'ca' twice"),
        ({"path": "a", "limit": 0}, "limit: expected a whole number of at least 1, found 0"),
    ],
)
def test_spec_that_makes_no_sense_is_one_clear_error(options, message):
    with pytest.raises(CorpusError, match=message):
        CorpusSpec(**options)


def test_spec_is_read_from_json():
    spec = read_record(CorpusSpec, {"path": "a.csv", "target": "de", "limit": 5}, "spec.json", CorpusError)
    assert spec == CorpusSpec("a.csv", "en", "de", 5)


def test_leaks_are_the_test_sentences_that_the_training_text_holds():
    def corpus(*sources):
        return Corpus("x", tuple(SentencePair(source, "t") for source in sources), (), "")

    assert count_leaks(corpus("a", "b", "b"), corpus("b", "c", "B", "b")) == 2
    assert count_leaks(corpus("a"), corpus("b")) == 0


def test_fingerprint_follows_pairs_and_their_order_only(tmp_path):
    def fingerprint(pairs):
        return load_corpus(CorpusSpec(str(write_pairs(tmp_path / "x.jsonl", pairs)))).fingerprint

    assert fingerprint(PAIRS) == fingerprint(PAIRS)
    assert fingerprint(PAIRS) != fingerprint(PAIRS[::-1])
    assert fingerprint([("a", "bc")]) != fingerprint([("ab", "c")])
    assert len(fingerprint(PAIRS)) == 64


def test_a_table_of_ragged_lines_is_told_by_its_lines_not_by_a_missing_column(tmp_path):
    path = tmp_path / "ragged.tsv"
    path.write_text("en\tca\nHi\tHola\tx\nfoo\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="line 2: the line has 3 columns where the header has 2"):
        load_corpus(CorpusSpec(str(path)))
    path.write_text("en\tca\nfoo\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="line 2: the line has 1 column where the header has 2"):
        load_corpus(CorpusSpec(str(path)))
