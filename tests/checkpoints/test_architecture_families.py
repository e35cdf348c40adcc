"""The input embedding is found in every family, whatever its tensor is called."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from kslottery_core.checkpoints import load_model, open_embedding, untie_head
from kslottery_core.errors import CheckpointError

SMALL = {"num_hidden_layers": 1, "num_attention_heads": 2}


def make_family(family: str, **overrides: Any) -> Any:
    torch.manual_seed(1)
    settings: dict[str, dict[str, Any]] = {
        "Llama": {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, **SMALL},
        "GPT2": {"vocab_size": 64, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32},
        "GPTNeoX": {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, **SMALL},
        "OPT": {
            "vocab_size": 64,
            "hidden_size": 24,
            "word_embed_proj_dim": 16,
            "ffn_dim": 32,
            "max_position_embeddings": 32,
            **SMALL,
        },
        "Gemma": {
            "vocab_size": 64,
            "hidden_size": 16,
            "intermediate_size": 32,
            "head_dim": 8,
            "num_key_value_heads": 2,
            **SMALL,
        },
        "Bloom": {"vocab_size": 64, "hidden_size": 16, "n_layer": 1, "n_head": 2},
    }
    config = getattr(transformers, f"{family}Config")(
        **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, **settings[family], **overrides}
    )
    return transformers.AutoModelForCausalLM.from_config(config).eval()


FAMILIES = ("Llama", "GPT2", "GPTNeoX", "OPT", "Gemma", "Bloom")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tied", [True, False])
def test_every_family_opens_its_own_embedding(family: str, tied: bool, tmp_path: Path) -> None:
    model = make_family(family, tie_word_embeddings=tied)
    model.save_pretrained(tmp_path)
    matrix = open_embedding(tmp_path)
    assert (matrix.kind, matrix.shape, matrix.dtype, matrix.tied) == ("folder", (64, 16), "float32", tied)
    assert torch.equal(matrix.read_rows(0, 64), model.get_input_embeddings().weight)


@pytest.mark.parametrize("family", FAMILIES)
def test_checkpoints_of_the_bare_base_model_open_without_the_prefix(family: str, tmp_path: Path) -> None:
    model = make_family(family)
    model.base_model.save_pretrained(tmp_path)
    matrix = open_embedding(tmp_path)
    assert torch.equal(matrix.read_rows(0, 64), model.get_input_embeddings().weight)


@pytest.mark.parametrize("family", FAMILIES)
def test_untied_head_stays_apart_after_saving_and_loading(
    family: str, tmp_path: Path, save_tiny_model: Callable[..., Path]
) -> None:
    model = make_family(family, tie_word_embeddings=True)
    head = model.get_output_embeddings().weight.detach().clone()
    assert untie_head(model) is True
    with torch.no_grad():
        model.get_input_embeddings().weight[7] += 1.0
    save_tiny_model(model, tmp_path)
    assert untie_head(model) is False
    again, _ = load_model(tmp_path)
    assert torch.equal(again.get_output_embeddings().weight, head)
    assert torch.equal(again.get_input_embeddings().weight, model.get_input_embeddings().weight)
    assert not torch.equal(again.get_input_embeddings().weight, head)
    assert again.config.tie_word_embeddings is False
    assert open_embedding(tmp_path).tied is False


@pytest.mark.parametrize("family", FAMILIES)
def test_untying_changes_no_output(family: str) -> None:
    model = make_family(family, tie_word_embeddings=True)
    prompt = torch.tensor([[3, 4, 5, 6]])
    with torch.no_grad():
        before = model(prompt).logits
        untie_head(model)
        assert torch.equal(model(prompt).logits, before)


def test_unknown_architecture_asks_for_the_parameter(tmp_path: Path) -> None:
    make_family("Llama").save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"model_type": "llama"', '"model_type": "nobody-knows"'))
    with pytest.raises(CheckpointError, match="--parameter"):
        open_embedding(tmp_path)
    matrix = open_embedding(tmp_path, parameter="model.embed_tokens.weight")
    assert (matrix.shape, matrix.tied) == ((64, 16), None)


def test_code_of_the_repository_is_never_run(tmp_path: Path) -> None:
    make_family("Llama").save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(
        '{"model_type": "own", "auto_map": {"AutoConfig": "configuration_own.OwnConfig"}}'
    )
    (tmp_path / "configuration_own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(CheckpointError, match="own code"):
        open_embedding(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_broken_config_is_told(tmp_path: Path) -> None:
    make_family("Llama").save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        open_embedding(tmp_path)


def test_config_of_another_size_is_told(tmp_path: Path) -> None:
    make_family("Llama").save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"vocab_size": 64', '"vocab_size": 65'))
    with pytest.raises(CheckpointError, match=r"65 × 16.*64 × 16"):
        open_embedding(tmp_path)


def test_architecture_without_token_embedding_is_told(tmp_path: Path) -> None:
    config = transformers.ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    transformers.ViTModel(config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="--parameter"):
        open_embedding(tmp_path)


def test_config_that_cannot_be_built_is_told(tmp_path: Path) -> None:
    make_family("Llama").save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"hidden_size": 16', '"hidden_size": -16'))
    with pytest.raises(CheckpointError, match="--parameter"):
        open_embedding(tmp_path)


def test_encoder_decoder_opens_its_shared_embedding(tmp_path: Path) -> None:
    config = transformers.T5Config(vocab_size=64, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    model = transformers.T5ForConditionalGeneration(config)
    model.save_pretrained(tmp_path)
    assert torch.equal(open_embedding(tmp_path).read_rows(0, 64), model.get_input_embeddings().weight)
