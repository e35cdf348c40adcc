"""`kslottery corpus`: what it shows of a text, and what it writes."""

import json
import sys

import pytest

from kslottery_core.corpora import CorpusSpec, load_corpus

PAIRS = [("the small cat", "a red bird"), ("a green bird", "the house"), ("a", "the"), ("the small cat", "a red bird")]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("id\tEnglish\tca\n" + "".join(f"{n}\t{one}\t{other}\n" for n, (one, other) in enumerate(PAIRS)))
    return path


def test_the_preview_names_columns_pairs_and_counts(run, text):
    with text.open("a") as file:
        file.write("9\tonly\n")
    status, out, err = run("corpus", text, "--max-rejected-share", 0.5, "--drop-duplicates", "--min-characters", 2)
    assert status == 0, err
    lines = out.splitlines()
    assert lines[0].endswith("pairs.tsv (a tab-separated table)")
    assert lines[1:4] == ["columns       id, English, ca", "source        English", "target        ca"]
    assert lines[4] == "all lines     5 lines read: 2 accepted, 1 rejected, 1 too short, 1 repeated"
    assert lines[5].startswith("rejected      line 6: the field 'ca' is missing: 9 only")
    assert lines[6:8] == ["line 2        the small cat", "              a red bird"]
    assert "the column 'English' is a guess; say --source-column to choose another." in out
    assert "whole text    5 lines read: 2 accepted" in out


def test_leaks_are_listed_with_their_lines(run, text, tmp_path):
    test = tmp_path / "test.jsonl"
    sources = ["a  green bird", "the small cats", "nothing like it"]
    test.write_text("".join(json.dumps({"en": source, "ca": "x"}) + "\n" for source in sources))
    status, out, err = run("corpus", text, "--test", test, "--leak-threshold", 0.7)
    assert status == 0, err
    assert "1 of 3 test sentences are in this text, 1 nearly (character 5-grams" in out
    table = out[out.index("test line") :].splitlines()
    assert [line.split() for line in table[2:4]] == [["1", "3", "1.000"], ["2", "2", "0.900"]]


def test_the_first_example_is_shown_as_the_models_tokens(run, text, tiny_llama_folder, tmp_path):
    (tmp_path / "prompt.txt").write_text("the house: {source}\n")
    status, out, err = run("corpus", text, "--model", tiny_llama_folder, "--prompt-file", tmp_path / "prompt.txt")
    assert status == 0, err
    lines = out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("prompt "))
    assert lines[start].endswith("tokens, read and not learned")
    assert lines[start + 1].replace(" | ", "").replace("␣", " ") == "the house: the small cat"
    assert lines[start + 2].endswith("tokens, learned: these count for the loss")
    assert lines[start + 3].replace(" | ", "").replace("␣", " ") == " a red bird</s>"


def test_the_kept_pairs_are_written_and_load_back(run, text, tmp_path):
    out_path = tmp_path / "new" / "clean.jsonl"
    status, out, _ = run("corpus", text, "--drop-duplicates", "--out", out_path)
    assert (status, f"Wrote 3 pairs to {out_path}" in out) == (0, True)
    assert [(p.source, p.target) for p in load_corpus(CorpusSpec(str(out_path))).pairs] == PAIRS[:3]


def test_instructions_are_written_as_instructions(run, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"instruction": "a", "input": "b", "output": "c\nd"}]))
    status, out, _ = run("corpus", path, "--out", tmp_path / "again.jsonl")
    assert (status, "brings its own" in out) == (0, True)
    first, second = (load_corpus(CorpusSpec(str(p))) for p in (path, tmp_path / "again.jsonl"))
    assert (first.pairs, first.prompt) == (second.pairs, second.prompt)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.jsonl",), "none.jsonl: expected a file of parallel text, found nothing there"),
        (("{text}", "--target", "de"), "expected a column 'de', found the columns 'id', 'English', 'ca'"),
        (("{text}", "--source-column", "nothing"), "expected a column 'nothing'"),
        (("{text}", "--prompt", "no place"), "{source}"),
        (("{text}", "--prompt", "{source}", "--prompt-file", "x"), "found both; leave one out"),
        (("{text}", "--prompt-file", "nowhere.txt"), "nowhere.txt: expected a file with a prompt template"),
        (("{text}", "--test", "none.tsv"), "none.tsv"),
        (("{text}", "--leak-threshold", "0.5"), "give --test PATH or leave it out"),
        (("{text}", "--test", "{text}", "--leak-threshold", "2"), "leak threshold: expected a similarity"),
        (("{text}", "--min-characters", "99"), "none that passes the filters"),
        (("{text}", "--max-length-ratio", "0"), "max_length_ratio: expected at least 1"),
        (("{text}", "--rows", "0"), "rows: expected"),
        (("{text}", "--split", "dev"), "split: only FLORES"),
        (("{text}", "--out", "{text}"), "expected a name that ends in .jsonl"),
        (("{text}", "--model", "nowhere/at/all"), "nowhere/at/all"),
        (("hub:some/where",), "the package datasets, which is not installed"),
    ],
)
def test_wrong_input_is_one_sentence_and_status_two(run, text, monkeypatch, arguments, message):
    monkeypatch.setitem(sys.modules, "datasets", None)
    status, _, err = run("corpus", *(argument.replace("{text}", str(text)) for argument in arguments))
    assert status == 2
    assert err.startswith("Error: ")
    assert message in err
    assert len(err.strip().splitlines()) == 1
