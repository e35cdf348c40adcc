"""A scan of every matrix: scipy is the oracle of each line; stopping and going on changes nothing."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import ks_2samp

from kslottery_core.checkpoints import parameter_units
from kslottery_core.errors import CheckpointError, KSInputError, RunError, TicketError
from kslottery_core.ks import compute_ks
from kslottery_core.progress import ProgressEvent
from kslottery_core.scans import Scan, ScanEntry, describe_parameter, load_scan, scan_parameters, scan_to_table
from kslottery_core.tickets import select_ticket

MATRICES = 16


@pytest.fixture
def tuned(make_tiny_llama: Callable[..., Any], tiny_llama_folder: Path, tmp_path: Path) -> Path:
    """The tiny model with noise on every matrix of its MLPs and attention, embeddings untouched."""
    model = make_tiny_llama()
    torch.manual_seed(11)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if ".layers." in name and value.ndim == 2:
                value.add_(torch.randn_like(value) * value.std())
    model.save_pretrained(tmp_path / "tuned")
    return tmp_path / "tuned"


def strip_seconds(scan: Scan) -> tuple[Any, ...]:
    return (*(dataclasses.replace(entry, seconds=0.0) for entry in scan.entries), *scan.skipped, *scan.remaining)


def read_lines(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "parameters.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


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


def test_a_stopped_scan_goes_on_as_if_it_had_not_stopped(tiny_llama_folder: Path, tuned: Path, tmp_path: Path) -> None:
    whole = scan_parameters(tiny_llama_folder, tuned, tmp_path / "whole")
    calls = 0

    def stop_later() -> bool:
        nonlocal calls
        calls += 1
        return calls > 10

    part = scan_parameters(tiny_llama_folder, tuned, tmp_path / "part", should_stop=stop_later)
    done = len(part.entries)
    assert 0 < done < MATRICES
    assert len(part.remaining) == MATRICES - done
    assert load_scan(tmp_path / "part") == part
    assert read_lines(tmp_path / "part") == read_lines(tmp_path / "whole")[:done]
    events: list[ProgressEvent] = []
    rest = scan_parameters(tiny_llama_folder, tuned, tmp_path / "part", progress=events.append)
    assert strip_seconds(rest) == strip_seconds(whole)
    assert rest.entries[:done] == part.entries  # not compared again: even the seconds are the same
    assert read_lines(tmp_path / "part") == read_lines(tmp_path / "whole")
    assert load_scan(tmp_path / "part") == rest
    assert {event.phase for event in events} == {"scan"}
    assert [event.step for event in events] == sorted(event.step for event in events)
    assert events[-1].step == events[-1].total
    assert events[-1].message == whole.parameters[-1]


def test_ctrl_c_leaves_what_is_done(tiny_llama_folder: Path, tuned: Path, tmp_path: Path) -> None:
    def press(event: ProgressEvent) -> None:
        if event.message == "model.layers.1.mlp.down_proj.weight":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan_parameters(tiny_llama_folder, tuned, tmp_path, progress=press)
    part = load_scan(tmp_path)
    assert 0 < len(part.entries) < MATRICES
    rest = scan_parameters(tiny_llama_folder, tuned, tmp_path)
    assert strip_seconds(rest) == strip_seconds(scan_parameters(tiny_llama_folder, tuned))


def test_a_torn_last_line_is_done_again(tiny_llama_folder: Path, tuned: Path, tmp_path: Path) -> None:
    whole = scan_parameters(tiny_llama_folder, tuned, tmp_path)
    path = tmp_path / "parameters.jsonl"
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    assert len(load_scan(tmp_path).remaining) == 1
    assert path.read_bytes() == content[:-20]  # looking changes nothing: someone may still be writing
    assert strip_seconds(scan_parameters(tiny_llama_folder, tuned, tmp_path)) == strip_seconds(whole)
    assert len(path.read_text().splitlines()) == MATRICES


def test_the_folder_of_another_scan_is_refused(tiny_llama_folder: Path, tuned: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scan"
    scan_parameters(tiny_llama_folder, tuned, folder, pattern="*up_proj*")
    with pytest.raises(RunError, match=r"holds another scan.*pattern is '\*up_proj\*', now '\*' is asked for"):
        scan_parameters(tiny_llama_folder, tuned, folder)
    with pytest.raises(RunError, match="its unit is 'row', now 'column'"):
        scan_parameters(tiny_llama_folder, tuned, folder, pattern="*up_proj*", unit="column")
    with pytest.raises(RunError, match=r"its after is '.*tuned', now '.*tiny-llama' is asked for"):
        scan_parameters(tiny_llama_folder, tiny_llama_folder, folder, pattern="*up_proj*")
    respelled = tuned / ".." / "tuned"
    assert scan_parameters(tiny_llama_folder, respelled, folder, pattern="*up_proj*").remaining == ()
    tensors = load_file(tuned / "model.safetensors")
    save_file({**tensors, "extra.weight": torch.zeros(2, 2)}, tuned / "model.safetensors")
    with pytest.raises(RunError, match="the files of after have changed since"):
        scan_parameters(tiny_llama_folder, tuned, folder, pattern="*up_proj*")


def test_broken_and_missing_folders_are_told(tiny_llama_folder: Path, tuned: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"found no scan\.json there"):
        load_scan(tmp_path / "gone")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written there"):
        scan_parameters(tiny_llama_folder, tuned, tmp_path / "file")
    folder = tmp_path / "scan"
    scan_parameters(tiny_llama_folder, tuned, folder, pattern="*up_proj*")
    path = folder / "parameters.jsonl"
    first, second = path.read_text().splitlines()
    path.write_text(f"{first[:30]}\n{second}\n")
    with pytest.raises(RunError, match=r"parameters.jsonl, line 1: expected the record of one matrix"):
        load_scan(folder)
    record = json.loads(first)
    for wrong in ({"numbers": [1]}, {"counts_seen": [17]}, {"counts_seen": []}, {"units": 7}):
        path.write_text(json.dumps({**record, **wrong}) + "\n")
        with pytest.raises(RunError, match="expected the counts of"):
            load_scan(folder)
    path.write_text(json.dumps({**record, "colour": "red"}) + "\n")
    with pytest.raises(RunError, match="unknown field 'colour'"):
        load_scan(folder)
    path.unlink()
    path.mkdir()
    with pytest.raises(RunError, match="cannot be read"):
        load_scan(folder)


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
    assert {e.seconds for e in scan.entries if not e.changed} == {0.0}


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
    assert len(scan_to_table(dataclasses.replace(scan, entries=()), 0.5)) == 0


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
