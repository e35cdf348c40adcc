"""Each of our paths and each peer on the same matrices: time, ratio, agreement, memory."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kslottery_core.benchmarks import ks_peers
from kslottery_core.benchmarks.measuring import Measurement, describe_machine, measure
from kslottery_core.errors import KSInputError
from kslottery_core.ks import (
    binned_path,
    choose_device,
    compute_ks,
    compute_p_values,
    numpy_path,
    torch_path,
    triton_path,
)
from kslottery_core.ks.cpu_sweep import CPUSweep

if TYPE_CHECKING:
    import torch

DeviceCall = tuple[str, Callable[[], np.ndarray], str, int, str | None]


def list_device_calls(before: "torch.Tensor", after: "torch.Tensor", device: str) -> list[DeviceCall]:
    """Name, call returning counts (V,), device, rows and note of every path that CUDA `device` can take."""
    import torch

    there = before.to(device), after.to(device)
    rows, width = before.shape
    note = f"data on {torch.cuda.get_device_name(device)} already, counts alone"

    def count_all(count_block: Callable, step: int) -> Callable[[], np.ndarray]:
        def call() -> np.ndarray:
            counts = [count_block(there[0][at : at + step], there[1][at : at + step]) for at in range(0, rows, step)]
            return torch.cat(counts).cpu().numpy()

        return call

    calls: list[DeviceCall] = []
    if triton_path.can_count(there[0]):
        calls.append(("Triton kernel", count_all(triton_path.count_block, rows), device, rows, note))
    step = torch_path.compute_block_rows(width, torch.cuda.mem_get_info(device)[0])
    calls.append(("torch-sort path on the device", count_all(torch_path.count_block, step), device, rows, note))
    whole = "from host memory, with the copy, the shifts and the checks"
    calls.append(("compute_ks on the device", lambda: compute_ks(before, after, device).counts, device, rows, whole))
    return calls


DTYPES = ("bfloat16", "float16", "float32", "float64")
_READ_BYTES = 2**22
SCIPY_LOOP = "SciPy ks_2samp, a loop over rows"


@dataclass(frozen=True)
class KSBenchmarkSettings:
    """What is compared: V rows of width d in a dtype; `peer_rows` bounds the rows that slow peers are given."""

    rows: int = 32_000
    width: int = 4_096
    dtype: str = "bfloat16"
    device: str = "auto"
    repeats: int = 3
    peer_rows: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rows", "width", "repeats"):
            if getattr(self, name) < 1:
                raise KSInputError(f"{name}: expected at least 1, found {getattr(self, name)}.")
        if self.peer_rows is not None and self.peer_rows < 1:
            raise KSInputError(f"peer_rows: expected at least 1, found {self.peer_rows}.")
        if self.dtype not in DTYPES:
            raise KSInputError(f"dtype: expected one of {', '.join(DTYPES)}, found {self.dtype!r}.")


@dataclass(frozen=True)
class KSTiming:
    """One line of the table. Times are for `rows_measured` rows; `seconds` is scaled to all rows where they are fewer.

    `rows_equal` counts rows whose k equals SciPy's of `rows_compared`; `p_error` is the largest relative difference of
    p where SciPy's is exact. None is what does not apply or was not measured.
    """

    name: str
    kind: str  # "ours", "peer" or "limit"
    device: str
    rows_measured: int
    seconds: float
    all_seconds: tuple[float, ...]
    peak_bytes: int | None = None
    rows_equal: int | None = None
    rows_compared: int | None = None
    p_error: float | None = None
    note: str | None = None


@dataclass(frozen=True)
class KSBenchmark:
    """All timings of one run, on one machine."""

    settings: KSBenchmarkSettings
    machine: dict[str, Any]
    timings: tuple[KSTiming, ...]

    def find(self, name: str) -> KSTiming | None:
        """The timing of that name."""
        return next((timing for timing in self.timings if timing.name == name), None)

    def compute_ratio(self, timing: KSTiming) -> float | None:
        """How many times faster than the SciPy loop of the same run."""
        loop = self.find(SCIPY_LOOP)
        return None if loop is None else loop.seconds / timing.seconds

    def to_json(self) -> dict[str, Any]:
        """A JSON object of plain values."""
        timings = [asdict(timing) | {"times_faster": self.compute_ratio(timing)} for timing in self.timings]
        return {"settings": asdict(self.settings), "machine": self.machine, "timings": timings}


def make_pair(settings: KSBenchmarkSettings) -> "tuple[torch.Tensor, torch.Tensor]":
    """Random rows of which every one is changed, by noise of 1% to 100% of the row's spread: (V, d) twice."""
    import torch

    generator = torch.Generator().manual_seed(settings.seed)
    before = torch.randn(settings.rows, settings.width, generator=generator).mul_(0.02)
    scale = 10 ** (torch.rand(settings.rows, 1, generator=generator) * 2 - 2) * 0.02
    after = torch.randn(settings.rows, settings.width, generator=generator).mul_(scale).add_(before)
    dtype = getattr(torch, settings.dtype)
    return before.to(dtype), after.to(dtype)


