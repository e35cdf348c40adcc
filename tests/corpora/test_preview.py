"""The preview: columns found, sides proposed, first pairs, and rejected lines, without refusing the text."""

import json

import pytest

from kslottery_core.corpora import ALPACA_PROMPT, CorpusCounts, CorpusSpec, SentencePair, load_corpus, preview_corpus
from kslottery_core.errors import CorpusError


def write(folder, name, content):
    (folder / name).write_text(content, encoding="utf-8")
    return folder / name


@pytest.mark.parametrize(
    ("header", "options", "expected"),
    [
        ("en\tca", {}, ("en", "ca")),
        ("id\tca\ten", {}, ("en", "ca")),
        ("en-US\tcat_Latn", {}, ("en-US", "cat_Latn")),
        ("English\tcatalan", {}, ("English", "catalan")),
        ("src\ttgt", {}, ("src", "tgt")),
        ("question\tanswer", {}, ("question", "answer")),
        ("one\ttwo", {}, (None, None)),
        ("one\ten", {}, ("en", None)),
        ("one\ttwo", {"source_column": "two", "target_column": "one"}, ("two", "one")),
        ("en\tca", {"source_column": "eng"}, (None, "ca")),
    ],
)
def test_the_sides_are_proposed_by_name_code_or_custom(tmp_path, header, options, expected):
    row = "\t".join(f"text {name}" for name in header.split("\t"))
    preview = preview_corpus(CorpusSpec(str(write(tmp_path, "a.tsv", f"{header}\n{row}\n")), **options))
    assert (preview.format, preview.columns) == ("tsv", tuple(header.split("\t")))
    assert (preview.source_column, preview.target_column) == expected
    if None not in expected:
        assert preview.pairs == (SentencePair(f"text {expected[0]}", f"text {expected[1]}"),)


def test_a_proposal_that_is_taken_loads_the_same_pairs(tmp_path):
    path = write(tmp_path, "a.csv", "English,Catalan\na,b\nc,d\n")
    preview = preview_corpus(CorpusSpec(str(path)))
    spec = CorpusSpec(str(path), source_column=preview.source_column, target_column=preview.target_column)
    assert load_corpus(spec).pairs == preview.pairs
    with pytest.raises(CorpusError, match="expected a column 'en', found the columns 'English', 'Catalan'"):
        load_corpus(CorpusSpec(str(path)))


def test_rejected_lines_are_shown_where_loading_refuses_the_text(tmp_path):
    path = write(tmp_path, "a.jsonl", '{"en": "a", "ca": "b"}\nnonsense\n{"en": "c"}\n')
    preview = preview_corpus(CorpusSpec(str(path)), rows=1)
    assert (preview.counts, preview.complete) == (CorpusCounts(1, 2), True)
    assert [rejection.line for rejection in preview.rejected] == [2, 3]
    assert (preview.pairs, preview.lines) == ((SentencePair("a", "b"),), (1,))


def test_only_the_first_lines_are_read(tmp_path):
    path = write(tmp_path, "a.jsonl", "".join(f'{{"en": "a{n}", "ca": "b"}}\n' for n in range(1500)))
    preview = preview_corpus(CorpusSpec(str(path)))
    assert (preview.counts.read, preview.complete, len(preview.pairs)) == (1000, False, 5)
    assert preview_corpus(CorpusSpec(str(path), limit=3)).counts == CorpusCounts(3)


def test_instructions_bring_their_template(tmp_path):
    path = write(tmp_path, "a.json", json.dumps([{"instruction": "a", "input": "b", "output": "c"}]))
    preview = preview_corpus(CorpusSpec(str(path)))
    assert (preview.format, preview.prompt) == ("alpaca", ALPACA_PROMPT)
    assert preview.format_name == "instructions as Alpaca writes them"
    assert preview.pairs == (SentencePair("a\n\n### Input:\nb", "c"),)


def test_other_formats_show_their_languages(tmp_path):
    unit = '<tu><tuv xml:lang="en-US"><seg>a</seg></tuv><tuv xml:lang="ca"><seg>b</seg></tuv></tu>'
    preview = preview_corpus(CorpusSpec(str(write(tmp_path, "a.tmx", f"<tmx><body>{unit}</body></tmx>"))))
    assert (preview.format, preview.columns) == ("tmx", ("en-US", "ca"))
    assert (preview.source_column, preview.target_column, preview.counts.accepted) == ("en-US", "ca", 1)
    write(tmp_path, "b.en", "x\n")
    write(tmp_path, "b.ca", "y\n")
    assert preview_corpus(CorpusSpec(str(tmp_path / "b.en"))).columns == ("en", "ca")


def test_a_text_without_lines_and_no_rows_are_one_clear_error(tmp_path):
    path = write(tmp_path, "a.csv", "en,ca\n")
    with pytest.raises(CorpusError, match="expected at least one line of text, found none"):
        preview_corpus(CorpusSpec(str(path)))
    with pytest.raises(CorpusError, match="rows: expected a whole number of at least 1, found 0"):
        preview_corpus(CorpusSpec(str(path)), rows=0)
