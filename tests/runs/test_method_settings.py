"""Settings of single methods inside a run's spec: written, read again, and absent from older runs."""

import dataclasses
import json
from pathlib import Path

import pytest

from kslottery_core.errors import KSLotteryError
from kslottery_core.runs import RunSpec, check_spec
from kslottery_core.tuning.settings import LoraSettings, PrefixSettings, TuningSettings

DEMO_SPECS = sorted((Path(__file__).resolve().parents[2] / "data" / "demo" / "runs").glob("*/spec.json"))


@pytest.mark.parametrize("path", DEMO_SPECS, ids=lambda path: path.parent.name)
def test_specs_of_older_runs_stay_readable(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    spec = RunSpec.from_json(content, str(path))
    assert (spec.tuning.ticket_rows, spec.tuning.lora, spec.tuning.prefix) == (
        "input",
        LoraSettings(),
        PrefixSettings(),
    )


def test_there_are_older_runs_to_read():
    assert len(DEMO_SPECS) >= 5


def test_method_settings_survive_the_json_form(make_spec):
    tuning = TuningSettings(lora=LoraSettings(4, 8.0, 0.1, ("q_proj", "v_proj")), prefix=PrefixSettings(7))
    spec = make_spec(method="lora", ticket=None, tuning=tuning)
    check_spec(spec)
    again = RunSpec.from_json(json.loads(json.dumps(spec.to_json())), "spec.json")
    assert again == dataclasses.replace(spec, ticket=None)
    assert again.tuning.lora.target_modules == ("q_proj", "v_proj")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("lora", {"rank": 0}, "lora rank: expected a whole number of at least 1, found 0"),
        ("lora", {"rank": 2.5}, "field 'rank': expected int, found 2.5"),
        ("lora", {"colour": 1}, "unknown field 'colour'"),
        ("prefix", {"virtual_tokens": -1}, "virtual tokens: expected a whole number of at least 1"),
        ("ticket_rows", "both", "ticket_rows: expected one of input, input_and_head"),
    ],
)
def test_wrong_method_settings_in_a_spec_are_told(make_spec, field, value, said):
    content = make_spec(method="lora", ticket=None).to_json()
    content["tuning"][field] = value
    with pytest.raises(KSLotteryError, match=said):
        RunSpec.from_json(content, "spec.json")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "lora"}, "ticket: 'lora' uses no ticket"),
        ({"method": "lora", "ticket": None, "train": None}, "train: 'lora' learns from parallel text"),
        ({"method": "prefix", "ticket": None, "output": "checkpoint"}, "a prefix is no change of weights"),
        (
            {"method": "embedding", "ticket": None, "tuning": TuningSettings(ticket_rows="input_and_head")},
            "'input_and_head' belongs to the method ticket, found the method embedding",
        ),
    ],
)
def test_a_spec_whose_settings_do_not_go_together_is_refused(make_spec, changes, said):
    with pytest.raises(KSLotteryError, match=said):
        check_spec(make_spec(**changes))
