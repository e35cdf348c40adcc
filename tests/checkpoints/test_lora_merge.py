"""Adapters as the after side, matrix by matrix. PEFT's own merge_and_unload is the oracle."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from kslottery_core.checkpoints import open_parameter_pair, open_parameters
from kslottery_core.errors import CheckpointError

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning:peft",
    "ignore:.is_gradient_checkpointing:FutureWarning",
    "ignore::peft.utils.warning.PeftWarning",
)

LINEAR = ["q_proj", "v_proj", "up_proj", "down_proj"]


def save_adapter(base: Path, config: peft.PeftConfig, folder: Path) -> dict[str, torch.Tensor]:
    """Attach, disturb and save an adapter; returns the matrices that PEFT itself merges."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    model.save_pretrained(folder)
    again = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)
    merged: Any = again.merge_and_unload()
    return {name: value.detach() for name, value in merged.state_dict().items() if value.ndim == 2}


def check_merge(base: Path, adapter: Path, merged: dict[str, torch.Tensor], *, exact: bool = False) -> list[str]:
    """Compare every matrix with PEFT's; returns the names of those that differ from the base."""
    pair = open_parameter_pair(base, adapter)
    changed = []
    for name in pair.names:
        one, other = pair.open(name)
        expected = merged[name]
        rows = other.read_rows(0, other.shape[0])
        assert rows.dtype == expected.dtype
        assert other.dtype == pair.after.dtype(name)
        assert torch.equal(rows, expected) if exact else torch.allclose(rows, expected, atol=2e-6), name
        assert torch.allclose(other.read_rows(3, 9), rows[3:9], atol=2e-6)
        assert torch.allclose(other.by_unit("column").read_rows(1, 5), rows.T[1:5], atol=2e-6)
        if not torch.equal(rows, one.read_rows(0, one.shape[0])):
            changed.append(name)
        else:
            assert one.reader == other.reader  # known to be the same without a look at a row
    return changed


CONFIGS: dict[str, tuple[Callable[[], peft.PeftConfig], int]] = {
    "plain": (lambda: peft.LoraConfig(r=4, lora_alpha=6, target_modules=LINEAR), 8),
    "rank-stabilised": (lambda: peft.LoraConfig(r=4, lora_alpha=6, use_rslora=True, target_modules=LINEAR), 8),
    "its own alphas": (
        lambda: peft.LoraConfig(
            r=2, lora_alpha=6, alpha_pattern={"q_proj": 5, "layers.1.mlp.up_proj": 3}, target_modules=LINEAR
        ),
        8,
    ),
    "its own ranks": (
        lambda: peft.LoraConfig(
            r=2, lora_alpha=6, rank_pattern={"v_proj": 4, "^model.layers.0.mlp.down_proj": 1}, target_modules=LINEAR
        ),
        8,
    ),
    "rank and alpha, rank-stabilised": (
        lambda: peft.LoraConfig(
            r=2, use_rslora=True, rank_pattern={"q_proj": 3}, alpha_pattern={".*proj": 7}, target_modules=LINEAR
        ),
        8,
    ),
    "modules to save": (lambda: peft.LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head", "mlp"]), 9),
    "LoRA on the embedding": (lambda: peft.LoraConfig(r=2, lora_alpha=5, target_modules=["embed_tokens", "q_proj"]), 3),
    "LoRA on the head": (lambda: peft.LoraConfig(r=2, lora_alpha=5, target_modules=["lm_head"]), 1),
    "LoRA with replaced rows": (
        lambda: peft.LoraConfig(
            target_modules=["v_proj"], trainable_token_indices={"embed_tokens": [5, 1], "lm_head": [7]}
        ),
        4,
    ),
    "replaced rows": (lambda: peft.TrainableTokensConfig(token_indices=[9, 3], target_modules=["embed_tokens"]), 1),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_matrix_is_the_one_that_peft_merges(name: str, tiny_llama_folder: Path, tmp_path: Path) -> None:
    config, changing = CONFIGS[name]
    merged = save_adapter(tiny_llama_folder, config(), tmp_path / "adapter")
    changed = check_merge(tiny_llama_folder, tmp_path / "adapter", merged)
    assert len(changed) == changing
    notes = " ".join(open_parameters(tmp_path / "adapter").notes)
    assert f"{changing} of 16 matrices change" in notes
    assert "rounded to the base's type (float32)" in notes


@pytest.mark.parametrize("targets", [["q_proj", "down_proj"], ["embed_tokens"]])
def test_a_16_bit_base_is_rounded_as_peft_rounds_it(
    targets: list[str], make_tiny_llama: Callable[..., Any], tmp_path: Path
) -> None:
    make_tiny_llama().bfloat16().save_pretrained(tmp_path / "base")
    merged = save_adapter(tmp_path / "base", peft.LoraConfig(r=1, target_modules=targets), tmp_path / "adapter")
    assert merged["lm_head.weight"].dtype == torch.bfloat16
    assert check_merge(tmp_path / "base", tmp_path / "adapter", merged, exact=True)


@pytest.mark.parametrize("targets", [["c_attn", "c_proj", "c_fc"], ["attn.c_proj"], ["c_proj", "lm_head"], ["wte"]])
def test_conv1d_layers_are_merged_turned(targets: list[str], tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=64, n_embd=16, n_layer=2, n_head=2, n_positions=32, tie_word_embeddings=False)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "base")
    merged = save_adapter(
        tmp_path / "base", peft.LoraConfig(r=2, lora_alpha=3, target_modules=targets), tmp_path / "adapter"
    )
    assert check_merge(tmp_path / "base", tmp_path / "adapter", merged)


def test_an_adapter_on_a_base_without_the_prefix_finds_its_matrices(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=16, n_layer=1, n_head=2, n_positions=32))
    model.base_model.save_pretrained(tmp_path / "base")
    merged = save_adapter(tmp_path / "base", peft.LoraConfig(r=2, target_modules=["c_attn"]), tmp_path / "adapter")
    bare = {name.removeprefix("transformer."): value for name, value in merged.items()}
    assert check_merge(tmp_path / "base", tmp_path / "adapter", bare) == ["h.0.attn.c_attn.weight"]


