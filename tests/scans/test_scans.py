"""A scan of every matrix: scipy is the oracle of each line."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import ks_2samp

from kslottery_core.checkpoints import parameters as parameter_units
from kslottery_core.checkpoints import row_readers
from kslottery_core.errors import CheckpointError, KSInputError, TicketError
from kslottery_core.ks import compute_ks
from kslottery_core.progress import ProgressEvent
from kslottery_core.scans import load_scan, scan_parameters
from kslottery_core.tickets import select_ticket

MATRICES = 16


@pytest.mark.parametrize("unit", ["row", "column"])
def test_every_line_agrees_with_scipy(unit: str, tiny_llama_folder: Path, tuned: Path) -> None:
    scan = scan_parameters(tiny_llama_folder, tuned, unit=unit)
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_llama_folder, tuned))
    assert len(scan.entries) == MATRICES
    assert (scan.skipped, scan.remaining) == ((), ())
    for entry in scan.entries:
        sides = [side[entry.parameter].numpy() for side in (before, after)]
        one, other = sides if unit == "row" else [side.T for side in sides]
        assert (entry.unit, entry.units, entry.width) == (unit, *one.shape)
        exact = [ks_2samp(x, y, method="exact") for x, y in zip(one, other, strict=True)]
        counts = np.array([round(test.statistic * entry.width) for test in exact])
        assert np.array_equal(entry.histogram, np.bincount(counts, minlength=entry.width + 1))
        assert entry.largest_count == counts.max()
        assert entry.largest_statistic == pytest.approx(max(test.statistic for test in exact))
        assert entry.median_statistic == pytest.approx(np.median([test.statistic for test in exact]))
        assert entry.changed == int((one != other).any(axis=1).sum())
        assert entry.median_l2_shift == pytest.approx(float(np.median(np.linalg.norm(other - one, axis=1))), rel=1e-5)
        for alpha in (0.05, 0.5, 0.95):
            assert entry.count_winners(alpha) == sum(test.pvalue <= alpha * (1 + 1e-12) for test in exact)


@pytest.mark.parametrize("correction", ["none", "bonferroni", "holm", "bh"])
@pytest.mark.parametrize("method", ["exact", "asymptotic"])
def test_winners_are_those_of_a_ticket(correction: str, method: str, tiny_llama_folder: Path, tuned: Path) -> None:
    name = "model.layers.0.mlp.down_proj.weight"
    (entry,) = scan_parameters(tiny_llama_folder, tuned, pattern=name).entries
    sides = [load_file(folder / "model.safetensors")[name] for folder in (tiny_llama_folder, tuned)]
    ticket = select_ticket(compute_ks(*sides, "cpu"), 0.6, correction=correction, p_value_method=method)
    assert entry.count_winners(0.6, correction, method) == ticket.size
    with pytest.raises(KSInputError, match="alpha"):
        entry.count_winners(1.5)
    with pytest.raises(TicketError, match="correction"):
        entry.count_winners(0.5, "magic")


def test_columns_are_the_rows_of_the_transpose(tuned: Path, tiny_llama_folder: Path, tmp_path: Path) -> None:
    for side, folder in (("before", tiny_llama_folder), ("after", tuned)):
        tensors = {name: v.T.contiguous() for name, v in load_file(folder / "model.safetensors").items() if v.ndim == 2}
        save_file(tensors, tmp_path / f"{side}.safetensors")
    turned = scan_parameters(tmp_path / "before.safetensors", tmp_path / "after.safetensors", unit="row")
    columns = scan_parameters(tiny_llama_folder, tuned, unit="column")
    by_name = {entry.parameter: entry for entry in turned.entries}
    for entry in columns.entries:
        other = dataclasses.replace(by_name[entry.parameter], unit="column", seconds=entry.seconds)
        assert entry == dataclasses.replace(other, median_l2_shift=entry.median_l2_shift)
        assert entry.median_l2_shift == pytest.approx(other.median_l2_shift)


def test_only_matching_matrices_are_scanned(tiny_llama_folder: Path, tuned: Path) -> None:
    scan = scan_parameters(tiny_llama_folder, tuned, pattern="model.layers.*.mlp.up_proj.weight")
    assert [(entry.layer, entry.matrix) for entry in scan.entries] == [(0, "mlp.up_proj"), (1, "mlp.up_proj")]
    assert scan.spec.pattern == "model.layers.*.mlp.up_proj.weight"
    with pytest.raises(CheckpointError, match="near names are"):
        scan_parameters(tiny_llama_folder, tuned, pattern="nothing.like.this")
    with pytest.raises(KSInputError, match="unit: expected row or column"):
        scan_parameters(tiny_llama_folder, tuned, unit="head")
    with pytest.raises(KSInputError, match="device"):
        scan_parameters(tiny_llama_folder, tuned, device="tpu")


@pytest.mark.parametrize("unit", ["row", "column"])
def test_what_cannot_be_compared_is_skipped_with_its_reason(unit: str, tmp_path: Path) -> None:
    values = torch.randn(6, 8)
    broken = values.clone()
    broken[2, 3], broken[4, 3] = float("nan"), float("inf")
    packed = torch.zeros(6, 8, dtype=torch.int8)
    save_file({"a.0.w": values, "a.1.w": values + 1, "a.2.w": values + 2}, tmp_path / "x.safetensors")
    save_file({"a.0.w": broken, "a.1.w": packed, "a.2.w": values + 3}, tmp_path / "y.safetensors")
    scan = scan_parameters(tmp_path / "x.safetensors", tmp_path / "y.safetensors", tmp_path / "s", unit=unit)
    assert [entry.parameter for entry in scan.entries] == ["a.2.w"]
    nan, integer = scan.skipped
    found = "2 after (ids 2, 4)" if unit == "row" else "1 after (ids 3)"
    assert (nan.parameter, nan.layer, found in nan.skipped) == ("a.0.w", 0, True)
    assert "stored as I8" in integer.skipped
    assert "dequantise" in integer.skipped
    assert load_scan(tmp_path / "s") == scan
    again = scan_parameters(tmp_path / "x.safetensors", tmp_path / "y.safetensors", tmp_path / "s", unit=unit)
    assert again == scan


def test_a_file_that_vanishes_stops_the_scan_and_is_no_finding(
    tiny_llama_folder: Path, tuned: Path, tmp_path: Path
) -> None:
    def remove(event: ProgressEvent) -> None:
        if event.message == "model.layers.1.mlp.down_proj.weight":
            (tuned / "model.safetensors").unlink(missing_ok=True)

    with pytest.raises(CheckpointError, match=r"which is not there|cannot be read"):
        scan_parameters(tiny_llama_folder, tuned, tmp_path / "s", progress=remove)
    part = load_scan(tmp_path / "s")
    assert part.skipped == ()
    assert part.remaining


@pytest.mark.parametrize("unit", ["row", "column"])
def test_equal_matrices_are_unchanged_without_a_comparison(
    unit: str, tiny_llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(tiny_llama_folder, tmp_path / "copy"))
    monkeypatch.setattr(parameter_units.ColumnRows, "read_rows", None)  # nothing is turned around either
    for after in (tiny_llama_folder, copy):
        scan = scan_parameters(tiny_llama_folder, after, unit=unit)
        assert {(e.changed, e.counts_seen, e.median_l2_shift, e.count_winners(0.99)) for e in scan.entries} == {
            (0, (0,), 0.0, 0)
        }
        assert [e.units for e in scan.entries] == [e.numbers[0] for e in scan.entries]


@pytest.mark.filterwarnings("ignore::UserWarning:peft", "ignore:.is_gradient_checkpointing:FutureWarning")
def test_a_lora_adapter_can_be_the_after_side(tiny_llama_folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    torch.manual_seed(5)
    model = peft.get_peft_model(
        AutoModelForCausalLM.from_pretrained(tiny_llama_folder), peft.LoraConfig(r=2, target_modules=["q_proj"])
    )
    with torch.no_grad():
        for value in model.parameters():
            if value.requires_grad:
                value.add_(torch.randn_like(value))
    model.save_pretrained(tmp_path / "adapter")
    scan = scan_parameters(tiny_llama_folder, tmp_path / "adapter")
    merged: Any = model.merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    expected = scan_parameters(tiny_llama_folder, tmp_path / "merged")
    changed = {entry.matrix: entry.changed for entry in scan.entries if entry.changed}
    assert changed == {"self_attn.q_proj": 16}
    assert [e.counts_seen for e in scan.entries] == [e.counts_seen for e in expected.entries]


@pytest.mark.parametrize("unit", ["row", "column"])
def test_nan_is_told_where_both_sides_are_the_same_stored_tensor(unit: str, tmp_path: Path) -> None:
    sound = torch.randn(6, 8)
    broken = sound.clone()
    broken[2, 3] = float("nan")
    save_file({"a.0.w": sound, "a.1.w": broken}, tmp_path / "x.safetensors")
    scan = scan_parameters(tmp_path / "x.safetensors", tmp_path / "x.safetensors", unit=unit)
    assert [(entry.parameter, entry.changed) for entry in scan.entries] == [("a.0.w", 0)]
    (skipped,) = scan.skipped
    assert ("ids 2" if unit == "row" else "ids 3") in skipped.skipped


def test_the_same_stored_tensor_is_read_once(
    tiny_llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: dict[str, int] = {}
    plain = row_readers.SafetensorsRows.read_rows

    def count(self: Any, start: int, stop: int) -> torch.Tensor:
        read[self.name] = read.get(self.name, 0) + stop - start
        return plain(self, start, stop)

    monkeypatch.setattr(row_readers.SafetensorsRows, "read_rows", count)
    scan = scan_parameters(tiny_llama_folder, tiny_llama_folder)
    assert read == {entry.parameter: entry.units for entry in scan.entries}
