"""The tuning benchmark's bookkeeping: what is compared and counted. Never how fast something is."""

import json

import pytest

from kslottery_core.benchmarks import TuningBenchmarkSettings, benchmark_tuning
from kslottery_core.benchmarks.tuning_paths import OURS, PEFT, WHOLE
from kslottery_core.errors import KSInputError, TuningError

TINY = TuningBenchmarkSettings(rows=400, width=16, batch_size=2, length=10, ticket_size=3, device="cpu", repeats=2)


def test_all_ways_are_measured_and_their_gradients_agree():
    seen = []
    benchmark = benchmark_tuning(TINY, seen.append)
    assert tuple(seen) == benchmark.timings
    assert [timing.name for timing in seen] == [WHOLE, PEFT, OURS]
    assert [timing.trained_parameters for timing in seen] == [400 * 16, 3 * 16, 3 * 16]
    for timing in seen:
        assert timing.gradient_error < 1e-5
        assert len(timing.all_seconds) == 2
        assert timing.seconds == min(timing.all_seconds)
    assert benchmark.compute_ratio(seen[1]) == 1
    assert benchmark.compute_ratio(seen[2]) == seen[1].seconds / seen[2].seconds
    written = json.loads(json.dumps(benchmark.to_json()))
    assert written["timings"][1]["times_faster_than_peft"] == 1
    assert written["settings"]["rows"] == 400
    assert written["machine"]["versions"]["peft"]


def test_only_our_way_makes_no_tensor_of_the_matrix_size():
    whole, theirs, ours = benchmark_tuning(TINY).timings
    assert whole.largest_shape == theirs.largest_shape == (400, 16)
    assert whole.largest_bytes == 400 * 16 * 4
    assert ours.largest_shape == (2, 10, 16)
    assert ours.largest_bytes == 2 * 10 * 16 * 4


def test_sixteen_bit_matrices_are_measured_too():
    timings = benchmark_tuning(TuningBenchmarkSettings(100, 8, 2, 5, 2, dtype="bfloat16", repeats=1)).timings
    assert all(timing.gradient_error < 0.05 for timing in timings)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"rows": 0}, "rows: expected at least 1, found 0"),
        ({"length": -1}, "length: expected at least 1"),
        ({"rows": 5, "ticket_size": 6}, "ticket_size: expected at most the 5 rows, found 6"),
        ({"ticket_share": 2.0}, "ticket_share: expected a share"),
        ({"dtype": "int8"}, "dtype: expected one of float32, bfloat16, found 'int8'"),
    ],
)
def test_wrong_tuning_settings_are_told(wrong, sentence):
    with pytest.raises(TuningError, match=sentence):
        TuningBenchmarkSettings(**wrong)


def test_a_device_that_is_none_is_told():
    with pytest.raises(KSInputError, match="auto, cpu, cuda"):
        benchmark_tuning(TuningBenchmarkSettings(10, 4, 1, 2, 1, device="tpu"))
