"""Truncated files and hostile pickles are refused with one sentence."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from kslottery_core.checkpoints import open_embedding
from kslottery_core.errors import CheckpointError


@pytest.fixture
def folder(tiny_llama_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_llama_folder, tmp_path / "model"))


@pytest.mark.parametrize("size", [0, 4, 100, 20_000])
def test_truncated_safetensors_is_told(folder: Path, size: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        open_embedding(folder)


def test_file_that_breaks_after_opening_is_told(folder: Path) -> None:
    matrix = open_embedding(folder)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        matrix.read_rows(0, 1)
    path.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        matrix.read_rows(0, 1)


@pytest.mark.parametrize("size", [0, 10, 3000])
def test_truncated_bin_is_told(tmp_path: Path, size: int) -> None:
    torch.save({"t": torch.zeros(64, 64)}, tmp_path / "t.bin")
    (tmp_path / "t.bin").write_bytes((tmp_path / "t.bin").read_bytes()[:size])
    with pytest.raises(CheckpointError, match=r"truncated or damaged|cannot be read safely"):
        open_embedding(tmp_path / "t.bin")


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("plain", [True, False])
def test_hostile_pickle_is_refused_and_not_run(tmp_path: Path, plain: bool) -> None:
    content = {"t": Hostile(tmp_path / "ran")}
    if plain:
        (tmp_path / "t.bin").write_bytes(pickle.dumps(content))
    else:
        torch.save(content, tmp_path / "t.bin")
    with pytest.raises(CheckpointError, match="refused"):
        open_embedding(tmp_path / "t.bin")
    assert not (tmp_path / "ran").exists()


def test_pickle_without_tensors_is_told(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "t.bin")
    with pytest.raises(CheckpointError, match="expected a mapping of names to tensors"):
        open_embedding(tmp_path / "t.bin")
