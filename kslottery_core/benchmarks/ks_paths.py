"""Each of our paths and each peer on the same matrices: time, ratio, agreement, memory."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kslottery_core.benchmarks import ks_peers
from kslottery_core.benchmarks.machine import describe_machine
from kslottery_core.benchmarks.measuring import Measurement, measure
from kslottery_core.errors import KSInputError
from kslottery_core.ks import compute_ks, compute_p_values

if TYPE_CHECKING:
    import torch

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
        from kslottery_core.benchmarks.ks_on_device import list_device_calls

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
