"""Every matrix of a checkpoint by name. transformers' own state dict is the oracle."""

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from kslottery_core.checkpoints import open_parameter_pair, open_parameters
from kslottery_core.checkpoints import parameters as parameter_units
from kslottery_core.errors import CheckpointError, KSInputError

UP = "model.layers.1.mlp.up_proj.weight"


def list_matrices(model: Any) -> dict[str, torch.Tensor]:
    return {name: value for name, value in model.state_dict().items() if value.ndim == 2}


def check_equal(parameters: Any, expected: dict[str, torch.Tensor]) -> None:
    assert set(parameters.names) == set(expected)
    for name, value in expected.items():
        matrix = parameters.open(name)
        rows = matrix.shape[0]
        assert parameters.shape(name) == matrix.shape == tuple(value.shape), name
        assert torch.equal(matrix.read_rows(0, rows), value), name
        assert torch.equal(matrix.read_rows(rows // 3, rows - 1), value[rows // 3 : rows - 1]), name
        assert torch.equal(matrix.by_unit("row").read_rows(1, 2), value[1:2])
        assert torch.equal(matrix.by_unit("column").read_rows(2, 7), value[:, 2:7].T), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_folder_hands_out_every_matrix_of_the_model(
    make_tiny_llama: Callable[..., Any], tmp_path: Path, dtype: torch.dtype
) -> None:
    model = make_tiny_llama().to(dtype)
    model.save_pretrained(tmp_path)
    parameters = open_parameters(tmp_path)
    check_equal(parameters, list_matrices(model))
    assert parameters.kind == "folder"
    assert parameters.dtype(UP) == str(dtype).removeprefix("torch.")
    assert "5 one-dimensional tensors have no rows to compare and are left out" in parameters.notes[0]


def test_lone_files_hold_their_own_matrices(make_tiny_llama: Callable[..., Any], tmp_path: Path) -> None:
    model = make_tiny_llama()
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    torch.save(tensors, tmp_path / "weights.bin")
    check_equal(open_parameters(tmp_path / "model.safetensors"), list_matrices(model))
    check_equal(open_parameters(tmp_path / "weights.bin"), list_matrices(model))


def test_shards_come_one_after_the_other(make_tiny_llama: Callable[..., Any], tmp_path: Path) -> None:
    model = make_tiny_llama()
    model.save_pretrained(tmp_path, max_shard_size="6KB")
    shards = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(set(shards.values())) > 2
    parameters = open_parameters(tmp_path)
    check_equal(parameters, list_matrices(model))
    order = [shards[name] for name in parameters.names]
    changes = sum(one != other for one, other in pairwise(order))
    assert changes + 1 == len(set(order))


def test_a_tied_model_holds_its_one_matrix_once(tiny_tied_llama_folder: Path) -> None:
    parameters = open_parameters(tiny_tied_llama_folder)
    assert "lm_head.weight" not in parameters.names
    assert "model.embed_tokens.weight" in parameters.names


def test_columns_are_read_in_blocks_smaller_than_the_matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.randn(50, 37)
    save_file({"w": values}, tmp_path / "w.safetensors")
    monkeypatch.setattr(parameter_units, "COLUMN_BYTES", 50 * 4 * 10)
    monkeypatch.setattr(parameter_units, "BLOCK_BYTES", 37 * 4 * 7)
    columns = open_parameters(tmp_path / "w.safetensors").open("w").by_unit("column")
    assert columns.shape == (37, 50)
    assert torch.equal(torch.cat([columns.read_rows(at, min(at + 4, 37)) for at in range(0, 37, 4)]), values.T)
    assert torch.equal(columns.read_rows(3, 30), values.T[3:30])
    (held,) = columns._held  # type: ignore[attr-defined]
    assert held.values.shape == (27, 50)


def test_rows_outside_and_another_unit_are_refused(tiny_llama_folder: Path) -> None:
    matrix = open_parameters(tiny_llama_folder).open(UP)
    with pytest.raises(CheckpointError, match=r"expected rows of 'model.layers.1.mlp.up_proj.weight' within 0 to 32"):
        matrix.read_rows(0, 33)
    with pytest.raises(KSInputError, match="unit: expected row or column, found 'head'"):
        matrix.by_unit("head")


def write_gguf(path: Path, architecture: str, tensors: dict[str, np.ndarray], **numbers: int) -> Path:
    writer = gguf.GGUFWriter(path, architecture)
    for key, number in numbers.items():
        writer.add_uint32(f"{architecture}.{key.replace('__', '.')}", number)
    for name, values in tensors.items():
        writer.add_tensor(name, np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def permute_for_gguf(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """What llama.cpp's conversion does to the query and key projections."""
    halves = rows.view(heads, 2, rows.shape[0] // heads // 2, rows.shape[1])
    return halves.transpose(1, 2).reshape(rows.shape)


def write_llama_gguf(model: Any, path: Path) -> Path:
    tensors = {"token_embd.weight": model.model.embed_tokens.weight, "output.weight": model.lm_head.weight}
    for number, layer in enumerate(model.model.layers):
        heads = model.config.num_attention_heads, model.config.num_key_value_heads
        tensors |= {
            f"blk.{number}.attn_q.weight": permute_for_gguf(layer.self_attn.q_proj.weight, heads[0]),
            f"blk.{number}.attn_k.weight": permute_for_gguf(layer.self_attn.k_proj.weight, heads[1]),
            f"blk.{number}.attn_v.weight": layer.self_attn.v_proj.weight,
            f"blk.{number}.attn_output.weight": layer.self_attn.o_proj.weight,
            f"blk.{number}.ffn_up.weight": layer.mlp.up_proj.weight,
            f"blk.{number}.ffn_gate.weight": layer.mlp.gate_proj.weight,
            f"blk.{number}.ffn_down.weight": layer.mlp.down_proj.weight,
            f"blk.{number}.attn_norm.weight": layer.input_layernorm.weight,
        }
    arrays = {name: value.detach().numpy() for name, value in tensors.items()}
    return write_gguf(
        path,
        "llama",
        arrays,
        block_count=len(model.model.layers),
        attention__head_count=model.config.num_attention_heads,
        attention__head_count_kv=model.config.num_key_value_heads,
    )


def test_gguf_matrices_have_the_names_and_rows_that_transformers_gives_them(
    make_tiny_llama: Callable[..., Any], tmp_path: Path
) -> None:
    model = make_tiny_llama(num_key_value_heads=1, num_attention_heads=2)
    path = write_llama_gguf(model, tmp_path / "m.gguf")
    parameters = open_parameters(path)
    check_equal(parameters, list_matrices(model))
    assert parameters.kind == "gguf"
    assert "2 one-dimensional tensors" in parameters.notes[0]
    assert parameters.matches(UP, "blk.1.ffn_up.weight")
    model.save_pretrained(tmp_path / "folder")
    pair = open_parameter_pair(path, tmp_path / "folder")
    assert set(pair.names) == set(list_matrices(model))
    assert pair.select("blk.*.attn_q.weight") == pair.select("*q_proj.weight") != ()


def test_gpt2_matrices_are_turned_back(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=16, n_layer=1, n_head=2, n_positions=32))
    block = model.transformer.h[0]
    tensors = {
        "token_embd.weight": model.transformer.wte.weight,
        "position_embd.weight": model.transformer.wpe.weight,
        "blk.0.attn_qkv.weight": block.attn.c_attn.weight.T,
        "blk.0.attn_output.weight": block.attn.c_proj.weight.T,
        "blk.0.ffn_up.weight": block.mlp.c_fc.weight.T,
        "blk.0.ffn_down.weight": block.mlp.c_proj.weight.T,
    }
    arrays = {name: value.detach().numpy() for name, value in tensors.items()}
    parameters = open_parameters(write_gguf(tmp_path / "m.gguf", "gpt2", arrays, block_count=1))
    check_equal(parameters, {n: v for n, v in list_matrices(model).items() if n != "lm_head.weight"})


def test_a_gguf_of_another_architecture_keeps_its_names_and_says_so(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((8, 32)).astype(np.float32)
    quantised = gguf.quants.quantize(rows, gguf.GGMLQuantizationType.Q8_0)
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "bloom")
    writer.add_tensor("blk.0.attn_qkv.weight", quantised, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("blk.0.ids", np.zeros((2, 4), np.int32))
    writer.add_tensor("blk.0.experts", np.zeros((2, 4, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    parameters = open_parameters(tmp_path / "m.gguf")
    assert parameters.names == ("blk.0.attn_qkv.weight", "blk.0.ids")
    told = " ".join(parameters.notes)
    assert "architecture 'bloom', whose tensor names and layout are not translated" in told
    assert "1 of other dimensions" in told
    assert "Q8_0" in told
    matrix = parameters.open("blk.0.attn_qkv.weight")
    expected = torch.from_numpy(gguf.quants.dequantize(quantised, gguf.GGMLQuantizationType.Q8_0))
    assert torch.equal(matrix.by_unit("column").read_rows(0, 32), expected.T)
    with pytest.raises(CheckpointError, match=r"expected a matrix of floats, found blk.0.ids"):
        parameters.open("blk.0.ids")


def save_ticket_folder(folder: Path, base: Path, token_ids: list[int], rows: torch.Tensor) -> Path:
    folder.mkdir()
    (folder / "ticket.json").write_text("{}")
    (folder / "base.json").write_text(json.dumps({"source": str(base), "revision": None}))
    save_file({"token_ids": torch.tensor(token_ids), "rows": rows}, folder / "rows.safetensors")
    return folder


def test_a_tuned_ticket_changes_the_embedding_alone(
    make_tiny_llama: Callable[..., Any], tiny_llama_folder: Path, tmp_path: Path
) -> None:
    expected = list_matrices(make_tiny_llama())
    rows = torch.randn(2, 16)
    expected["model.embed_tokens.weight"] = expected["model.embed_tokens.weight"].clone()
    expected["model.embed_tokens.weight"][[7, 3]] = rows
    parameters = open_parameters(save_ticket_folder(tmp_path / "t", tiny_llama_folder, [7, 3], rows))
    check_equal(parameters, expected)
    assert "2 rows of model.embed_tokens.weight are replaced" in parameters.notes[-1]


def test_a_ticket_on_a_gguf_finds_its_embedding(make_tiny_llama: Callable[..., Any], tmp_path: Path) -> None:
    base = write_llama_gguf(make_tiny_llama(), tmp_path / "m.gguf")
    parameters = open_parameters(save_ticket_folder(tmp_path / "t", base, [4], torch.ones(1, 16)))
    assert torch.equal(parameters.open("model.embed_tokens.weight").read_rows(4, 5), torch.ones(1, 16))


def test_names_match_with_and_without_the_model_prefix(
    make_tiny_llama: Callable[..., Any], tiny_llama_folder: Path, tmp_path: Path
) -> None:
    make_tiny_llama().base_model.save_pretrained(tmp_path / "bare")
    for before, after in ((tiny_llama_folder, tmp_path / "bare"), (tmp_path / "bare", tiny_llama_folder)):
        pair = open_parameter_pair(before, after)
        assert len(pair.names) == 15
        one, other = pair.open(pair.select("*layers.1.mlp.up_proj.weight")[0])
        assert torch.equal(one.read_rows(0, 32), other.read_rows(0, 32))
        assert any("only one side has the prefix 'model.'" in note for note in pair.notes)
        assert any("1 of the 16 matrices" in note and "lm_head.weight" in note for note in pair.notes)


def test_what_is_not_compared_is_told(make_tiny_llama: Callable[..., Any], tmp_path: Path) -> None:
    make_tiny_llama().save_pretrained(tmp_path / "a")
    make_tiny_llama(vocab_size=70, num_hidden_layers=1).bfloat16().save_pretrained(tmp_path / "b")
    pair = open_parameter_pair(tmp_path / "a", tmp_path / "b")
    told = " ".join(pair.notes)
    assert "'lm_head.weight' is 64 × 16 in" in told
    assert "7 of the 16 matrices in" in told
    assert "7 matrices are stored as float32 before and bfloat16 after" in told
    with pytest.raises(CheckpointError, match=r"'model.embed_tokens.weight' is 64 × 16 in .* and 70 × 16 in"):
        pair.select("*embed*")
    with pytest.raises(CheckpointError, match=r"in both checkpoints, found it in .*/a but not in .*/b"):
        pair.select("model.layers.1.*")
    with pytest.raises(CheckpointError, match="only matrices of one shape"):
        pair.open("lm_head.weight")


def test_an_unknown_pattern_names_what_is_near(tiny_llama_folder: Path) -> None:
    pair = open_parameter_pair(tiny_llama_folder, tiny_llama_folder)
    with pytest.raises(CheckpointError, match=r"'model.layers.\*.mlp.upproj.weight'.*up_proj.weight"):
        pair.select("model.layers.*.mlp.upproj.weight")
    with pytest.raises(CheckpointError, match=r"found that model.norm.weight \(16, float32\) has 1 dimension;"):
        pair.select("model.norm.weight")
    with pytest.raises(CheckpointError, match=r"near names are"):
        pair.before.shape("nothing")
    assert any("same files" in note for note in pair.notes)
    assert len(pair.select("*")) == 16
    assert pair.select("model.layers.*.mlp.up_proj.weight") == ("model.layers.0.mlp.up_proj.weight", UP)


def test_models_without_a_common_matrix_are_told(tiny_llama_folder: Path, tmp_path: Path) -> None:
    save_file({"a.b.c": torch.zeros(2, 2)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="no matrix whose name both have"):
        open_parameter_pair(tiny_llama_folder, tmp_path / "x.safetensors")


def test_integer_matrices_are_listed_and_say_how_to_dequantise(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(4, 4, dtype=torch.uint8), "v": torch.zeros(0, 3)}, tmp_path / "x.safetensors")
    save_file({"w": torch.zeros(4, 8)}, tmp_path / "y.safetensors")
    pair = open_parameter_pair(tmp_path / "x.safetensors", tmp_path / "y.safetensors")
    assert pair.names == ("w",)
    with pytest.raises(CheckpointError, match=r"stored as U8.*dequantise first"):
        pair.open("w")


def test_the_signature_follows_the_files(tiny_llama_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_llama_folder, tmp_path / "m"))
    before = open_parameters(folder).file_signature
    assert before == open_parameters(folder).file_signature
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "extra.weight": torch.zeros(2, 2)}, folder / "model.safetensors")
    assert open_parameters(folder).file_signature != before


def test_a_base_that_leads_back_to_itself_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="leads back to itself"):
        open_parameters(save_ticket_folder(tmp_path / "t", tmp_path / "t", [1], torch.zeros(1, 16)))
