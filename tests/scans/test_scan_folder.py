"""A scan on disk: stopping and going on changes nothing, and no line of another scan gets in."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from kslottery_core.checkpoints import open_parameters
from kslottery_core.errors import CheckpointError, KSDeviceError, RunError
from kslottery_core.ks import compute_ks
from kslottery_core.progress import ProgressEvent
from kslottery_core.scans import Scan, load_scan, scan_parameters
from kslottery_core.scans import scan as scan_module

MATRICES = 16


def strip_seconds(scan: Scan) -> tuple[Any, ...]:
    return (*(dataclasses.replace(entry, seconds=0.0) for entry in scan.entries), *scan.skipped, *scan.remaining)


def read_lines(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "parameters.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


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
    path.unlink()
    path.mkdir()
    with pytest.raises(RunError, match="cannot be read"):
        load_scan(folder)


def test_damaged_lines_are_told_and_their_matrices_compared_again(
    tiny_llama_folder: Path, tuned: Path, tmp_path: Path
) -> None:
    whole = scan_parameters(tiny_llama_folder, tuned, tmp_path, pattern="*up_proj*")
    path = tmp_path / "parameters.jsonl"
    first, second = path.read_text().splitlines()
    record = json.loads(first)
    wrongs = ({"numbers": [1]}, {"counts_seen": [17]}, {"counts_seen": []}, {"units": 7}, {"top_units": [1] * 9})
    broken = [json.dumps({**record, **wrong}) for wrong in (*wrongs, {"colour": "red"})]
    for damaged in (first[:30], "[1]", *broken):
        path.write_text(f"{damaged}\n{second}\n")
        found = load_scan(tmp_path)
        assert found.remaining == (record["parameter"],)
        assert "1 line was damaged" in found.notes[-1]
        again = scan_parameters(tiny_llama_folder, tuned, tmp_path, pattern="*up_proj*")
        assert [entry.counts_seen for entry in again.entries] == [entry.counts_seen for entry in whole.entries]
        assert not load_scan(tmp_path).remaining


def test_the_rows_of_the_largest_d_are_kept_by_number(tiny_llama_folder: Path, tuned: Path, tmp_path: Path) -> None:
    scan_parameters(tiny_llama_folder, tuned, tmp_path)
    for entry in load_scan(tmp_path).entries:
        sides = [open_parameters(folder).open(entry.parameter) for folder in (tiny_llama_folder, tuned)]
        result = compute_ks(*(side.read_rows(0, side.shape[0]) for side in sides), "cpu")
        assert entry.top_counts == tuple(result.counts[list(entry.top_units)])
        assert sorted(entry.top_counts, reverse=True) == list(entry.top_counts)
        expected = sorted(result.counts[result.counts > 0], reverse=True)[:50]
        assert list(entry.top_counts) == expected


def test_lines_of_another_scan_are_not_taken_over(tiny_llama_folder: Path, tuned: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scan"
    scan_parameters(tiny_llama_folder, tuned, folder)
    (folder / "scan.json").unlink()
    mine = scan_parameters(tiny_llama_folder, tiny_llama_folder, folder)  # the very names, from another pair
    assert {entry.changed for entry in mine.entries} == {0}
    assert load_scan(folder) == mine
    assert any("16 lines belong to another scan" in note for note in mine.notes)
    (folder / "scan.json").unlink()  # the first scan's lines are still its own
    again = scan_parameters(tiny_llama_folder, tuned, folder)
    assert strip_seconds(again) == strip_seconds(scan_parameters(tiny_llama_folder, tuned))
    assert len((folder / "parameters.jsonl").read_text().splitlines()) == 2 * MATRICES


def test_lines_that_name_no_scan_are_not_taken_over(tiny_llama_folder: Path, tuned: Path, tmp_path: Path) -> None:
    whole = scan_parameters(tiny_llama_folder, tuned, tmp_path, pattern="*up_proj*")
    path = tmp_path / "parameters.jsonl"
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    del first["scan"]
    path.write_text("".join(json.dumps(line) + "\n" for line in (first, second)))
    assert load_scan(tmp_path).remaining == whole.parameters[:1]
    assert any("1 line belongs to another scan" in note for note in load_scan(tmp_path).notes)


def test_a_torn_line_of_another_scan_spoils_no_new_one(tiny_llama_folder: Path, tuned: Path, tmp_path: Path) -> None:
    (tmp_path / "parameters.jsonl").write_text('{"parameter": "mod')
    scan = scan_parameters(tiny_llama_folder, tuned, tmp_path)
    assert load_scan(tmp_path) == scan
    assert len(scan.entries) == MATRICES


def test_the_device_is_no_reason_to_skip_a_matrix(
    tiny_llama_folder: Path, tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def run_out_of_room(*sides: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KSDeviceError("cuda has no room for one row pair; use --device cpu.")
        return compute_ks(*sides, **options)

    with monkeypatch.context() as patched:
        patched.setattr(scan_module, "compute_ks", run_out_of_room)
        with pytest.raises(KSDeviceError, match="use --device cpu"):
            scan_parameters(tiny_llama_folder, tuned, tmp_path)
    part = load_scan(tmp_path)
    assert (len(part.entries), part.skipped) == (2, ())
    assert len(scan_parameters(tiny_llama_folder, tuned, tmp_path, device="cpu").entries) == MATRICES


@pytest.mark.parametrize("side", ["before", "after"])
def test_files_that_change_during_a_scan_are_no_finding(
    side: str, tiny_llama_folder: Path, tuned: Path, tmp_path: Path
) -> None:
    before = Path(shutil.copytree(tiny_llama_folder, tmp_path / "before"))
    weights = {"before": before, "after": tuned}[side] / "model.safetensors"
    tensors = load_file(weights)

    def replace(event: ProgressEvent) -> None:
        if event.message == "model.layers.1.mlp.down_proj.weight":
            save_file({name: value + 1 for name, value in tensors.items()}, weights)

    with pytest.raises(CheckpointError, match=r"its files changed while 'model.layers.1.mlp.down_proj.weight'"):
        scan_parameters(before, tuned, tmp_path / "s", progress=replace)
    part = load_scan(tmp_path / "s")
    assert part.remaining[0] == "model.layers.1.mlp.down_proj.weight"
    assert len(read_lines(tmp_path / "s")) == len(part.entries) > 0
