"""How time grows with the number of rows V and with the width d, over two decades each."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from kslottery_core.benchmarks.ks_paths import KSBenchmarkSettings, make_pair
from kslottery_core.benchmarks.machine import describe_machine
from kslottery_core.benchmarks.measuring import measure
from kslottery_core.ks import binned_path, choose_device, compute_ks, numpy_path
from kslottery_core.ks.cpu_sweep import CPUSweep

ROWS = (1_000, 3_162, 10_000, 31_623, 100_000)
ROWS_WIDTH = 512
WIDTHS = (128, 400, 1_280, 4_096, 12_800)
WIDTHS_ROWS = 2_000


@dataclass(frozen=True)
class ScalingPoint:
    """Best seconds of several calls for V rows of width d."""

    path: str
    rows: int
    width: int
    seconds: float


@dataclass(frozen=True)
class ScalingBenchmark:
    """The points and the exponent b of seconds ~ size^b, fitted on a log scale, for each path along each axis.

    Along d the size is d * log2(2d), so an exponent of 1 is n log n and one below it is better.
    """

    machine: dict[str, Any]
    points: tuple[ScalingPoint, ...]
    exponents: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """A JSON object of plain values."""
        return asdict(self)


def fit_exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Slope of log(seconds) against log(size) by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def benchmark_scaling(
    dtype: str = "bfloat16",
    device: str = "auto",
    repeats: int = 3,
    on_point: Callable[[ScalingPoint], None] = lambda point: None,
    rows: Sequence[int] = ROWS,
    widths: Sequence[int] = WIDTHS,
) -> ScalingBenchmark:
    """Measure each path along V (at d = 512) and along d (at V = 2,000). Raises KSInputError for a missing device."""
    machine, points = describe_machine(), []
    exponents = {}
    for path, call in _list_paths(choose_device(device)).items():
        for axis, shapes in (
            ("V", [(count, ROWS_WIDTH) for count in rows]),
            ("d", [(WIDTHS_ROWS, width) for width in widths]),
        ):
            made = []
            for count, width in shapes:
                before, after = make_pair(KSBenchmarkSettings(rows=count, width=width, dtype=dtype))
                found = measure(partial(call, before, after), repeats)
                made.append(ScalingPoint(path, count, width, found.best_seconds))
                on_point(made[-1])
            sizes = [point.rows if axis == "V" else point.width * math.log2(2 * point.width) for point in made]
            exponents[f"{path}, along {axis}"] = fit_exponent(sizes, [point.seconds for point in made])
            points += made
    return ScalingBenchmark(machine, tuple(points), exponents)


def _list_paths(device: str) -> dict[str, Callable]:
    def sweep(path: Any) -> Callable:
        def call(before: Any, after: Any) -> None:
            CPUSweep(len(before), before.shape[1], 1, path).take(0, before, [after])

        return call

    paths = {"sorted path (NumPy alone)": sweep(numpy_path)}
    if binned_path.explain_missing() is None:
        paths["binned path (numba)"] = sweep(binned_path)
    if device != "cpu":
        paths["compute_ks on the device"] = lambda before, after: compute_ks(before, after, device)
    return paths