def benchmark_ks(
    settings: KSBenchmarkSettings, on_timing: Callable[[KSTiming], None] = lambda timing: None
) -> KSBenchmark:
    """Measure every path this machine has and every installed peer. Raises KSInputError for a missing device."""
    machine = describe_machine()
    before, after = make_pair(settings)
    peers = _Peers(settings, before, after)
    timings: list[KSTiming] = []
    for produce in (*peers.list_calls(), *_list_own_calls(settings, before, after)):
        timing = produce(peers)
        timings.append(timing)
        on_timing(timing)
    return KSBenchmark(settings, machine, tuple(timings))


class _Peers:
    """The peers' calls and what SciPy found, which all others are checked against."""

    def __init__(self, settings: KSBenchmarkSettings, before: "torch.Tensor", after: "torch.Tensor") -> None:
        self._settings = settings
        self._rows = min(settings.peer_rows or settings.rows, settings.rows)
        self._tensors = before, after
        self._few = min(self._rows, 500)
        self.counts: np.ndarray | None = None
        self.p_values: np.ndarray | None = None

    def list_calls(self) -> "list[Callable[[_Peers], KSTiming]]":
        calls = [
            lambda _: self._time(SCIPY_LOOP, ks_peers.loop_over_scipy, self._rows),
            lambda _: self._time("SciPy ks_2samp with axis, asymptotic p", ks_peers.call_scipy_with_axis, self._rows),
        ]
        if ks_peers.has_alibi_detect():
            calls.append(lambda _: self._time("alibi-detect KSDrift", ks_peers.call_alibi_detect, self._few))
        calls.append(lambda _: self._time_torch_sort())
        return calls

    def _time(self, name: str, call: Callable, rows: int) -> KSTiming:
        # NumPy knows no bfloat16: peers are handed the widened values, and the widening is not counted.
        wide = [_widen(tensor[:rows]) for tensor in self._tensors]
        call(*(side[:2] for side in wide))  # importing the peer is not counted
        found = measure(lambda: call(*wide), 1, warm_up=False)
        statistics, p_values = found.returned
        counts = np.rint(statistics * self._settings.width).astype(np.int64)
        if name == SCIPY_LOOP:
            self.counts, self.p_values = counts, p_values
        note = None
        if p_values is not None and np.isnan(p_values).any():
            note = f"gave up the exact p on {np.isnan(p_values).sum():,} rows"
        return self.describe(name, "peer", "cpu", found, rows, counts, note=note)

    def _time_torch_sort(self) -> KSTiming:
        rows = min(self._rows, 4000)
        wide = [tensor[:rows].float() if tensor.element_size() == 2 else tensor[:rows] for tensor in self._tensors]
        found = measure(lambda: ks_peers.sort_with_torch(*wide), 1)
        return self.describe("torch.sort of both sides, nothing more", "peer", "cpu", found, rows)

    def describe(
        self,
        name: str,
        kind: str,
        device: str,
        found: Measurement,
        rows: int,
        counts: np.ndarray | None = None,
        p_values: np.ndarray | None = None,
        note: str | None = None,
    ) -> KSTiming:
        compared = equal = error = None
        if counts is not None and self.counts is not None:
            compared = min(len(counts), len(self.counts))
            equal = int((counts[:compared] == self.counts[:compared]).sum())
            if p_values is not None and self.p_values is not None:
                expected = self.p_values[:compared]
                known = ~np.isnan(expected)
                with np.errstate(divide="ignore", invalid="ignore"):
                    errors = np.where(p_values[:compared] == expected, 0.0, np.abs(p_values[:compared] / expected - 1))
                error = float(errors[known].max()) if known.any() else None
        scale = self._settings.rows / rows
        return KSTiming(
            name=name,
            kind=kind,
            device=device,
            rows_measured=rows,
            seconds=found.best_seconds * scale,
            all_seconds=tuple(seconds * scale for seconds in found.seconds),
            peak_bytes=found.peak_bytes if rows == self._settings.rows else None,
            rows_equal=equal,
            rows_compared=compared,
            p_error=error,
            note=note,
        )


