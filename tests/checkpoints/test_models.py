"""Whole models load from every kind of source, and save again."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from kslottery_core.checkpoints import load_model, load_tokenizer, open_embedding, untie_head
from kslottery_core.errors import CheckpointError


@pytest.fixture
def folder(tiny_llama_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_llama_folder, tmp_path / "model"))


@pytest.mark.parametrize(
    ("dtype", "expected"), [("float32", torch.float32), ("bfloat16", torch.bfloat16), ("auto", torch.float32)]
)
def test_folder_loads_in_the_type_asked_for(tiny_llama_folder: Path, dtype: str, expected: torch.dtype) -> None:
    model, tokenizer = load_model(tiny_llama_folder, dtype=dtype)
    assert (model.dtype, model.training) == (expected, False)
    assert (tokenizer.pad_token, len(tokenizer)) == ("</s>", 64)


def test_weights_file_of_a_model_folder_loads_the_folder(tiny_llama_folder: Path) -> None:
    model, _ = load_model(tiny_llama_folder / "model.safetensors")
    assert torch.equal(model.get_input_embeddings().weight, open_embedding(tiny_llama_folder).read_rows(0, 64))


def test_shard_of_a_model_folder_loads_the_folder(make_tiny_llama: Callable[..., Any], folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    make_tiny_llama(seed=3).save_pretrained(folder, max_shard_size="8KB")
    shard = min(folder.glob("model-*.safetensors"))
    model, _ = load_model(shard)
    assert torch.equal(model.get_input_embeddings().weight, make_tiny_llama(seed=3).get_input_embeddings().weight)


@pytest.mark.parametrize("name", ["emb.safetensors", "pytorch_model.bin", "old.gguf.pt"])
def test_file_that_the_model_beside_it_does_not_load_is_refused(folder: Path, name: str) -> None:
    rows = {"embed_tokens.weight": torch.zeros(64, 16)}
    if name.endswith(".safetensors"):
        save_file(rows, folder / name)
    else:
        torch.save(rows, folder / name)
    assert not open_embedding(folder / name).read_rows(0, 64).any()
    with pytest.raises(CheckpointError, match=rf"loads \(model\.safetensors\), found {name}, which would be ignored"):
        load_model(folder / name)


def test_weights_of_another_name_cannot_stand_in_for_the_model(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "emb.safetensors")
    for source in (folder, folder / "emb.safetensors"):
        assert open_embedding(source).shape == (64, 16)
        with pytest.raises(CheckpointError, match=r"no weights of its own\), found emb\.safetensors"):
            load_model(source)


def write_tiny_gguf(path: Path, model: Any, tokens: list[str]) -> None:
    """A Llama as llama.cpp names and lays out its tensors (query and key rows permuted for its rotary form)."""
    import gguf

    def permute(weight: torch.Tensor, heads: int) -> torch.Tensor:
        rows, width = weight.shape
        return weight.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2).reshape(rows, width)

    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3, *[1] * (len(tokens) - 3)])
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    state = model.state_dict()
    names = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    writer.add_tensor("token_embd.weight", state["model.embed_tokens.weight"].numpy())
    writer.add_tensor("output_norm.weight", state["model.norm.weight"].numpy())
    writer.add_tensor("output.weight", state["lm_head.weight"].numpy())
    for layer in range(config.num_hidden_layers):
        for ours, theirs in names.items():
            weight = state[f"model.layers.{layer}.{ours}.weight"]
            if theirs in ("attn_q", "attn_k"):
                weight = permute(weight, config.num_attention_heads)
            writer.add_tensor(f"blk.{layer}.{theirs}.weight", weight.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_gguf_loads_and_can_be_saved(tmp_path: Path, make_tiny_llama: Callable[..., Any]) -> None:
    original = make_tiny_llama()
    tokens = ["<unk>", "<s>", "</s>", "t", "h", "th", "Ġ", *[chr(0x41 + i) for i in range(26)]]
    tokens += [f"w{i}" for i in range(64 - len(tokens))]
    write_tiny_gguf(tmp_path / "tiny.gguf", original, tokens)
    prompt = torch.tensor([[3, 4, 5, 6]])
    model, tokenizer = load_model(tmp_path / "tiny.gguf")
    with torch.no_grad():
        assert torch.allclose(model(prompt).logits, original(prompt).logits, atol=1e-5)
    assert tokenizer.convert_ids_to_tokens(5) == "th"
    assert load_tokenizer(tmp_path / "tiny.gguf").get_vocab() == tokenizer.get_vocab()
    model.save_pretrained(tmp_path / "saved")
    tokenizer.save_pretrained(tmp_path / "saved")
    again, _ = load_model(tmp_path / "saved")
    with torch.no_grad():
        assert torch.equal(again(prompt).logits, model(prompt).logits)
    matrix = open_embedding(tmp_path)
    assert (matrix.kind, matrix.tied) == ("gguf", False)
    assert torch.equal(matrix.read_rows(0, 64), open_embedding(tmp_path / "saved").read_rows(0, 64))


def test_unknown_dtype_is_told(tiny_llama_folder: Path) -> None:
    with pytest.raises(CheckpointError, match="found 'int8'"):
        load_model(tiny_llama_folder, dtype="int8")


def test_unusable_device_is_told(tiny_llama_folder: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be put on 'nonsense'"):
        load_model(tiny_llama_folder, device="nonsense")


def test_lone_weights_cannot_be_run(tmp_path: Path) -> None:
    save_file({"rows": torch.zeros(4, 3)}, tmp_path / "rows.safetensors")
    with pytest.raises(CheckpointError, match="they can be compared, but not run"):
        load_model(tmp_path / "rows.safetensors")


def test_missing_tokenizer_is_told(tmp_path: Path, make_tiny_llama: Callable[..., Any]) -> None:
    make_tiny_llama().save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="expected a tokenizer beside the model"):
        load_model(tmp_path)


def test_broken_tokenizer_is_told(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match="its tokenizer cannot be loaded"):
        load_model(folder)


def test_tokenizer_without_an_end_is_told(folder: Path) -> None:
    import json

    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in config.items() if name != "eos_token"}))
    with pytest.raises(CheckpointError, match="an end or padding token"):
        load_model(folder)


def test_truncated_model_is_told(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="cannot load this causal language model"):
        load_model(folder)


def test_untying_an_untied_model_changes_nothing(make_tiny_llama: Callable[..., Any]) -> None:
    model = make_tiny_llama()
    head = model.lm_head.weight
    assert untie_head(model) is False
    assert model.lm_head.weight is head


def test_untied_model_trains_its_input_rows_alone(make_tiny_llama: Callable[..., Any]) -> None:
    model = make_tiny_llama(tie_word_embeddings=True)
    untie_head(model)
    model.lm_head.weight.requires_grad_(False)
    prompt = torch.tensor([[3, 4, 5]])
    model(prompt, labels=prompt).loss.backward()
    changed = model.get_input_embeddings().weight.grad.any(dim=1)
    assert changed.nonzero().flatten().tolist() == [3, 4]
    assert model.lm_head.weight.grad is None


def test_importing_the_room_loads_no_torch() -> None:
    check = "import sys, kslottery_core.checkpoints; sys.exit(any(m in sys.modules for m in ('torch', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", check], cwd=Path(__file__).parents[2], check=False).returncode == 0
