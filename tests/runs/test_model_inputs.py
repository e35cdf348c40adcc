"""What is wrong between model, method and texts is told when a run is asked for, not when it has been loaded."""

import dataclasses
import json

import pytest

from kslottery_core.corpora import CorpusSpec
from kslottery_core.errors import KSLotteryError
from kslottery_core.evaluation.generate import EvaluationSettings
from kslottery_core.runs import check_inputs
from kslottery_core.tuning.settings import LoraSettings, PrefixSettings, TuningSettings


@pytest.fixture
def ask(make_spec, tiny_llama_folder):
    """Check a run on the tiny model of 256 positions with these changes."""

    def check(**changes):
        if changes.get("method", "ticket") != "ticket":
            changes["ticket"] = None
        check_inputs(make_spec(**{"model": str(tiny_llama_folder), **changes}))

    return check


@pytest.mark.parametrize("method", ["ticket", "full", "embedding", "lora", "prefix"])
def test_a_run_in_which_all_goes_together_passes(ask, method):
    ask(method=method)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "lora", "tuning": TuningSettings(lora=LoraSettings(target_modules=("qproj",)))}, "called 'qproj'"),
        ({"method": "lora", "tuning": TuningSettings(lora=LoraSettings(rank=10**9))}, "lora rank: expected at most 16"),
        ({"method": "prefix", "tuning": TuningSettings(prefix=PrefixSettings(256))}, "leave no room for text"),
        ({"method": "prefix", "tuning": TuningSettings(prefix=PrefixSettings(200))}, "virtual tokens: 200 of them and"),
        ({"tuning": TuningSettings(max_length=10**9)}, "max_length: expected at most 256, the positions of this model"),
        ({"tuning": TuningSettings(max_length=5)}, r"training pair 1 \(line 1\) alone has \d+ tokens"),
        (
            {"evaluation": EvaluationSettings(max_new_tokens=10**6)},
            "1000000 new ones do not fit into the 256 positions",
        ),
        (
            {"method": "prefix", "train": None, "tuning": TuningSettings()},
            "train: 'prefix' learns from parallel text",
        ),
    ],
)
def test_what_the_model_cannot_take_is_refused_in_one_sentence(ask, changes, said):
    with pytest.raises(KSLotteryError, match=said) as refused:
        ask(**changes)
    assert "\n" not in str(refused.value)


def test_the_first_pair_without_room_for_its_target_is_named_with_its_line(ask, tmp_path):
    lines = [json.dumps({"en": words, "ca": "a"}) for words in ("the cat", "the cat " * 300, "the cat " * 300)]
    (tmp_path / "long.jsonl").write_text("\n".join([lines[0], "no JSON", *lines[1:]]))
    train = CorpusSpec(str(tmp_path / "long.jsonl"), max_rejected_share=0.5)
    with pytest.raises(KSLotteryError, match=r"training pair 2 \(line 3\) alone has \d+ tokens, so 256 tokens cut"):
        ask(train=train)
    ask(train=dataclasses.replace(train, max_characters=200))


def test_a_sentence_too_long_for_a_small_model_is_refused_whatever_max_length_allows(
    make_spec, make_tiny_llama, save_tiny_model, tmp_path
):
    folder = save_tiny_model(make_tiny_llama(max_position_embeddings=90), tmp_path / "short")
    spec = make_spec(model=str(folder), test=None)
    check_inputs(spec)  # the default length, 256, is nobody's choice
    (tmp_path / "train.jsonl").write_text(json.dumps({"en": "one", "ca": "the garden " * 20}) + "\n")
    with pytest.raises(KSLotteryError, match=r"training pair 1 has \d+ tokens, which do not fit into the 90 positions"):
        check_inputs(spec)
    check_inputs(dataclasses.replace(spec, tuning=TuningSettings(max_length=88)))


def test_a_model_on_the_hub_is_not_asked(ask):
    ask(model="organisation/model-that-is-nowhere", tuning=TuningSettings(max_length=5))