def _widen(tensor: "torch.Tensor") -> np.ndarray:
    return (tensor.float() if tensor.element_size() == 2 else tensor).numpy()


def _list_own_calls(
    settings: KSBenchmarkSettings, before: "torch.Tensor", after: "torch.Tensor"
) -> "list[Callable[[_Peers], KSTiming]]":
    from kslottery_core.ks import binned_path, choose_device, numpy_path
    from kslottery_core.ks.cpu_sweep import CPUSweep

    p_table = compute_p_values(settings.width)

    def time_counts(name: str, call: Callable[[], np.ndarray], device: str, rows: int, note: str | None = None) -> Any:
        def produce(peers: _Peers) -> KSTiming:
            found = measure(call, settings.repeats, device=device)
            counts = found.returned
            return peers.describe(name, "ours", device, found, rows, counts, p_table[counts], note)

        return produce

    def sweep(path: Any, rows: int) -> Callable[[], np.ndarray]:
        def call() -> np.ndarray:
            made = CPUSweep(rows, settings.width, 1, path)
            made.take(0, before[:rows], [after[:rows]])
            return made.findings.comparisons[0].counts

        return call

    def time_limit(peers: _Peers) -> KSTiming:
        found = measure(lambda: _read_once(before, after), settings.repeats)
        return peers.describe("reading the bytes once (the limit)", "limit", "cpu", found, settings.rows)

    few = min(settings.rows, 4000)
    calls: list[Any] = [
        time_limit,
        time_counts("compute_ks", lambda: compute_ks(before, after, "cpu").counts, "cpu", settings.rows),
    ]
    calls.append(
        lambda peers: peers.describe(
            "compute_ks, every row identical",
            "ours",
            "cpu",
            measure(lambda: compute_ks(before, before, "cpu"), settings.repeats),
            settings.rows,
        )
    )
    if binned_path.explain_missing() is None:
        calls.append(time_counts("binned path (numba)", sweep(binned_path, settings.rows), "cpu", settings.rows))
    calls.append(time_counts("sorted path (NumPy alone)", sweep(numpy_path, few), "cpu", few))
    calls.append(time_counts("torch path on the CPU", lambda: _count_with_torch(before[:few], after[:few]), "cpu", few))
    device = choose_device(settings.device)
    if device != "cpu":
        calls += [time_counts(*call) for call in list_device_calls(before, after, device)]
    return calls


def _count_with_torch(before: "torch.Tensor", after: "torch.Tensor") -> np.ndarray:
    from kslottery_core.ks import torch_path

    step = 500
    blocks = range(0, len(before), step)
    return np.concatenate(
        [torch_path.count_block(before[at : at + step], after[at : at + step]).numpy() for at in blocks]
    )


def _read_once(*tensors: "torch.Tensor") -> int:
    """Touch every byte of the matrices on all threads, in blocks that fit a cache."""
    import torch

    from kslottery_core.jobs import count_processors

    blocks: list[np.ndarray] = []
    for tensor in tensors:
        words = tensor.view(torch.uint8).view(-1).numpy()[: tensor.nbytes // 8 * 8].view(np.uint64)
        blocks += np.array_split(words, max(1, tensor.nbytes // _READ_BYTES))
    with ThreadPoolExecutor(count_processors()) as pool:
        return int(np.bitwise_or.reduce(list(pool.map(np.bitwise_or.reduce, blocks))))


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
