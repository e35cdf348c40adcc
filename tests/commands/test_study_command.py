import csv
import json

import pytest

from kslottery_core.commands.study_commands import EXAMPLE
from kslottery_core.runs.worker import work
from kslottery_core.studies import StudySpec, StudyStore


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Everything that the command line keeps lies in the test's folder, with two small texts."""
    monkeypatch.setenv("KSLOTTERY_HOME", str(tmp_path / "home"))
    for name in ("train", "test"):
        lines = [json.dumps({"translation": {"en": f"the cat {n}", "ca": f"el gat número {n} canta"}}) for n in (1, 2)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.fixture
def create(run, home, tiny_llama_folder):
    """Create a study on the command line; returns its id. Options are added to those that it needs."""

    def do(*options):
        texts = ("--train", home / "train.jsonl", "--test", home / "test.jsonl", "--prompt", "{source}", "--steps", 2)
        status, out, err = run(
            *("study", "create", "--model", tiny_llama_folder, *texts, "--device", "cpu", "--max-new-tokens", 4),
            *options,
        )
        assert status == 0, err
        assert "kslottery study start" in out
        return out.split()[1]

    return do


@pytest.fixture
def in_process(monkeypatch):
    """Runs are worked on in this process."""
    import sys

    import kslottery_core.studies  # noqa: F401

    monkeypatch.setattr(
        sys.modules["kslottery_core.studies.conduct"], "start_worker", lambda record, command=None: work(record.folder)
    )


def test_the_example_is_a_study(run):
    status, out, _ = run("study", "example")
    assert status == 0 and json.loads(out) == EXAMPLE
    spec = StudySpec.from_json(json.loads(out), "example")
    assert {arm.method for arm in spec.arms} >= {"base", "embedding", "ticket", "transfer", "lora"}


def test_options_describe_a_grid(create):
    study_id = create(
        *("--arm", "base", "--arm", "embedding@0.1,0.2", "--arm", "ticket:ks", "--arm", "ticket:frequent"),
        *("--arm", "transfer:ks", "--arm", "lora", "--seeds", "1,2", "--alpha", "0.5", "--name", "mine"),
    )
    spec = StudyStore().get(study_id).spec
    assert [(arm.label, arm.method) for arm in spec.arms] == [
        ("base", "base"),
        ("embedding", "embedding"),
        ("ticket ks", "ticket"),
        ("ticket frequent", "ticket"),
        ("transfer ks", "transfer"),
        ("lora", "lora"),
    ]
    assert (spec.name, spec.seeds, spec.steps) == ("mine", (1, 2), (2,))
    assert spec.arms[1].learning_rates == (0.1, 0.2) and spec.arms[2].rows.significance_level == 0.5


def test_a_file_describes_a_grid(run, home, tiny_llama_folder):
    train, test = ({"path": str(home / f"{part}.jsonl")} for part in ("train", "test"))
    described = {
        **EXAMPLE,
        "model": str(tiny_llama_folder),
        "texts": [{"train": train, "test": test}],
        "prompt": "{source}",
    }
    (home / "study.json").write_text(json.dumps(described))
    status, out, err = run("study", "create", home / "study.json")
    assert (status, err) == (0, "")
    spec = StudyStore().get(out.split()[1]).spec
    assert spec.arms == StudySpec.from_json(EXAMPLE, "example").arms and spec.steps == (100, 300)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected a FILE, or --model, --train and --test"),
        (("x.json", "--model", "m"), "expected a file or options, found x.json and --model"),
        (("x.json", "--batch-size", "16"), "expected a file or options, found x.json and --batch-size"),
        (("--model", "m/m", "--train", "a", "--test", "a", "--arm", "full"), "a test text that is not trained on"),
        (("x.json",), "expected a JSON file, found no file there"),
        (("--model", "m", "--train", "a", "--test", "b"), "arms: expected at least one"),
        (("--model", "m", "--train", "a", "--test", "b", "--arm", "ticket"), "'ticket' needs rows"),
        (("--model", "m", "--train", "a", "--test", "b", "--arm", "ticket:ks"), "own embedding tuning, found none"),
        (("--model", "m", "--train", "a", "--test", "b", "--arm", "full@fast"), "expected learning rates after @"),
        (("--model", "m", "--train", "a", "--test", "b", "--arm", "full", "--seeds", "one"), "seeds: expected whole"),
        (("--model", "m", "--train", "a", "--test", "b", "--arm", "full@0"), "learning rates above 0, found 0.0"),
        (("--model", "m/m", "--train", "a", "--test", "b", "--arm", "full"), "found nothing at a"),
    ],
)
@pytest.mark.usefixtures("home")
def test_bad_input_is_one_sentence(run, arguments, message):
    status, out, err = run("study", "create", *arguments)
    assert status == 2 and out == ""
    assert err.startswith("Error: ") and message in err and err.count("\n") == 1
    assert StudyStore().list() == ()


@pytest.mark.usefixtures("in_process")
def test_a_study_is_run_shown_compared_and_deleted(run, home, create):
    study_id = create("--arm", "base", "--arm", "embedding", "--arm", "ticket:ks", "--top-k", 2)
    assert "0/3" in run("study", "list")[1]
    status, out, err = run("study", "run", study_id)
    assert status == 0, err
    assert "runs    3 finished" in out and "95% bootstrap over sentences" in out
    status, out, err = run("study", "show", study_id, "--csv", home / "table.csv", "--against", "base")
    assert status == 0, err
    assert "against base (paired bootstrap over sentences)" in out
    lines = list(csv.DictReader((home / "table.csv").read_text(encoding="utf-8").splitlines()))
    assert {line["label"] for line in lines} == {"base", "embedding", "ticket ks"}
    assert {line["metric"] for line in lines} >= {"BLEU", "chrF++"}
    for word in ("start", "continue", "run"):
        status, _, err = run("study", word, study_id)
        assert status == 2 and "every run of it is done" in err
    assert "Nothing to stop: the study is finished." in run("study", "stop", study_id)[1]
    status, _, err = run("study", "show", study_id, "--against", "nobody")
    assert status == 2 and "expected an arm among base, embedding, ticket ks" in err
    assert "Deleted" in run("study", "delete", study_id)[1]
    assert "No studies yet" in run("study", "list")[1]
