"""Ours beside its peers in one run on one machine: run by hand, never as a test of speed."""

from kslottery_core.benchmarks.ks_paths import (
    KSBenchmark,
    KSBenchmarkSettings,
    ScalingBenchmark,
    benchmark_ks,
    benchmark_scaling,
)
from kslottery_core.benchmarks.measuring import describe_machine
from kslottery_core.benchmarks.tuning_paths import TuningBenchmark, TuningBenchmarkSettings, benchmark_tuning

__all__ = [
    "KSBenchmark",
    "KSBenchmarkSettings",
    "ScalingBenchmark",
    "TuningBenchmark",
    "TuningBenchmarkSettings",
    "benchmark_ks",
    "benchmark_scaling",
    "benchmark_tuning",
    "describe_machine",
]
