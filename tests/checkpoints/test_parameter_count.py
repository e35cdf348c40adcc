"""The number of a model's parameters, told without loading it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from kslottery_core.checkpoints import count_parameters, load_model, open_embedding
from kslottery_core.errors import CheckpointError


def count(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("tied", [False, True])
def test_folder_counts_as_the_model_does(tied: bool, make_tiny_llama: Callable[..., Any], tmp_path: Path) -> None:
    model = make_tiny_llama(tie_word_embeddings=tied)
    model.save_pretrained(tmp_path)
    assert count_parameters(open_embedding(tmp_path)) == count(model)
    assert count_parameters(open_embedding(tmp_path / "model.safetensors")) == count(model)


def test_stored_masks_are_no_parameters(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_embd=16, n_layer=1, n_head=2, n_positions=64))
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    save_file({**load_file(path), "transformer.h.0.attn.bias": torch.ones(1, 1, 64, 64)}, path, {"format": "pt"})
    assert count_parameters(open_embedding(tmp_path)) == count(model)


def test_shards_count_once_even_beside_the_whole_file(make_tiny_llama: Callable[..., Any], tmp_path: Path) -> None:
    model = make_tiny_llama()
    model.save_pretrained(tmp_path, max_shard_size="8KB")
    assert count_parameters(open_embedding(tmp_path)) == count(model)
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()}, tmp_path / "model.safetensors"
    )
    assert count_parameters(open_embedding(tmp_path)) == count(model)


def test_torch_pickles_count_too(make_tiny_llama: Callable[..., Any], tmp_path: Path) -> None:
    model = make_tiny_llama(tie_word_embeddings=True)
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    assert count_parameters(open_embedding(tmp_path)) == count(model)


@pytest.mark.parametrize("equal", [True, False])
def test_head_stored_beside_a_tied_embedding_counts_when_it_differs(
    equal: bool, make_tiny_llama: Callable[..., Any], save_tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    save_tiny_model(make_tiny_llama(tie_word_embeddings=True), tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    head = tensors["model.embed_tokens.weight"].clone() + (0 if equal else 1)
    save_file({**tensors, "lm_head.weight": head}, path, {"format": "pt"})
    assert count_parameters(open_embedding(tmp_path)) == count(load_model(tmp_path)[0])


def test_ticket_and_adapter_count_their_base(tiny_llama_folder: Path, tmp_path: Path) -> None:
    base = count_parameters(open_embedding(tiny_llama_folder))
    ticket, adapter = tmp_path / "ticket", tmp_path / "adapter"
    ticket.mkdir()
    (ticket / "ticket.json").write_text("{}")
    (ticket / "base.json").write_text(json.dumps({"source": str(tiny_llama_folder)}))
    save_file({"token_ids": torch.tensor([3]), "rows": torch.zeros(1, 16)}, ticket / "rows.safetensors")
    adapter.mkdir()
    config = {"peft_type": "TRAINABLE_TOKENS", "token_indices": [4], "base_model_name_or_path": str(ticket)}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    name = "base_model.model.model.embed_tokens.trainable_tokens_delta"
    save_file({name: torch.zeros(1, 16)}, adapter / "adapter_model.safetensors")
    assert base is not None
    assert count_parameters(open_embedding(ticket)) == base
    assert count_parameters(open_embedding(adapter)) == base


def test_unknown_architecture_counts_what_the_headers_list(tiny_llama_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_llama_folder, tmp_path / "model"))
    (folder / "config.json").write_text(json.dumps({"model_type": "from-elsewhere"}))
    parameter = "model.embed_tokens.weight"
    expected = count_parameters(open_embedding(tiny_llama_folder))
    assert count_parameters(open_embedding(folder, parameter=parameter)) == expected
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert count_parameters(open_embedding(folder, parameter=parameter)) is None


def test_missing_shard_of_an_unknown_architecture_leaves_it_unknown(
    make_tiny_llama: Callable[..., Any], tmp_path: Path
) -> None:
    make_tiny_llama().save_pretrained(tmp_path, max_shard_size="8KB")
    (tmp_path / "config.json").write_text("{}")
    shards = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]
    parameter = "model.embed_tokens.weight"
    other = next(shard for shard in shards.values() if shard != shards[parameter])
    (tmp_path / other).unlink()
    assert count_parameters(open_embedding(tmp_path, parameter=parameter)) is None
    with pytest.raises(CheckpointError, match="is not there"):
        open_embedding(tmp_path, parameter=next(name for name, shard in shards.items() if shard == other))


def test_lone_file_counts_nothing(tmp_path: Path) -> None:
    save_file({"rows": torch.zeros(4, 3)}, tmp_path / "rows.safetensors")
    assert count_parameters(open_embedding(tmp_path / "rows.safetensors")) is None


@pytest.mark.parametrize(("parts", "expected"), [(None, 8 * 64 + 64), (1, 8 * 64 + 64), (3, None)])
def test_gguf_counts_the_tensors_of_its_header(tmp_path: Path, parts: int | None, expected: int | None) -> None:
    kind = gguf.GGMLQuantizationType.Q8_0
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    if parts is not None:
        writer.add_uint16("split.count", parts)
    writer.add_tensor("token_embd.weight", gguf.quants.quantize(np.ones((8, 64), np.float32), kind), raw_dtype=kind)
    writer.add_tensor("output_norm.weight", np.ones(64, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert count_parameters(open_embedding(tmp_path)) == expected
