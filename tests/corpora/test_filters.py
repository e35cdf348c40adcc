"""Filters and limits: what each leaves out, and that it is counted."""

import json
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kslottery_core.corpora import CorpusCounts, CorpusSpec, load_corpus, normalise_text
from kslottery_core.errors import CorpusError
from kslottery_core.records import read_record


def write(folder, pairs):
    path = folder / "text.jsonl"
    path.write_text("".join(json.dumps({"en": one, "ca": other}) + "\n" for one, other in pairs), encoding="utf-8")
    return path


PAIRS = [("abcd", "efgh"), ("a", "efgh"), ("abcdefghij", "efgh"), ("abcdefg", "efg"), ("", "x"), ("abcd", "efgh")]


@pytest.mark.parametrize(
    ("options", "kept", "counts"),
    [
        ({}, [1, 2, 3, 4, 6], CorpusCounts(5, 1)),
        ({"min_characters": 2}, [1, 3, 4, 6], CorpusCounts(4, 1, too_short=1)),
        ({"max_characters": 7}, [1, 2, 4, 6], CorpusCounts(4, 1, too_long=1)),
        ({"max_length_ratio": 2.0}, [1, 6], CorpusCounts(2, 1, unbalanced=3)),
        ({"drop_duplicates": True}, [1, 2, 3, 4], CorpusCounts(4, 1, duplicates=1)),
        (
            {"min_characters": 2, "max_characters": 7, "max_length_ratio": 2.0, "drop_duplicates": True, "limit": 9},
            [1],
            CorpusCounts(1, 1, 1, 1, 1, 1),
        ),
        ({"drop_duplicates": True, "limit": 1}, [1], CorpusCounts(1, 0)),
    ],
)
def test_every_line_is_in_exactly_one_count(tmp_path, options, kept, counts):
    corpus = load_corpus(CorpusSpec(str(write(tmp_path, PAIRS)), max_rejected_share=0.5, **options))
    assert (list(corpus.lines), corpus.counts) == (kept, counts)
    assert corpus.counts.read == (1 if options.get("limit") == 1 else 6)


def test_counts_are_told_in_words():
    counts = CorpusCounts(1200, 0, too_short=3, duplicates=7)
    assert counts.describe() == "1,210 lines read: 1,200 accepted, 0 rejected, 3 too short, 7 repeated"


TEXTS = st.text(st.characters(categories=("L", "M", "N", "P", "Zs")), max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8), st.sampled_from(["NFC", "NFD"]), st.data())
def test_a_pair_is_a_duplicate_when_only_white_space_and_unicode_form_differ(tmp_path, pairs, form, data):
    def disguise(text):
        return unicodedata.normalize(form, text).replace(" ", data.draw(st.sampled_from([" ", "  ", "\t", "\u00a0"])))

    pairs = [(f"a {one}".strip(), f"b {other}".strip()) for one, other in pairs]
    again = [(disguise(one), disguise(other)) for one, other in pairs]
    corpus = load_corpus(CorpusSpec(str(write(tmp_path, pairs + again)), drop_duplicates=True))
    distinct = {(normalise_text(one), normalise_text(other)) for one, other in pairs}
    assert len(corpus.pairs) == len(distinct)
    assert corpus.counts.duplicates == 2 * len(pairs) - len(distinct)


def test_filters_that_leave_nothing_are_one_clear_error(tmp_path):
    with pytest.raises(CorpusError, match=r"none that passes the filters \(6 lines read: 0 accepted, .* 5 too short\)"):
        load_corpus(CorpusSpec(str(write(tmp_path, PAIRS)), min_characters=50))


def test_the_share_of_rejected_lines_counts_filtered_lines_as_good(tmp_path):
    path = write(tmp_path, PAIRS)
    assert load_corpus(CorpusSpec(str(path), max_rejected_share=0.17, min_characters=2)).counts.rejected == 1
    with pytest.raises(CorpusError, match="at most 16% of the lines to be rejected, found 1 of 6"):
        load_corpus(CorpusSpec(str(path), max_rejected_share=0.16, min_characters=2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_rejected_share": 1.5}, "max_rejected_share: expected a share from 0 to 1, found 1.5"),
        ({"max_rejected_share": float("nan")}, "max_rejected_share: expected a share"),
        ({"min_characters": 0}, "min_characters: expected at least 1, found 0"),
        ({"max_characters": -1}, "max_characters: expected at least 1, found -1"),
        ({"max_length_ratio": 0.5}, "max_length_ratio: expected at least 1, found 0.5"),
        ({"max_length_ratio": float("nan")}, "max_length_ratio: expected at least 1"),
        ({"min_characters": 9, "max_characters": 5}, "the first not above the second, found 9 and 5"),
        ({"source_column": " "}, "source_column: expected a name"),
        ({"source_column": "x", "target_column": "x"}, "two different columns, found 'x' twice"),
        ({"source_column": "ca"}, "two different columns, found 'ca' twice"),
        ({"split": ""}, "split: expected a name"),
    ],
)
def test_a_spec_that_makes_no_sense_is_one_clear_error(options, message):
    with pytest.raises(CorpusError, match=message):
        CorpusSpec("a.csv", **options)


def test_specs_of_older_runs_are_read_and_mean_the_same():
    old = {"path": "a.csv", "source": "en", "target": "de", "limit": None}
    spec = read_record(CorpusSpec, old, "spec.json", CorpusError)
    assert spec == CorpusSpec("a.csv", "en", "de")
    assert (spec.max_rejected_share, spec.drop_duplicates, spec.source_name) == (0.1, False, "en")
