"""What a line of a scan is called and how it stands in the table."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kslottery_core.scans import ScanEntry, describe_parameter, scan_parameters, scan_to_table


def test_the_table_has_a_line_for_each_matrix(tiny_llama_folder: Path, tuned: Path) -> None:
    scan = scan_parameters(tiny_llama_folder, tuned)
    table = scan_to_table(scan, 0.5)
    assert list(table["parameter"]) == list(scan.parameters)
    assert table["layer"].isna().sum() == 2
    assert set(table["layer"].dropna()) == {0, 1}
    line = table.set_index("parameter").loc["model.layers.1.mlp.up_proj.weight"]
    (entry,) = [entry for entry in scan.entries if entry.parameter == "model.layers.1.mlp.up_proj.weight"]
    assert (line["matrix"], line["unit"], line["units"], line["width"]) == ("mlp.up_proj", "row", 32, 16)
    assert line["winners"] == entry.count_winners(0.5) > 0
    assert line["winners share"] == entry.count_winners(0.5) / 32
    assert line["largest D"] == entry.largest_statistic
    assert line["changed"] == 32
    assert line["wins from D"] == entry.find_least_winning_count(0.5) / 16
    assert line["median L2 shift"] == entry.median_l2_shift
    assert set(table[table["changed"] == 0]["note"]) == {"unchanged"}
    assert len(scan_to_table(dataclasses.replace(scan, entries=()), 0.5)) == 0


def test_the_table_says_what_could_not_be_compared(tmp_path: Path) -> None:
    save_file({"a.0.w": torch.ones(2, 2), "a.1.w": torch.ones(2, 2)}, tmp_path / "x.safetensors")
    packed = torch.ones(2, 2, dtype=torch.int8)
    save_file({"a.0.w": packed, "a.1.w": torch.ones(2, 2)}, tmp_path / "y.safetensors")
    table = scan_to_table(scan_parameters(tmp_path / "x.safetensors", tmp_path / "y.safetensors"), 0.5)
    assert list(table["parameter"]) == ["a.1.w", "a.0.w"]
    assert table["units"].isna().tolist() == [False, True]
    assert "Cannot be compared" in table["note"][1]
    assert "dequantise" in table["note"][1]


def test_the_median_is_numpys() -> None:
    for counts in ([0, 0, 3], [1, 2, 2, 5], [4], [0, 6]):
        seen, numbers = np.unique(counts, return_counts=True)
        entry = ScanEntry("w", None, "w", "row", len(counts), 8, 0, tuple(seen), tuple(numbers), None, 0.0)
        assert entry.median_statistic == np.median(counts) / 8


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("model.layers.3.mlp.up_proj.weight", (3, "mlp.up_proj")),
        ("model.embed_tokens.weight", (None, "embed_tokens")),
        ("lm_head.weight", (None, "lm_head")),
        ("transformer.h.11.attn.c_attn.weight", (11, "attn.c_attn")),
        ("h.11.attn.c_attn.weight", (11, "attn.c_attn")),
        ("model.decoder.layers.0.fc1.weight", (0, "decoder.fc1")),
        ("encoder.block.2.layer.0.SelfAttention.q.weight", (2, "encoder.layer.0.SelfAttention.q")),
        ("model.layers.4.mlp.experts.7.w1.weight", (4, "mlp.experts.7.w1")),
        ("blk.5.ffn_up.weight", (5, "ffn_up")),
        ("a.0.w", (0, "w")),
        ("0.weight", (0, "0")),
        ("model", (None, "model")),
    ],
)
def test_names_tell_layer_and_matrix(name: str, place: tuple[int | None, str]) -> None:
    assert describe_parameter(name) == place
