"""Which text, what of it and which learning rate: options of `tune` and `evaluate`, read back from the run's spec."""

import json

import pytest

from kslottery_core.commands import run_commands
from kslottery_core.runs import RunStore
from kslottery_core.tuning.settings import (
    DEFAULT_LEARNING_RATES,
    TRAINED_METHODS,
    TuningSettings,
    choose_learning_rate,
)


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """A store of its own, and nobody works on what is in it."""
    monkeypatch.setenv("KSLOTTERY_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(run_commands, "watch_run", lambda record, watch: None)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"en": f"the cat {n}", "ca": "a bird"}) + "\n" for n in (1, 1, 2)))
    return path


@pytest.fixture
def flores(tmp_path):
    for split in ("dev", "devtest"):
        (tmp_path / "flores" / split).mkdir(parents=True)
        for language in ("eng", "cat"):
            (tmp_path / "flores" / split / f"{language}.{split}").write_text("the cat\n")
    return tmp_path / "flores"


@pytest.fixture
def ask(run, tiny_llama_folder):
    """The spec that `tune METHOD MODEL ...` or `evaluate MODEL ...` leaves in the store."""

    def read_spec(command, *options):
        first = ("evaluate",) if command == "evaluate" else ("tune", command)
        status, out, err = run(*first, tiny_llama_folder, *options)
        assert (status, err) == (0, ""), err
        assert "Run " in out
        return RunStore().list()[0].spec

    return read_spec


@pytest.mark.parametrize("method", TRAINED_METHODS)
def test_every_method_has_its_own_learning_rate_and_help_names_it(ask, run, text, tmp_path, method):
    (tmp_path / "ticket.json").write_text(json.dumps({"token_ids": [3], "vocabulary_size": 64, "rule": "list"}))
    given = ("--ticket", tmp_path / "ticket.json") if method == "ticket" else ()
    rate = {"full": 1e-4, "embedding": 5e-3, "ticket": 1e-2, "lora": 1e-3, "prefix": 1e-2}[method]
    assert ask(method, "--train", text, *given).tuning.learning_rate == rate
    assert f"{method} {rate:g}" in " ".join(run("tune", "--help")[1].replace("│", " ").split())
    assert ask(method, "--train", text, *given, "--learning-rate", 0.25).tuning.learning_rate == 0.25


def test_a_rate_is_the_one_named_or_the_methods_and_old_specs_keep_theirs():
    assert set(DEFAULT_LEARNING_RATES) == set(TRAINED_METHODS)
    assert choose_learning_rate("full", 0.5) == 0.5
    assert choose_learning_rate("transfer") == TuningSettings().learning_rate == 5e-3


def test_columns_filters_and_the_limit_of_rejected_lines_reach_the_run(ask, text, tmp_path):
    table = tmp_path / "pairs.csv"
    table.write_text("src,tgt\nthe cat,a bird\nthe cat,a bird\nx,y\n")
    spec = ask(
        "full", "--train", table, "--test", text, "--source-column", "src", "--target-column", "tgt",
        "--test-source-column", "en", "--test-target-column", "ca", "--min-characters", 2, "--max-characters", 50,
        "--max-length-ratio", 3.5, "--drop-duplicates", "--train-limit", 7, "--test-limit", 2,
        "--max-rejected-share", 0.4,
    )  # fmt: skip
    train, test = spec.train, spec.test
    assert (train.source, train.source_column, train.target_column) == ("en", "src", "tgt")
    assert (train.min_characters, train.max_characters, train.max_length_ratio) == (2, 50, 3.5)
    assert (train.drop_duplicates, train.limit, train.max_rejected_share) == (True, 7, 0.4)
    assert (test.source_column, test.target_column, test.limit, test.max_rejected_share) == ("en", "ca", 2, 0.4)
    assert (test.min_characters, test.max_characters, test.drop_duplicates) == (None, None, False)


def test_columns_hold_for_both_texts_unless_the_test_has_its_own(ask, tmp_path):
    for name in ("train", "test"):
        (tmp_path / f"{name}.tsv").write_text("src\ttgt\nthe cat\ta bird\n")
    columns = ("--source-column", "src", "--target-column", "tgt")
    spec = ask("full", "--train", tmp_path / "train.tsv", "--test", tmp_path / "test.tsv", *columns)
    assert (spec.test.source_column, spec.test.target_column) == ("src", "tgt")


def test_splits_belong_to_their_own_text(ask, flores):
    spec = ask("embedding", "--train", flores, "--split", "dev", "--test", flores, "--test-split", "devtest")
    assert (spec.train.split, spec.test.split) == ("dev", "devtest")
    assert ask("evaluate", "--test", flores, "--split", "dev").test.split == "dev"


def test_an_evaluation_can_leave_pairs_out(ask, text):
    test = ask("evaluate", "--test", text, "--drop-duplicates", "--max-characters", 40, "--test-limit", 1).test
    assert (test.drop_duplicates, test.max_characters, test.limit) == (True, 40, 1)


TICKET = {"token_ids": [3, 5], "vocabulary_size": 64, "rule": "list"}


@pytest.fixture
def hostile(text, flores, tiny_llama_folder, tmp_path):
    """Files that a run cannot use, in the current folder."""
    for name, changes in {
        "other": {"vocabulary_size": 32000},
        "width": {"width": 5},
        "range": {"token_ids": [3, 64]},
        "twice": {"token_ids": [3, 3]},
        "empty": {"token_ids": []},
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({**TICKET, **changes}))
    (tmp_path / "bytes.json").write_bytes(bytes(range(256)))
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "bytes.jsonl").write_bytes(bytes(range(256)) * 9)
    (tmp_path / "none.jsonl").write_text('{"en": "", "ca": ""}\nno JSON\n')
    lines = [{"en": words, "ca": "a"} for words in ("the cat", "the cat " * 300)]
    (tmp_path / "long.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("ticket --ticket other.json", "made for a vocabulary of 32000 tokens, this model has 64 rows"),
        ("ticket --ticket width.json", "made for rows of width 5, this model has width 16"),
        ("ticket --ticket range.json", "range.json: ticket: expected token ids from 0 to 63, found 64"),
        ("ticket --ticket twice.json", "twice.json: ticket: expected distinct token ids"),
        ("ticket --ticket empty.json", "found an empty ticket"),
        ("ticket --ticket flores", "flores: a folder cannot be read as JSON"),
        ("ticket --ticket bytes.json", "bytes.json: the file cannot be read, it is not valid UTF-8"),
        ("ticket --ticket deep.json", "deep.json: expected JSON, found brackets nested too deeply"),
        ("ticket --ticket gone.json", "gone.json: expected a JSON file, found no file there"),
        ("full --train none.jsonl", "none.jsonl: expected at least one pair of sentences"),
        ("full --train bytes.jsonl", "bytes.jsonl: expected UTF-8 text, found a binary file"),
        ("full --train ''", "path: expected a name, found an empty text"),
        ("full --train long.jsonl", "the prompt of training pair 2 (line 2) alone has"),
        ("full --prompt 'no place'", "expected the placeholder {source}"),
        ("full --prompt ''", "expected the placeholder {source}"),
        ("full --learning-rate 0", "learning_rate: expected a number above 0, found 0.0"),
        ("full --learning-rate -1", "learning_rate: expected a number above 0, found -1.0"),
        ("full --learning-rate nan", "learning_rate: expected a number above 0, found nan"),
        ("full --max-steps -3", "max_steps: expected a number above 0, found -3"),
        ("full --checkpoint-steps -1", "checkpoint_steps: expected a whole number of steps"),
        ("full --max-length 1000000000", "max_length: expected at most 256, the positions of this model"),
        ("full --max-length 5", "the prompt of training pair 1 (line 1) alone has"),
        ("full --test pairs.jsonl --max-new-tokens 100000", "do not fit into the 256 positions of this model"),
        ("lora --lora-targets nosuch", "no linear layer called 'nosuch'"),
        ("prefix --virtual-tokens 1000000000", "leave no room for text in the 256 positions"),
        ("full --split dev", "split: only FLORES and data sets have splits"),
        ("full --test-split dev", "--test-split: it concerns the test text, and none is named"),
        ("full --test-limit 3", "--test-limit: it concerns the test text, and none is named"),
        ("full --train flores --split train", "expected the split 'train' of FLORES, found dev, devtest"),
        ("full --max-rejected-share 2", "max_rejected_share: expected a share from 0 to 1, found 2.0"),
        ("full --min-characters 0", "min_characters: expected at least 1, found 0"),
        ("full --train-limit 0", "limit: expected a whole number of at least 1, found 0"),
        ("full --min-characters 900", "found none that passes the filters"),
        ("full --source-column ca --target-column ca", "expected two different columns"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_starts(run, hostile, tiny_llama_folder, monkeypatch, options, said):
    import shlex

    monkeypatch.chdir(hostile)
    method, *given = shlex.split(options)
    train = () if "--train" in given else ("--train", "pairs.jsonl")
    status, out, err = run("tune", method, tiny_llama_folder, *train, *given)
    assert status == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert out == ""
    assert not (hostile / "home").exists()


def test_an_option_of_a_training_text_that_a_transfer_has_not_is_refused(run, hostile, tiny_llama_folder, monkeypatch):
    monkeypatch.chdir(hostile)
    (hostile / "good.json").write_text(json.dumps(TICKET))
    transfer = ("tune", "transfer", tiny_llama_folder, "--after", tiny_llama_folder, "--ticket", "good.json")
    for option, value in (("--train-limit", 3), ("--split", "dev"), ("--max-characters", 9)):
        status, _, err = run(*transfer, "--test", "pairs.jsonl", option, value)
        assert (status, f"{option}: it concerns the training text, and none is named" in err) == (2, True)