def test_an_adapter_on_an_adapter_merges_both(tiny_llama_folder: Path, tmp_path: Path) -> None:
    save_adapter(tiny_llama_folder, peft.LoraConfig(r=2, target_modules=["q_proj"]), tmp_path / "one")
    first = open_parameters(tmp_path / "one")
    save_adapter(tiny_llama_folder, peft.LoraConfig(r=2, target_modules=["q_proj"]), tmp_path / "two")
    path = tmp_path / "two" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": "../one"}))
    second = open_parameters(tmp_path / "two")
    name = "model.layers.0.self_attn.q_proj.weight"
    base = open_parameters(tiny_llama_folder).open(name).read_rows(0, 16)
    change = first.open(name).read_rows(0, 16) - base
    assert torch.allclose(second.open(name).read_rows(0, 16), base + 2 * change, atol=1e-5)


def test_a_head_that_a_tied_base_does_not_store_is_told(tiny_tied_llama_folder: Path, tmp_path: Path) -> None:
    config = peft.LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head"])
    save_adapter(tiny_tied_llama_folder, config, tmp_path / "adapter")
    notes = open_parameters(tmp_path / "adapter").notes
    assert any("1 modules whose matrix" in note and "lm_head" in note for note in notes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_dora": True}, r"uses DoRA \(use_dora\).*merge_and_unload"),
        ({"target_parameters": ["x"]}, "LoRA on bare parameters"),
        ({"layer_replication": [[0, 1]]}, "layer replication"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights='pissa_niter_4', which changes the base's own"),
        ({"peft_type": "IA3"}, "expected an adapter of type LORA or TRAINABLE_TOKENS, found IA3"),
        ({"base_model_name_or_path": "/gone"}, "its base model '/gone' cannot be opened"),
    ],
)
def test_what_is_no_plain_sum_is_refused(
    changes: dict[str, Any], message: str, tiny_llama_folder: Path, tmp_path: Path
) -> None:
    save_adapter(tiny_llama_folder, peft.LoraConfig(target_modules=["q_proj"]), tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(CheckpointError, match=message):
        open_parameters(tmp_path)


def test_an_adapter_of_another_model_is_told(
    tiny_llama_folder: Path, make_tiny_llama: Callable[..., Any], tmp_path: Path
) -> None:
    make_tiny_llama(hidden_size=8).save_pretrained(tmp_path / "narrow")
    save_adapter(tmp_path / "narrow", peft.LoraConfig(target_modules=["q_proj"]), tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": str(tiny_llama_folder)}))
    with pytest.raises(CheckpointError, match="is for a matrix of 8 × 8, the base's is 16 × 16"):
        open_parameters(tmp_path / "adapter")
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(weights)
    save_file({name: value for name, value in tensors.items() if "lora_A" in name}, weights)
    with pytest.raises(CheckpointError, match=r"expected lora_A and lora_B .* found lora_A alone"):
        open_parameters(tmp_path / "adapter")
    save_file({name.replace("layers", "blocks"): value for name, value in tensors.items()}, weights)
    with pytest.raises(CheckpointError, match="found none that it has"):
        open_parameters(tmp_path / "adapter")
    weights.unlink()
    with pytest.raises(CheckpointError, match="found neither"):
        open_parameters(tmp_path / "adapter")
