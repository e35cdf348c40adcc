"""The frozen part in 8 or 4 bits: what is asked of transformers, who may ask, and what comes of it."""

import importlib.util
import json
import sys

import pytest
import torch

from kslottery_core.corpora import DEFAULT_PROMPT, Corpus, CorpusSpec, SentencePair
from kslottery_core.errors import CheckpointError, TuningError
from kslottery_core.evaluation.evaluate import describe_number_format
from kslottery_core.tickets import create_list_ticket
from kslottery_core.tuning import TuningSettings, TuningTask, tune
from kslottery_core.tuning.quantization import build_quantization
from kslottery_core.tuning.settings import PrefixSettings, check_method_settings

PAIRS = tuple(SentencePair(f"the small cat sees {number}", "a red bird in the old house") for number in range(6))
needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)


@pytest.fixture
def installed(monkeypatch):
    """As if bitsandbytes were installed: what is refused then is refused for another reason."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: sys if name == "bitsandbytes" else find(name, *_))


def make_task(method, model, **settings):
    return TuningTask(
        method,
        str(model),
        ticket=create_list_ticket([3, 20, 30], 64) if method == "ticket" else None,
        corpus=Corpus("tiny", PAIRS, (), "0" * 64),
        languages=CorpusSpec("tiny.jsonl", "en", "ca"),
        prompt=DEFAULT_PROMPT,
        settings=TuningSettings(learning_rate=0.02, max_steps=4, prefix=PrefixSettings(3), **settings),
    )


def test_four_bits_are_normal_floats_with_quantised_scales_and_products_in_the_runs_format():
    config = build_quantization("4bit", "bfloat16").to_dict()
    assert config["load_in_4bit"] is True and config["load_in_8bit"] is False
    assert config["bnb_4bit_quant_type"] == "nf4"
    assert config["bnb_4bit_use_double_quant"] is True
    assert config["bnb_4bit_compute_dtype"] == "bfloat16"
    eight = build_quantization("8bit", "float32").to_dict()
    assert eight["load_in_8bit"] is True and eight["load_in_4bit"] is False


def test_only_methods_that_train_beside_the_model_can_be_quantised(installed):
    for method in ("ticket", "lora", "prefix"):
        check_method_settings(method, TuningSettings(quantization="4bit"), "rows")
    for method in ("full", "embedding", "transfer", "base"):
        with pytest.raises(TuningError, match=rf"quantization: 8bit is for methods .* found the method {method}"):
            check_method_settings(method, TuningSettings(quantization="8bit"), "rows")


def test_a_missing_bitsandbytes_and_an_unknown_quantization_are_one_sentence(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name == "bitsandbytes" else find(name))
    with pytest.raises(TuningError, match="needs the package bitsandbytes, which is not installed here"):
        check_method_settings("lora", TuningSettings(quantization="4bit"), "rows")
    with pytest.raises(TuningError, match="quantization: expected one of none, 8bit, 4bit, found '2bit'"):
        TuningSettings(quantization="2bit")


def test_what_is_no_whole_model_is_not_quantised(installed, tiny_llama_folder, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(tiny_llama_folder)}))
    (adapter / "adapter_model.safetensors").touch()
    with pytest.raises(CheckpointError, match="which can be quantised as it is read, found a source of the kind"):
        tune(make_task("lora", adapter, quantization="4bit"), tmp_path / "run")


def test_a_score_says_in_how_many_bits_the_model_was(make_tiny_llama):
    model = make_tiny_llama()
    assert describe_number_format(model) == "float32"
    model.is_loaded_in_4bit = True
    assert describe_number_format(model) == "float32, linear layers in 4 bits"


@pytest.fixture(scope="module")
def wide_model(make_tiny_llama, save_tiny_model, tmp_path_factory):
    """Wide enough for blocks of 64 values."""
    model = make_tiny_llama(hidden_size=64, intermediate_size=128)
    return save_tiny_model(model, tmp_path_factory.mktemp("models") / "wide")


@needs_bitsandbytes
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", ["ticket", "lora", "prefix"])
@pytest.mark.parametrize("quantization", ["4bit", "8bit"])
def test_a_quantised_model_trains_and_its_embedding_and_head_stay_as_they_are(
    wide_model, tmp_path, method, quantization
):
    tuned = tune(make_task(method, wide_model, quantization=quantization, batch_size=6), tmp_path)
    plain = tune(make_task(method, wide_model, batch_size=6), tmp_path / "plain")
    assert tuned.report.quantization == quantization
    assert tuned.report.total_parameters == plain.report.total_parameters
    assert tuned.report.final_loss < tuned.report.first_loss
    assert tuned.report.first_loss != plain.report.first_loss
    assert tuned.report.first_loss == pytest.approx(plain.report.first_loss, rel=0.02)
    bits = quantization.removesuffix("bit")
    assert any(f"held in {bits} bits" in note for note in tuned.report.notes)
    assert describe_number_format(tuned.model) == f"float32, linear layers in {bits} bits"
    linear = [module for name, module in tuned.model.named_modules() if name.endswith("mlp.up_proj")]
    assert {str(getattr(module, "base_layer", module).weight.dtype) for module in linear} == {
        "torch.uint8" if bits == "4" else "torch.int8"
    }
    assert tuned.model.get_output_embeddings().weight.dtype == torch.float32
    assert tuned.model.get_input_embeddings().weight.dtype == torch.float32
    tokens = torch.tensor([[3, 5, 20]])
    with torch.no_grad():
        assert torch.isfinite(tuned.model.generate(input_ids=tokens, max_new_tokens=3).float()).all()
