"""The benchmark's bookkeeping: what is compared, scaled, counted as equal. Never how fast something is."""

import json

import numpy as np
import pytest
from scipy.stats import ks_2samp

from kslottery_core.benchmarks import KSBenchmarkSettings, benchmark_ks, benchmark_scaling, ks_peers, measuring
from kslottery_core.benchmarks.ks_paths import SCIPY_LOOP, KSTiming, fit_exponent, make_pair
from kslottery_core.errors import KSInputError
from kslottery_core.ks import numpy_path


def test_every_path_agrees_with_scipy_and_is_compared_with_it():
    seen = []
    benchmark = benchmark_ks(KSBenchmarkSettings(rows=60, width=50, repeats=2), seen.append)
    assert tuple(seen) == benchmark.timings
    own = [timing for timing in benchmark.timings if timing.rows_compared is not None]
    assert {"compute_ks", "binned path (numba)", "sorted path (NumPy alone)", "torch path on the CPU"} < {
        timing.name for timing in own
    }
    for timing in own:
        assert (timing.rows_equal, timing.rows_compared) == (60, 60), timing.name
    ours = [timing for timing in own if timing.kind == "ours"]
    assert all(timing.p_error < 1e-9 for timing in ours)
    assert all(len(timing.all_seconds) == 2 and timing.seconds == min(timing.all_seconds) for timing in ours)
    loop = benchmark.find(SCIPY_LOOP)
    assert benchmark.compute_ratio(loop) == 1
    assert benchmark.compute_ratio(ours[0]) == loop.seconds / ours[0].seconds
    written = json.loads(json.dumps(benchmark.to_json()))
    assert written["timings"][0]["times_faster"] == 1
    assert written["machine"]["versions"]["numpy"] == np.__version__


def test_a_wrong_count_is_seen(monkeypatch):
    count_block = numpy_path.count_block
    monkeypatch.setattr(numpy_path, "count_block", lambda before, after: count_block(before, after) + 1)
    benchmark = benchmark_ks(KSBenchmarkSettings(rows=20, width=30, repeats=1))
    assert benchmark.find("sorted path (NumPy alone)").rows_equal == 0


def test_times_of_fewer_rows_are_scaled_to_all():
    benchmark = benchmark_ks(KSBenchmarkSettings(rows=100, width=20, repeats=1, peer_rows=10))
    loop = benchmark.find(SCIPY_LOOP)
    assert loop.rows_measured == 10
    assert loop.peak_bytes is None, "memory of fewer rows says nothing about all"
    assert benchmark.find("compute_ks").rows_compared == 10


def test_every_row_of_the_pair_is_changed():
    before, after = make_pair(KSBenchmarkSettings(rows=50, width=64, dtype="float32"))
    assert (before != after).any(dim=1).all()
    again, _ = make_pair(KSBenchmarkSettings(rows=50, width=64, dtype="float32"))
    assert (before == again).all()


def test_scipy_with_axis_crosses_its_blocks(monkeypatch):
    monkeypatch.setattr(ks_peers, "AXIS_ROWS", 4)
    before, after = np.random.default_rng(0).normal(size=(2, 10, 16))
    statistics, p_values = ks_peers.call_scipy_with_axis(before, after)
    assert p_values is None
    assert statistics.tolist() == [ks_2samp(x, y).statistic for x, y in zip(before, after, strict=True)]


def test_rows_where_scipy_left_the_exact_p_are_not_compared(monkeypatch):
    import warnings

    class Found:
        statistic, pvalue = 0.5, 0.25

    def warn_sometimes(before, after):
        if before[0]:
            warnings.warn("Exact calculation unsuccessful", RuntimeWarning, stacklevel=1)
        return Found

    monkeypatch.setattr("scipy.stats.ks_2samp", warn_sometimes)
    _, p_values = ks_peers.loop_over_scipy(np.array([[0], [1], [0]]), np.zeros((3, 1)))
    assert np.isnan(p_values).tolist() == [False, True, False]


def test_alibi_detect_is_handed_tokens_as_features(monkeypatch):
    import sys
    import types

    class KSDrift:
        def __init__(self, x_ref, p_val):
            self.x_ref = x_ref

        def feature_score(self, x_ref, x):
            found = [ks_2samp(x_ref[:, i], x[:, i]) for i in range(x.shape[1])]
            return np.array([one.pvalue for one in found]), np.array([one.statistic for one in found])

    package, module = types.ModuleType("alibi_detect"), types.ModuleType("alibi_detect.cd")
    module.KSDrift = KSDrift
    monkeypatch.setitem(sys.modules, "alibi_detect", package)
    monkeypatch.setitem(sys.modules, "alibi_detect.cd", module)
    monkeypatch.setattr(ks_peers, "has_alibi_detect", lambda: True)
    benchmark = benchmark_ks(KSBenchmarkSettings(rows=12, width=20, repeats=1))
    assert benchmark.find("alibi-detect KSDrift").rows_equal == 12


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"rows": 0}, "rows: expected at least 1, found 0"),
        ({"peer_rows": 0}, "peer_rows: expected at least 1"),
        ({"dtype": "int8"}, "dtype: expected one of bfloat16, .* found 'int8'"),
    ],
)
def test_wrong_settings_are_told(wrong, sentence):
    with pytest.raises(KSInputError, match=sentence):
        KSBenchmarkSettings(**wrong)


def test_memory_is_measured_beyond_the_start():
    found = measuring.measure(lambda: np.ones(2**23).sum(), 1, warm_up=False)
    if found.peak_bytes is not None:
        assert found.peak_bytes > 2**25
    assert found.returned == 2**23


def test_memory_is_unknown_without_the_status_file(monkeypatch, tmp_path):
    monkeypatch.setattr(measuring, "_STATUS", tmp_path / "none")
    assert measuring.measure(lambda: 1, 1).peak_bytes is None


def test_the_exponent_of_a_power_law_is_found():
    sizes = [1, 10, 100]
    assert fit_exponent(sizes, [size**1.5 for size in sizes]) == pytest.approx(1.5)


def test_scaling_measures_both_axes_of_every_path():
    benchmark = benchmark_scaling(repeats=1, rows=(10, 20), widths=(8, 16))
    assert [(point.rows, point.width) for point in benchmark.points[:4]] == [
        (10, 512),
        (20, 512),
        (2000, 8),
        (2000, 16),
    ]
    assert set(benchmark.exponents) == {
        f"{path}, along {axis}" for path in ("sorted path (NumPy alone)", "binned path (numba)") for axis in ("V", "d")
    }
    json.dumps(benchmark.to_json())


def test_a_timing_knows_nothing_it_was_not_told():
    timing = KSTiming("x", "ours", "cpu", 1, 0.5, (0.5,))
    assert (timing.peak_bytes, timing.rows_equal, timing.p_error, timing.note) == (None, None, None, None)
