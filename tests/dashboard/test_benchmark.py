"""The benchmark's pairs are what they say, its figures are judged right, and what is missing is one sentence."""

import json

import numpy as np
import pytest

from dashboard import loaders
from dashboard.benchmark import __main__ as command_line
from dashboard.benchmark import chromium
from dashboard.benchmark.measured import Measured, format_measured
from dashboard.benchmark.pairs import make_compared_pair, make_pair
from dashboard.loaders import PairChoice
from kslottery_core.errors import KSLotteryError


def test_a_target_bounds_the_median_or_with_a_reference_the_ratio_of_medians():
    alone = Measured("A page", "ms", (100.0, 900.0, 200.0), 300.0)
    assert (alone.median, alone.ratio, alone.met) == (200.0, None, True)
    assert Measured("A page", "ms", (300.0,), 300.0).met is False
    beside = Measured("Paint", "ms", (300.0, 500.0), 2.0, "empty app", (100.0, 250.0, 200.0))
    assert (beside.ratio, beside.met) == (2.0, False)
    assert Measured("Memory", "MB", (1.0,)).met is None
    assert beside.to_json() | {"median": 400.0, "ratio": 2.0, "met": False} == beside.to_json()


def test_the_table_has_a_line_for_each_and_says_what_is_met():
    table = format_measured(
        [
            Measured("Paint", "ms", (300.0,), 2.0, "empty app", (200.0,)),
            Measured("A page", "ms", (600.0, 700.0, 800.0), 500.0, note="slow"),
        ]
    )
    header, paint, page, note = table.splitlines()
    assert header.split() == ["What", "Median", "Range", "Held", "against", "Ratio", "Target", "Met"]
    assert "empty app: 200 ms" in paint and "1.5" in paint and "< 2 times" in paint and paint.endswith("yes")
    assert "700 ms" in page and "600 to 800 (3)" in page and "< 500 ms" in page and page.endswith("no")
    assert note == "A page: slow"


def test_a_made_pair_opens_and_some_of_its_rows_win(tmp_path):
    folders = make_pair(tmp_path, 300, 64)
    comparison = loaders.load_comparison(PairChoice(str(folders.before), str(folders.after)))
    assert comparison.result.changed_count == 150
    assert (comparison.pair.vocabulary_size, comparison.pair.width) == (300, 64)
    assert comparison.pair.before.dtype == "bfloat16"
    selection = loaders.load_selection(comparison, loaders.AlphaChoice(0.9))
    assert 0 < selection.ticket.size < 150


def test_a_compared_pair_takes_no_room_and_its_result_is_found_in_the_cache(tmp_path):
    folders = make_compared_pair(tmp_path, 3000, 4096)
    weights = folders.before / "model.safetensors"
    assert weights.stat().st_size > 3000 * 4096 * 2
    assert weights.stat().st_blocks * 512 < 100_000
    comparison = loaders.load_comparison(PairChoice(str(folders.before), str(folders.after)))
    assert comparison.from_cache
    result = comparison.result
    assert (result.vocabulary_size, result.width) == (3000, 4096)
    assert np.array_equal(result.changed, result.l2_shift > 0)
    assert 0 < loaders.load_selection(comparison, loaders.AlphaChoice(0.05)).ticket.size < 1500


def test_without_a_browser_the_benchmark_says_what_it_needs(monkeypatch, capsys):
    monkeypatch.setattr(chromium.shutil, "which", lambda name: None)
    refused = pytest.raises(KSLotteryError, match=r"expected one of chromium.* on the path, found none")
    with refused, chromium.open_browser():
        raise AssertionError("it was opened")
    assert command_line.main(["--small"]) == 2
    assert "on the path, found none" in capsys.readouterr().err
    monkeypatch.setitem(command_line.sys.modules, "playwright.sync_api", None)
    assert command_line.main(["--small"]) == 2
    assert "expected the package playwright" in capsys.readouterr().err


def test_figures_are_printed_and_written_with_machine_versions_and_command(tmp_path, monkeypatch, capsys):
    measured = Measured("Paint", "ms", (300.0,), 2.0, "empty app", (200.0,))
    monkeypatch.setattr(command_line, "_measure", lambda *given: ([measured], "999.1"))
    out = tmp_path / "figures.json"
    assert command_line.main(["--small", "--part", "first-paint", "--out", str(out)]) == 0
    content = json.loads(out.read_text())
    assert content["command"] == f"python -m dashboard.benchmark --small --part first-paint --out {out}"
    assert content["measured"] == [measured.to_json() | {"values": [300.0], "reference_values": [200.0]}]
    assert content["machine"]["versions"]["chromium"] == "999.1"
    assert content["machine"]["versions"]["streamlit"]
    assert content["machine"]["load_at_start"] >= 0
    assert "Paint" in capsys.readouterr().out
