"""What a model's layers say about LoRA and prefix, held against the same model built with weights and run."""

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from kslottery_core.checkpoints.library_output import keep_transformers_quiet
from kslottery_core.errors import TuningError
from kslottery_core.tuning.dataset import Examples, check_examples_fit
from kslottery_core.tuning.lora import check_lora_fits, prepare_lora
from kslottery_core.tuning.prefix import check_prefix_fits, prepare_prefix
from kslottery_core.tuning.settings import LoraSettings, PrefixSettings

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100}
GROUPED = {**SIZES, "num_key_value_heads": 2, "intermediate_size": 64}
CONFIGS = {
    "Llama": GROUPED,
    "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 100},
    "Bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 100},
    "Qwen3": {**GROUPED, "head_dim": 8},
    "Falcon": SIZES,  # one key for all heads
    "Mamba": {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 100},
    "Lfm2": {**GROUPED, "layer_types": ["conv", "full_attention"]},
}

pytestmark = pytest.mark.filterwarnings("ignore")  # of building models whose special tokens lie outside V


def build(name, device):
    config = getattr(transformers, f"{name}Config")(**CONFIGS[name])
    with keep_transformers_quiet(), torch.device(device):
        return AutoModelForCausalLM.from_config(config)


def takes_a_prefix(name):
    """The oracle: PEFT and transformers on a model with weights."""
    try:
        model = prepare_prefix(build(name, "cpu"), PrefixSettings(3), 0)
        with keep_transformers_quiet(), torch.no_grad():
            model(input_ids=torch.ones((1, 4), dtype=torch.int64), attention_mask=torch.ones((1, 4), dtype=torch.int64))
    except Exception:
        return False
    return True


@pytest.mark.parametrize("name", CONFIGS)
def test_a_prefix_is_refused_where_the_model_with_weights_fails(name):
    fits = takes_a_prefix(name)
    assert fits == (name in ("Llama", "GPT2", "Bloom", "Qwen3"))
    if fits:
        assert check_prefix_fits(build(name, "meta"), PrefixSettings(3)).active_peft_config.num_virtual_tokens == 3
        return
    with pytest.raises(TuningError, match="prefix: PEFT cannot put a prefix before a model of type") as refused:
        check_prefix_fits(build(name, "meta"), PrefixSettings(3))
    assert "\n" not in str(refused.value)


def test_a_prefix_as_long_as_the_model_is_refused_before_it_is_made():
    with pytest.raises(TuningError, match=r"1,000,000,000 of them leave no room for text in the 2,048 positions"):
        check_prefix_fits(build("Llama", "meta"), PrefixSettings(10**9))


@pytest.mark.parametrize("name", ["Llama", "GPT2", "Falcon"])
def test_a_lora_fits_where_it_can_be_prepared(name):
    prepare_lora(build(name, "cpu"), LoraSettings(rank=32), 0)
    check_lora_fits(build(name, "meta"), LoraSettings(rank=32))


def test_layers_that_peft_refuses_are_told_in_one_sentence():
    with pytest.raises(
        TuningError, match="lora: PEFT cannot put a LoRA beside these layers of a model of type 'mamba'"
    ):
        check_lora_fits(build("Mamba", "meta"), LoraSettings(target_modules=("out_proj",)))
    check_lora_fits(build("Mamba", "meta"), LoraSettings(target_modules=("in_proj",)))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (LoraSettings(target_modules=("nosuch",)), "no linear layer called 'nosuch'; it has q_proj, k_proj"),
        (LoraSettings(rank=33), "lora rank: expected at most 32"),
        (LoraSettings(rank=17, target_modules=("k_proj",)), "lora rank: expected at most 16"),
    ],
)
def test_a_lora_that_no_layer_can_take_is_refused(settings, said):
    with pytest.raises(TuningError, match=said):
        check_lora_fits(build("Llama", "meta"), settings)


def test_looking_leaves_the_random_numbers_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    check_lora_fits(build("Llama", "meta"), LoraSettings())
    check_prefix_fits(build("Llama", "meta"), PrefixSettings())
    assert torch.equal(torch.rand(3), expected)


def make_examples(*lengths):
    return Examples(tuple({"input_ids": [1] * length, "labels": [1] * length} for length in lengths), 0, 1)


def test_examples_beyond_the_positions_are_named():
    check_examples_fit(make_examples(4, 8, 8), 8)
    check_examples_fit(make_examples(4, 8, 8), None)
    check_examples_fit(make_examples(4, 8, 8), 10, virtual_tokens=2)
    with pytest.raises(TuningError, match=r"training pair 2 has 9 tokens.* 8 positions.* at most 8"):
        check_examples_fit(make_examples(4, 9, 9), 8)
    with pytest.raises(TuningError, match="virtual tokens: 2 of them and a training example of 8 tokens do not fit"):
        check_examples_fit(make_examples(4, 8), 9, virtual_tokens=2)
