"""`bench ks` as a person calls it."""

import json

import pytest

from kslottery_core.benchmarks import ks_paths as ks_scaling

SMALL = ("bench", "ks", "--rows", "40", "--width", "30", "--repeats", "1")


def test_bench_ks_prints_a_table_and_writes_the_figures(run, tmp_path):
    out = tmp_path / "new" / "figures.json"
    code, table, _ = run(*SMALL, "--peer-rows", "20", "--out", str(out))
    assert code == 0
    assert "20 of 20" in table
    assert "(from 20 rows)" in table
    assert "SciPy ks_2samp, a loop over rows" in table
    figures = json.loads(out.read_text())
    assert figures["settings"]["rows"] == 40
    assert figures["command"].startswith("python -m kslottery_core bench ks --rows 40")


def test_bench_scaling_prints_the_exponents(run, monkeypatch):
    monkeypatch.setattr(ks_scaling.benchmark_scaling, "__defaults__", ("float32", "cpu", 1, print, (5, 10), (4, 8)))
    code, table, _ = run("bench", "ks", "--scaling", "--repeats", "1", "--device", "cpu")
    assert code == 0
    assert "seconds grow as (d log d)^" in table


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("bench ks --dtype int8", "dtype: expected one of"),
        ("bench ks --rows 5 --width 4 --device tpu", "device: expected auto, cpu, cuda"),
        ("bench ks --rows 0", "--rows"),
    ],
)
def test_wrong_input_is_one_sentence(run, arguments, sentence):
    code, _, error = run(*arguments.split())
    assert code == 2
    assert sentence in error
    assert "Traceback" not in error


def test_a_place_that_cannot_be_written_is_told(run, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, error = run(*SMALL, "--out", str(tmp_path / "file" / "x.json"))
    assert code == 2
    assert "choose another --out" in error
    assert "SciPy" not in error, "told before anything was measured"
