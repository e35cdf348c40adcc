"""Which name of one checkpoint stands for which of the other, and what a matrix takes on disk and in memory."""

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kslottery_core.checkpoints import open_parameter_pair, open_parameters
from kslottery_core.checkpoints.parameter_pair import match_names
from kslottery_core.checkpoints.parameters import count_stored_bytes, get_entry_bytes
from kslottery_core.errors import CheckpointError


def save_names(path: Path, *names: str) -> Path:
    save_file({name: torch.ones(2, 2) for name in names}, path)
    return path


@pytest.mark.parametrize("order", [1, -1])
def test_several_names_that_fit_one_are_not_matched(order: int) -> None:
    towers = ["vision.layers.0.w", "text.layers.0.w"][::order]
    assert match_names([*towers, "head.w"], ["layers.0.w", "head.w"]) == (
        {"head.w": "head.w"},
        (),
        dict.fromkeys(towers, ("layers.0.w",)),
    )
    matched, _, unclear = match_names(["layers.0.w", "head.w"], [*towers, "head.w"])
    assert matched == {"head.w": "head.w"}
    assert {name: set(fits) for name, fits in unclear.items()} == {"layers.0.w": set(towers)}


def test_an_equal_name_settles_what_a_prefix_leaves_open() -> None:
    before, after = ["vision.layers.0.w", "text.layers.0.w"], ["vision.layers.0.w", "layers.0.w"]
    expected = {"vision.layers.0.w": "vision.layers.0.w", "text.layers.0.w": "layers.0.w"}
    assert match_names(before, after) == (expected, ("text",), {})


def test_unclear_names_are_told_and_not_compared(tmp_path: Path) -> None:
    x = save_names(tmp_path / "x.safetensors", "vision.layers.0.w", "text.layers.0.w", "head.w")
    y = save_names(tmp_path / "y.safetensors", "layers.0.w", "head.w")
    pair = open_parameter_pair(x, y)
    assert pair.names == ("head.w",)
    told = " ".join(pair.notes)
    assert "'vision.layers.0.w' is not the only matrix in" in told
    assert "'text.layers.0.w' is not the only matrix in" in told
    assert "matrices in" not in told  # neither is called missing from the other side
    for refused in (pair.open, pair.select):
        with pytest.raises(CheckpointError, match=r"fits 'layers.0.w' in .*y.safetensors"):
            refused("text.layers.0.w")
    turned = open_parameter_pair(y, x)
    assert turned.names == ("head.w",)
    assert "'layers.0.w' in" in " ".join(turned.notes)
    assert "it is compared with none of them" in " ".join(turned.notes)


def test_many_unclear_names_are_one_note(tmp_path: Path) -> None:
    towers = [f"{tower}.layers.{layer}.w" for tower in ("vision", "text") for layer in range(4)]
    x = save_names(tmp_path / "x.safetensors", *towers, "head.w")
    y = save_names(tmp_path / "y.safetensors", *(f"layers.{layer}.w" for layer in range(4)), "head.w")
    (note,) = open_parameter_pair(x, y).notes
    assert note.startswith("8 names fit several of the other side and are not compared; the first: ")


def test_a_pair_of_unclear_names_alone_says_why_nothing_matches(tmp_path: Path) -> None:
    x = save_names(tmp_path / "x.safetensors", "vision.layers.0.w", "text.layers.0.w")
    y = save_names(tmp_path / "y.safetensors", "layers.0.w")
    with pytest.raises(CheckpointError, match=r"no matrix whose name both have.* is not the only matrix in"):
        open_parameter_pair(x, y)


def test_a_matrix_takes_what_its_type_takes(tmp_path: Path) -> None:
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        save_file({"w": torch.ones(3, 5, dtype=dtype)}, tmp_path / "x.safetensors")
        parameters = open_parameters(tmp_path / "x.safetensors")
        assert parameters.count_bytes("w") == parameters.count_stored_bytes("w") == 15 * dtype.itemsize
    packed = gguf.quantize(np.ones((3, 64), dtype=np.float32), gguf.GGMLQuantizationType.Q4_1)
    assert count_stored_bytes((3, 64), "Q4_1") == packed.nbytes
    assert get_entry_bytes("Q4_1") == 4
    assert count_stored_bytes((3, 64), "of tomorrow") is None
