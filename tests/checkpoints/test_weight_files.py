"""Safetensors and torch pickles: whole, sharded, alone, quantised."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from kslottery_core.checkpoints import open_embedding
from kslottery_core.errors import CheckpointError


@pytest.fixture
def weight(make_tiny_llama: Callable[..., Any]) -> torch.Tensor:
    rows: torch.Tensor = make_tiny_llama().get_input_embeddings().weight.detach()
    return rows


@pytest.fixture
def folder(tiny_llama_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_llama_folder, tmp_path / "model"))


def save_sharded_bin(model: Any, folder: Path) -> None:
    model.config.save_pretrained(folder)
    state = model.state_dict()
    shards: dict[str, dict[str, torch.Tensor]] = {"a.bin": {}, "b.bin": {}}
    for name, tensor in state.items():
        shards["a.bin" if "embed" in name else "b.bin"][name] = tensor
    for name, tensors in shards.items():
        torch.save(tensors, folder / name)
    index = {"weight_map": {name: shard for shard, tensors in shards.items() for name in tensors}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_rows_come_in_the_stored_type(
    dtype: str, make_tiny_llama: Callable[..., Any], tmp_path: Path, weight: torch.Tensor
) -> None:
    kind = getattr(torch, dtype)
    make_tiny_llama().to(kind).save_pretrained(tmp_path)
    matrix = open_embedding(tmp_path)
    assert matrix.dtype == dtype
    assert torch.equal(matrix.read_rows(3, 9), weight[3:9].to(kind))
    assert matrix.read_rows(4, 4).shape == (0, 16)


def test_token_rows_come_in_the_order_asked_for(tiny_llama_folder: Path, weight: torch.Tensor) -> None:
    matrix = open_embedding(tiny_llama_folder)
    wanted = [9, 3, 4, 5, 9, 63, 0]
    assert torch.equal(matrix.read_token_rows(wanted), weight[wanted])
    assert matrix.read_token_rows([]).shape == (0, 16)


@pytest.mark.parametrize("token_id", [-1, 64])
def test_ids_outside_the_matrix_are_told(tiny_llama_folder: Path, token_id: int) -> None:
    with pytest.raises(CheckpointError, match=f"token id {token_id} is outside"):
        open_embedding(tiny_llama_folder).read_token_rows([1, token_id])


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (5, 4), (60, 65)])
def test_rows_outside_the_matrix_are_told(tiny_llama_folder: Path, start: int, stop: int) -> None:
    with pytest.raises(CheckpointError, match="within 0 to 64"):
        open_embedding(tiny_llama_folder).read_rows(start, stop)


def test_sharded_safetensors_read_one_shard_alone(
    make_tiny_llama: Callable[..., Any], tmp_path: Path, weight: torch.Tensor
) -> None:
    make_tiny_llama().save_pretrained(tmp_path, max_shard_size="8KB")
    shards = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(set(shards.values())) > 2
    for shard in set(shards.values()) - {shards["model.embed_tokens.weight"]}:
        (tmp_path / shard).write_bytes(b"never read")
    matrix = open_embedding(tmp_path)
    assert torch.equal(matrix.read_rows(0, 64), weight)
    assert matrix.tied is False


def test_missing_shard_is_named(make_tiny_llama: Callable[..., Any], tmp_path: Path) -> None:
    make_tiny_llama().save_pretrained(tmp_path, max_shard_size="8KB")
    shard = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"][
        "model.embed_tokens.weight"
    ]
    (tmp_path / shard).unlink()
    with pytest.raises(CheckpointError, match=f"names the shard {shard}, which is not there"):
        open_embedding(tmp_path)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("{}", "weight_map"),
        ('{"weight_map": {"a": "../../etc/passwd"}}', "beside the index"),
        ("{", "expected JSON"),
        ('{"weight_map": {"model.embed_tokens.weight": "other.safetensors"}}', "come from different saves"),
    ],
)
def test_broken_index_is_told(folder: Path, index: str, message: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(index)
    save_file({"something": torch.zeros(2, 2)}, folder / "other.safetensors")
    with pytest.raises(CheckpointError, match=message):
        open_embedding(folder)


def test_bin_folder_opens(make_tiny_llama: Callable[..., Any], tmp_path: Path, weight: torch.Tensor) -> None:
    model = make_tiny_llama()
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    matrix = open_embedding(tmp_path)
    assert (matrix.kind, matrix.tied) == ("folder", False)
    assert torch.equal(matrix.read_rows(0, 64), weight)


def test_sharded_bin_opens(make_tiny_llama: Callable[..., Any], tmp_path: Path, weight: torch.Tensor) -> None:
    save_sharded_bin(make_tiny_llama(), tmp_path)
    assert torch.equal(open_embedding(tmp_path).read_rows(0, 64), weight)


def test_old_torch_format_opens(make_tiny_llama: Callable[..., Any], tmp_path: Path, weight: torch.Tensor) -> None:
    model = make_tiny_llama()
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    assert torch.equal(open_embedding(tmp_path).read_rows(0, 64), weight)


def test_tied_bin_holds_one_storage_twice(make_tiny_llama: Callable[..., Any], tmp_path: Path) -> None:
    model = make_tiny_llama(tie_word_embeddings=True)
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    assert open_embedding(tmp_path).tied is True


@pytest.mark.parametrize(("change", "tied"), [(0.0, True), (1.0, False)])
def test_two_stored_matrices_are_tied_only_when_equal(
    make_tiny_llama: Callable[..., Any], tmp_path: Path, change: float, tied: bool
) -> None:
    model = make_tiny_llama(tie_word_embeddings=True)
    model.config.save_pretrained(tmp_path)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state["lm_head.weight"] += change
    save_file(state, tmp_path / "model.safetensors")
    assert open_embedding(tmp_path).tied is tied


def test_tied_model_saved_with_its_head_alone_opens(
    make_tiny_llama: Callable[..., Any], tmp_path: Path, weight: torch.Tensor
) -> None:
    model = make_tiny_llama(tie_word_embeddings=True)
    model.config.save_pretrained(tmp_path)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rows = state.pop("model.embed_tokens.weight")
    save_file(state, tmp_path / "model.safetensors")
    matrix = open_embedding(tmp_path)
    assert (matrix.parameter, matrix.tied) == ("lm_head.weight", True)
    assert torch.equal(matrix.read_rows(0, 64), rows)


def test_single_file_of_a_model_folder_uses_its_config(folder: Path, weight: torch.Tensor) -> None:
    matrix = open_embedding(folder / "model.safetensors")
    assert (matrix.kind, matrix.tied, matrix.model_folder) == ("safetensors", False, folder)
    assert torch.equal(matrix.read_rows(0, 64), weight)
    assert matrix.token_strings is not None
    (folder / "model.safetensors").rename(folder / "renamed.safetensors")
    assert open_embedding(folder / "renamed.safetensors").tied is False
    assert open_embedding(folder).kind == "safetensors"


def test_foreign_file_in_a_model_folder_stands_alone(folder: Path) -> None:
    save_file({"rows": torch.zeros(5, 4)}, folder / "extra.safetensors")
    matrix = open_embedding(folder / "extra.safetensors")
    assert (matrix.parameter, matrix.model_folder, matrix.tied) == ("rows", None, None)


def test_shard_without_the_embedding_points_to_the_folder(make_tiny_llama: Callable[..., Any], tmp_path: Path) -> None:
    save_sharded_bin(make_tiny_llama(), tmp_path)
    assert open_embedding(tmp_path / "a.bin").shape == (64, 16)
    with pytest.raises(CheckpointError, match="holds no input embedding"):
        open_embedding(tmp_path / "b.bin")


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_lone_file_with_one_matrix_needs_no_name(tmp_path: Path, suffix: str) -> None:
    tensors = {"bias": torch.zeros(3), "emb": torch.randn(7, 4), "ids": torch.zeros(7, 4, dtype=torch.int64)}
    path = tmp_path / f"rows.{suffix}"
    if suffix == "pt":
        torch.save({"state_dict": tensors}, path)
    else:
        save_file(tensors, path)
    matrix = open_embedding(str(path))
    assert (matrix.parameter, matrix.shape, matrix.tied, matrix.token_strings) == ("emb", (7, 4), None, None)
    assert torch.equal(matrix.read_rows(1, 3), tensors["emb"][1:3])


def test_saved_bare_tensor_opens(tmp_path: Path) -> None:
    torch.save(torch.ones(3, 2), tmp_path / "rows.pt")
    assert open_embedding(tmp_path / "rows.pt").shape == (3, 2)


def test_lone_file_with_several_matrices_lists_them(tmp_path: Path) -> None:
    tensors = {f"layer{i}": torch.zeros(8, 4 + i) for i in range(13)}
    save_file(tensors, tmp_path / "rows.safetensors")
    with pytest.raises(CheckpointError, match=r"13 matrices.*--parameter: layer0 \(8 × 4, float32\).* and 1 more"):
        open_embedding(tmp_path / "rows.safetensors")
    assert open_embedding(tmp_path / "rows.safetensors", parameter="layer2").shape == (8, 6)


def test_missing_tensor_names_similar_ones(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"'model\.embed_token\.weight'.*model\.embed_tokens\.weight"):
        open_embedding(folder, parameter="model.embed_token.weight")
    save_file({"model.norm.weight": torch.zeros(16)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"expected a tensor named 'model\.embed_tokens\.weight'"):
        open_embedding(folder)


@pytest.mark.parametrize("shape", [(6,), (2, 3, 4), (0, 4)])
def test_tensor_that_is_no_matrix_is_told(tmp_path: Path, shape: tuple[int, ...]) -> None:
    save_file({"t": torch.zeros(shape)}, tmp_path / "t.safetensors")
    with pytest.raises(CheckpointError, match="expected an embedding matrix of shape"):
        open_embedding(tmp_path / "t.safetensors", parameter="t")


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.float8_e4m3fn])
def test_quantised_tensor_says_how_to_dequantise(tmp_path: Path, dtype: torch.dtype) -> None:
    save_file({"t": torch.zeros(4, 4).to(dtype)}, tmp_path / "t.safetensors")
    with pytest.raises(CheckpointError, match="dequantise first"):
        open_embedding(tmp_path / "t.safetensors", parameter="t")
    with pytest.raises(CheckpointError, match="dequantise"):
        open_embedding(tmp_path / "t.safetensors")


def test_file_without_tensors_is_told(tmp_path: Path) -> None:
    save_file({}, tmp_path / "t.safetensors")
    with pytest.raises(CheckpointError, match="no tensor at all"):
        open_embedding(tmp_path / "t.safetensors")


def test_fingerprint_is_of_content_and_not_of_the_file(
    tiny_llama_folder: Path, make_tiny_llama: Callable[..., Any], tmp_path: Path, weight: torch.Tensor
) -> None:
    save_file({"other.name": weight}, tmp_path / "a.safetensors")
    changed = weight.clone()
    changed[63, 15] += 1e-6
    save_file({"other.name": changed}, tmp_path / "b.safetensors")
    save_file({"other.name": weight.double()}, tmp_path / "c.safetensors")
    first = open_embedding(tiny_llama_folder).fingerprint
    assert len(first) == 64
    assert open_embedding(tmp_path / "a.safetensors").fingerprint == first
    assert open_embedding(tmp_path / "b.safetensors").fingerprint != first
    assert open_embedding(tmp_path / "c.safetensors").fingerprint != first


def test_fingerprint_is_the_same_whatever_the_block(tiny_llama_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = open_embedding(tiny_llama_folder).fingerprint
    monkeypatch.setattr("kslottery_core.checkpoints.matrix.BLOCK_BYTES", 200)
    assert open_embedding(tiny_llama_folder).fingerprint == whole


def test_file_signature_changes_with_any_file(folder: Path) -> None:
    matrix = open_embedding(folder)
    first = matrix.file_signature
    assert open_embedding(folder).file_signature == first
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    second = matrix.file_signature
    assert second != first
    (folder / "model.safetensors").unlink()
    assert matrix.file_signature not in (first, second)
