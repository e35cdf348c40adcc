"""The model without its weights, beside the one that is loaded."""

import json
import shutil

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, T5Config

from kslottery_core.checkpoints import build_blueprint
from kslottery_core.errors import CheckpointError


def list_shapes(model):
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def test_it_has_every_parameter_of_the_model_and_no_memory(tiny_llama_folder):
    blueprint = build_blueprint(tiny_llama_folder)
    assert list_shapes(blueprint) == list_shapes(AutoModelForCausalLM.from_pretrained(tiny_llama_folder))
    assert all(parameter.is_meta for parameter in blueprint.parameters())
    assert torch.get_default_device().type == "cpu"


def test_weights_in_a_model_folder_are_that_model(tiny_llama_folder):
    blueprint = build_blueprint(tiny_llama_folder / "model.safetensors")
    assert list_shapes(blueprint) == list_shapes(build_blueprint(tiny_llama_folder))


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_an_adapter_gives_its_base(tiny_llama_folder, make_tiny_llama, tmp_path):
    adapted = get_peft_model(make_tiny_llama(), LoraConfig(r=2, target_modules=["q_proj"]))
    adapted.peft_config["default"].base_model_name_or_path = str(tiny_llama_folder)
    adapted.save_pretrained(tmp_path / "adapter")
    assert list_shapes(build_blueprint(tmp_path / "adapter")) == list_shapes(build_blueprint(tiny_llama_folder))


def test_an_adapter_without_its_base_is_told(tiny_llama_folder, tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/no/base"}))
    with pytest.raises(CheckpointError, match="its base model '/no/base' cannot be opened"):
        build_blueprint(tmp_path / "adapter")


def test_a_model_that_continues_no_text_is_refused(tiny_llama_folder, tmp_path):
    folder = shutil.copytree(tiny_llama_folder, tmp_path / "t5")
    T5Config(d_model=16, num_layers=1).save_pretrained(folder)
    with pytest.raises(CheckpointError, match=r"expected a causal language model.* found a model of type 't5'"):
        build_blueprint(folder)


def test_weights_alone_are_refused(tiny_llama_folder, tmp_path):
    shutil.copy(tiny_llama_folder / "model.safetensors", tmp_path / "alone.safetensors")
    with pytest.raises(CheckpointError, match="found weights alone"):
        build_blueprint(tmp_path / "alone.safetensors")


@pytest.mark.parametrize(
    "config", ["{", '{"model_type": "nothing-known"}', '{"model_type": "llama", "hidden_size": -1}']
)
def test_a_config_that_cannot_be_built_says_nothing(tiny_llama_folder, tmp_path, config):
    folder = shutil.copytree(tiny_llama_folder, tmp_path / "broken")
    (folder / "config.json").write_text(config)
    assert build_blueprint(folder) is None


def test_the_hub_is_not_asked():
    assert build_blueprint("organisation/model-that-is-nowhere") is None
