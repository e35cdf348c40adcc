import dataclasses

import pytest

from kslottery_core.corpora import CorpusSpec
from kslottery_core.evaluation import EvaluationSettings
from kslottery_core.runs import RunSpec
from kslottery_core.studies import identify_run
from kslottery_core.tickets import Ticket
from kslottery_core.tuning.settings import LoraSettings, PrefixSettings, TuningSettings

SPEC = RunSpec(
    "a run",
    "ticket",
    "some/model",
    ticket=Ticket((3, 5), 10, "list"),
    train=CorpusSpec("train.jsonl"),
    test=CorpusSpec("test.jsonl"),
    tuning=TuningSettings(max_steps=10),
    device="cpu",
)


def change(spec, **changes):
    """Fields of the tuning by their own name, all others by theirs."""
    of_tuning = {name: value for name, value in changes.items() if hasattr(spec.tuning, name)}
    others = {name: value for name, value in changes.items() if name not in of_tuning}
    return dataclasses.replace(spec, tuning=dataclasses.replace(spec.tuning, **of_tuning), **others)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "another"},
        {"output": "checkpoint"},
        {"checkpoint_steps": 7},
        {"epochs": 9.0},  # the number of steps is named
        {"lora": LoraSettings(rank=2)},
        {"prefix": PrefixSettings(3)},
        {"ticket": Ticket((3, 5), 10, "frequent", tokens=("a", "b"), note="of a text")},
        {"train": CorpusSpec("train.jsonl", max_rejected_share=0.5)},
    ],
)
def test_what_no_number_depends_on_does_not_count(changes):
    assert identify_run(change(SPEC, **changes)) == identify_run(SPEC)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "transfer"},
        {"model": "another/model"},
        {"revision": "main"},
        {"ticket": Ticket((3, 6), 10, "list")},
        {"after": "some/other"},
        {"train": CorpusSpec("other.jsonl")},
        {"train": CorpusSpec("train.jsonl", limit=5)},
        {"test": CorpusSpec("train.jsonl")},
        {"prompt": "{source}:"},
        {"evaluation": EvaluationSettings(beams=2)},
        {"device": "cuda"},
        {"learning_rate": 0.1},
        {"seed": 1},
        {"max_steps": 11},
        {"batch_size": 3},
        {"gradient_accumulation": 2},
        {"weight_decay": 0.1},
        {"schedule": "linear"},
        {"warmup_share": 0.5},
        {"max_length": 99},
        {"precision": "bfloat16"},
        {"ticket_rows": "input_and_head"},
    ],
)
def test_what_decides_a_number_counts(changes):
    assert identify_run(change(SPEC, **changes)) != identify_run(SPEC)


def test_settings_of_a_method_count_for_that_method():
    lora, prefix = (change(SPEC, method=method, ticket=None) for method in ("lora", "prefix"))
    assert identify_run(change(lora, lora=LoraSettings(rank=2))) != identify_run(lora)
    assert identify_run(change(lora, prefix=PrefixSettings(3))) == identify_run(lora)
    assert identify_run(change(prefix, prefix=PrefixSettings(3))) != identify_run(prefix)


def test_what_trains_nothing_has_no_seed_and_no_rate():
    base = change(SPEC, method="base", ticket=None, train=None)
    assert identify_run(change(base, seed=1, learning_rate=0.1, max_steps=3, batch_size=1)) == identify_run(base)
    assert identify_run(change(base, precision="bfloat16")) != identify_run(base)


def test_of_a_device_only_its_kind_counts_and_auto_is_what_it_became():
    auto = change(SPEC, device="auto")
    assert identify_run(auto, "cpu") == identify_run(SPEC)
    assert identify_run(auto, "cuda:1") == identify_run(change(SPEC, device="cuda"))
    assert identify_run(auto, "cuda:1") != identify_run(SPEC)


def test_a_spec_of_an_older_program_has_the_defaults_of_what_it_does_not_name():
    old = SPEC.to_json()
    for name in ("lora", "prefix", "checkpoint_steps", "ticket_rows"):
        del old["tuning"][name]
    del old["output"], old["train"]["drop_duplicates"]
    assert identify_run(RunSpec.from_json(old, "spec.json")) == identify_run(SPEC)


def test_a_path_is_one_however_it_is_written(tmp_path, monkeypatch):
    (tmp_path / "train.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    absolute = dataclasses.replace(SPEC, train=CorpusSpec(str(tmp_path / "train.jsonl")))
    assert identify_run(absolute) == identify_run(SPEC)
