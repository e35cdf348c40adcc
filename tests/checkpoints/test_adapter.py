"""Adapters made by PEFT itself, laid over their base. PEFT's own merge is the oracle."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from kslottery_core.checkpoints import load_model, open_embedding, open_pair
from kslottery_core.errors import CheckpointError

# PEFT asks for attention when it saves; none of it concerns what is read back.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:peft", "ignore:.is_gradient_checkpointing:FutureWarning")


@pytest.fixture
def base_folder(tiny_llama_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_llama_folder, tmp_path / "base"))


def save_adapter(base_folder: Path, config: peft.PeftConfig, folder: Path) -> torch.Tensor:
    """Attach, disturb and save an adapter; returns the embedding that PEFT itself merges, (V, d)."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base_folder), config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    model.save_pretrained(folder)
    again = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base_folder), folder)
    merged: torch.Tensor = again.merge_and_unload().get_input_embeddings().weight.detach()
    return merged


CONFIGS: dict[str, Callable[[], peft.PeftConfig]] = {
    "trainable tokens": lambda: peft.TrainableTokensConfig(
        token_indices=[9, 3, 40], target_modules=["embed_tokens"], task_type="CAUSAL_LM"
    ),
    "LoRA with token list": lambda: peft.LoraConfig(
        trainable_token_indices=[5, 1], target_modules=["q_proj"], task_type="CAUSAL_LM"
    ),
    "LoRA with token table": lambda: peft.LoraConfig(
        trainable_token_indices={"embed_tokens": [5, 1], "lm_head": [7]},
        target_modules=["q_proj"],
        task_type="CAUSAL_LM",
    ),
    "modules to save": lambda: peft.LoraConfig(
        modules_to_save=["embed_tokens"], target_modules=["q_proj"], task_type="CAUSAL_LM"
    ),
    "LoRA on the embedding": lambda: peft.LoraConfig(
        r=2, lora_alpha=6, target_modules=["embed_tokens", "q_proj"], task_type="CAUSAL_LM"
    ),
    "rank-stabilised LoRA": lambda: peft.LoraConfig(
        r=4, lora_alpha=6, use_rslora=True, target_modules=["embed_tokens"], task_type="CAUSAL_LM"
    ),
    "LoRA with its own alpha": lambda: peft.LoraConfig(
        r=2, alpha_pattern={"embed_tokens": 5}, target_modules=["embed_tokens", "q_proj"], task_type="CAUSAL_LM"
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_adapter_rows_are_those_that_peft_merges(name: str, base_folder: Path, tmp_path: Path) -> None:
    merged = save_adapter(base_folder, CONFIGS[name](), tmp_path / "adapter")
    matrix = open_embedding(tmp_path / "adapter")
    base = open_embedding(base_folder)
    assert (matrix.kind, matrix.shape, matrix.tied) == ("adapter", (64, 16), False)
    assert torch.allclose(matrix.read_rows(0, 64), merged, atol=1e-6)
    assert torch.allclose(matrix.read_rows(4, 7), merged[4:7], atol=1e-6)
    assert not torch.equal(merged, base.read_rows(0, 64))
    assert matrix.token_strings == base.token_strings
    assert "is an adapter on" in open_pair(base_folder, tmp_path / "adapter").notes[0]
    model, _ = load_model(tmp_path / "adapter")
    assert torch.allclose(model.get_input_embeddings().weight, merged, atol=1e-6)


def test_trainable_tokens_are_absolute_rows_despite_their_name(base_folder: Path, tmp_path: Path) -> None:
    save_adapter(base_folder, CONFIGS["trainable tokens"](), tmp_path / "adapter")
    (stored,) = load_file(tmp_path / "adapter" / "adapter_model.safetensors").values()
    matrix = open_embedding(tmp_path / "adapter")
    assert torch.equal(matrix.read_token_rows([9, 3, 40]), stored)
    assert torch.equal(matrix.read_rows(41, 64), open_embedding(base_folder).read_rows(41, 64))


def test_adapter_on_a_tied_base_opens(tiny_tied_llama_folder: Path, tmp_path: Path) -> None:
    merged = save_adapter(tiny_tied_llama_folder, CONFIGS["trainable tokens"](), tmp_path / "adapter")
    matrix = open_embedding(tmp_path / "adapter")
    assert matrix.tied is True
    assert torch.equal(matrix.read_rows(0, 64), merged)


def test_adapter_saved_as_bin_opens(base_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    merged = save_adapter(base_folder, CONFIGS["trainable tokens"](), folder)
    torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()
    assert torch.equal(open_embedding(folder).read_rows(0, 64), merged)
    assert torch.equal(load_model(folder)[0].get_input_embeddings().weight, merged)


def test_adapter_with_added_tokens_is_longer_than_its_base(
    base_folder: Path, tmp_path: Path, tiny_tokenizer: Any
) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base_folder)
    model.resize_token_embeddings(66, mean_resizing=False)
    tuned = peft.get_peft_model(
        model,
        peft.LoraConfig(modules_to_save=["embed_tokens", "lm_head"], target_modules=["q_proj"], task_type="CAUSAL_LM"),
    )
    tuned.save_pretrained(tmp_path / "adapter")
    tiny_tokenizer.save_pretrained(tmp_path / "adapter")
    pair = open_pair(base_folder, tmp_path / "adapter")
    assert (pair.vocabulary_size, pair.only_before, pair.only_after) == (64, range(64, 64), range(64, 66))
    assert any("2 rows (token ids 64 to 65) exist only in" in note for note in pair.notes)
    loaded, tokenizer = load_model(tmp_path / "adapter")
    assert loaded.get_input_embeddings().weight.shape == (66, 16)
    assert len(tokenizer) == len(tiny_tokenizer)


def test_base_is_found_beside_the_adapter_and_from_here(
    base_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "adapter"
    merged = save_adapter(base_folder, CONFIGS["trainable tokens"](), folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    for name in ("../base", "base"):
        (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": name}))
        monkeypatch.chdir(tmp_path)
        assert torch.equal(open_embedding(folder).read_rows(0, 64), merged)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_model_name_or_path": None}, "expected the path or hub id of the base model, found None"),
        ({"base_model_name_or_path": "/gone"}, "its base model '/gone' cannot be opened.*path not found"),
        ({"base_model_name_or_path": "."}, "leads back to itself"),
        ({"token_indices": [1, 2]}, "expected k token ids and k rows of the base's width 16"),
        ({"token_indices": [1, 2, 64]}, "token id 64 is outside the base's vocabulary of 64 rows"),
        ({"token_indices": [1, -2, 4]}, "token id -2 is outside"),
        ({"token_indices": [1, 2, 1]}, "token id 1 is given twice"),
        ({"token_indices": None}, "expected a list of token ids"),
        ({"token_indices": {"lm_head": [1, 2, 3]}}, "expected a list of token ids"),
    ],
)
def test_adapter_that_does_not_fit_is_told(
    base_folder: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    folder = tmp_path / "adapter"
    save_adapter(base_folder, CONFIGS["trainable tokens"](), folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(CheckpointError, match=message):
        open_embedding(folder)


def test_adapter_without_embedding_rows_is_told(base_folder: Path, tmp_path: Path) -> None:
    save_adapter(base_folder, peft.LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM"), tmp_path / "adapter")
    with pytest.raises(CheckpointError, match=r"\(LORA\) changes no row of the input embedding"):
        open_embedding(tmp_path / "adapter")


def test_adapter_without_weights_or_settings_is_told(base_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    save_adapter(base_folder, CONFIGS["trainable tokens"](), folder)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="found neither"):
        open_embedding(folder)
    with pytest.raises(CheckpointError, match="PEFT cannot load this adapter"):
        load_model(folder)
    (folder / "adapter_config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="settings of a PEFT adapter"):
        open_embedding(folder)


@pytest.mark.parametrize("name", ["modules to save", "LoRA on the embedding"])
def test_adapter_of_a_wider_model_is_told(
    name: str, base_folder: Path, tmp_path: Path, make_tiny_llama: Callable[..., Any]
) -> None:
    save_adapter(base_folder, CONFIGS[name](), tmp_path / "adapter")
    shutil.rmtree(base_folder)
    make_tiny_llama(hidden_size=8).save_pretrained(base_folder)
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    save_file({k: v for k, v in load_file(weights).items() if "base_layer" not in k}, weights)
    with pytest.raises(CheckpointError, match="belongs to another base model"):
        open_embedding(tmp_path / "adapter")


def test_adapter_on_a_checkpoint_without_the_model_prefix_opens(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=16, n_layer=1, n_head=2)).base_model.save_pretrained(
        tmp_path / "b"
    )
    config = peft.TrainableTokensConfig(token_indices=[9, 3], target_modules=["wte"], task_type="CAUSAL_LM")
    merged = save_adapter(tmp_path / "b", config, tmp_path / "adapter")
    matrix = open_embedding(tmp_path / "adapter")
    assert matrix.parameter == "wte.weight"
    assert torch.equal(matrix.read_rows(0, 64), merged)


def test_adapter_on_a_gguf_is_refused(base_folder: Path, tmp_path: Path) -> None:
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(tmp_path / "base.gguf", "llama")
    writer.add_tensor("token_embd.weight", np.zeros((64, 16), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    folder = tmp_path / "adapter"
    save_adapter(base_folder, CONFIGS["trainable tokens"](), folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "../base.gguf"}))
    with pytest.raises(CheckpointError, match="is a GGUF"):
        open_embedding(folder)


def test_dora_on_the_embedding_is_refused(base_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    save_adapter(base_folder, CONFIGS["LoRA on the embedding"](), folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "use_dora": True}))
    with pytest.raises(CheckpointError, match="DoRA"):
        open_embedding(folder)
