"""`scan` and `ks --parameter PATTERN --unit` as a person types them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from kslottery_core import scans
from kslottery_core.commands import scan_commands
from kslottery_core.scans import load_scan

Run = Callable[..., tuple[int, str, str]]


def test_scan_prints_a_line_for_each_matrix(run: Run, tiny_llama_folder: Path, tiny_tuned_llama_folder: Path) -> None:
    status, out, _ = run("scan", tiny_llama_folder, tiny_tuned_llama_folder)
    assert status == 0
    assert "of 16 matrices" in out
    assert "changed        3 rows" in out
    assert "uncalibrated" in out
    table = out.split("\n\n")[1].splitlines()
    assert len(table) == 18
    (line,) = [line for line in table if line.startswith("model.embed_tokens.weight")]
    assert line.split()[1:4] == ["64", "16", "3"]
    assert line.split()[-2:] == ["3", "4.7%"]


def test_ks_takes_a_pattern_and_a_unit(run: Run, tiny_llama_folder: Path, tiny_tuned_llama_folder: Path) -> None:
    pattern = "model.layers.*.mlp.up_proj.weight"
    status, out, err = run(
        "ks", tiny_llama_folder, tiny_tuned_llama_folder, "--parameter", pattern, "--unit", "row", "--alpha", 0.5
    )
    assert (status, err) == (0, "")
    assert "64 rows of 2 matrices" in out
    assert "at alpha 0.5" in out
    status, out, _ = run("ks", tiny_llama_folder, tiny_tuned_llama_folder, "--unit", "column")
    assert status == 0
    assert "16 columns of 1 matrix" in out
    assert "model.embed_tokens.weight" in out


def test_scan_keeps_a_folder_and_goes_on_there(
    run: Run, tiny_llama_folder: Path, tiny_tuned_llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a scan"
    arguments = ("scan", tiny_llama_folder, tiny_tuned_llama_folder, "--out", folder, "--unit", "column")
    real = scans.scan_parameters

    def interrupt(*values: Any, **options: Any) -> Any:
        def press(event: Any) -> None:
            if event.message == "model.layers.1.mlp.down_proj.weight":
                raise KeyboardInterrupt

        return real(*values, **{**options, "progress": press})

    with monkeypatch.context() as patched:
        patched.setattr(scans, "scan_parameters", interrupt)
        status, out, err = run(*arguments)
        assert (status, out) == (130, "")
        done = len(load_scan(folder).entries)
        assert f"Interrupted; {done} of 16 matrices are done and kept in {folder}" in err
        assert (
            f"kslottery scan {tiny_llama_folder} {tiny_tuned_llama_folder} --out '{folder}' --parameter '*' "
            "--unit column --alpha 0.05 --device auto"
        ) in err
        status, _, err = run(*arguments[:3])
        assert status == 130
        assert "nothing was kept" in err
    status, out, _ = run(*arguments)
    assert status == 0
    assert f"The scan is in {folder}." in out
    assert load_scan(folder).remaining == ()


def test_a_long_scan_is_summed_up_by_kind(
    run: Run, tiny_llama_folder: Path, tiny_tuned_llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_commands, "LONGEST_TABLE", 3)
    status, out, _ = run("scan", tiny_llama_folder, tiny_tuned_llama_folder)
    assert status == 0
    kinds, most = out.split("\n\n")[1:3]
    assert [line.split()[0] for line in kinds.splitlines()[2:]].count("mlp.up_proj") == 1
    assert most.startswith("the 1 of 16 matrices with the largest D")
    assert "model.embed_tokens.weight" in most


def test_what_was_skipped_is_printed(run: Run, tmp_path: Path) -> None:
    names = [f"a.{number}.w" for number in range(12)]
    save_file({name: torch.ones(2, 2) for name in names}, tmp_path / "x.safetensors")
    save_file({name: torch.ones(2, 2, dtype=torch.int8) for name in names}, tmp_path / "y.safetensors")
    status, out, _ = run("scan", tmp_path / "x.safetensors", tmp_path / "y.safetensors")
    assert status == 0
    assert "largest D      not measured" in out
    assert out.count("dequantise") == 10
    assert "and 2 more matrices" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--alpha", "2"), "0 < alpha < 1"),
        (("--parameter", "*.up_prj.*"), "near names are"),
        (("--parameter", "model.norm.weight"), "has 1 dimension"),
        (("--device", "tpu"), "expected auto, cpu, cuda"),
        (("--unit", "diagonal"), "diagonal"),
    ],
)
def test_wrong_arguments_are_one_sentence(
    run: Run, arguments: tuple[str, ...], message: str, tiny_llama_folder: Path
) -> None:
    status, _, err = run("scan", tiny_llama_folder, tiny_llama_folder, *arguments)
    assert status == 2
    assert message in err
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
