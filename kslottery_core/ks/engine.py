"""One call over all rows: read every side in blocks and hand them to the sweep of the chosen device."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from kslottery_core.errors import KSDeviceError, KSInputError
from kslottery_core.ks.cpu_sweep import CPUSweep
from kslottery_core.ks.device_sweep import DeviceSweep
from kslottery_core.ks.result import KSResult
from kslottery_core.ks.sweep import Sweep
from kslottery_core.progress import OnProgress, ProgressEvent, ignore_progress

if TYPE_CHECKING:
    import torch

    from kslottery_core.checkpoints import EmbeddingMatrix, EmbeddingPair

READ_BYTES = 64 * 2**20
"""How much of all sides together is read at a time; with the keys made from them it stays far under 512 MB."""


class RowSource(Protocol):
    """Anything that hands out rows of a (V, d) matrix; `EmbeddingMatrix` of the checkpoints room is one."""

    @property
    def shape(self) -> tuple[int, int]: ...

    def read_rows(self, start: int, stop: int) -> "torch.Tensor": ...


@dataclass(frozen=True)
class _ArraySource:
    tensor: "torch.Tensor"

    @property
    def shape(self) -> tuple[int, int]:
        return (self.tensor.shape[0], self.tensor.shape[1])

    def read_rows(self, start: int, stop: int) -> "torch.Tensor":
        return self.tensor[start:stop]


def _as_source(matrix: Any, side: str) -> RowSource:
    import torch

    if hasattr(matrix, "read_rows"):
        return matrix
    if not isinstance(matrix, torch.Tensor):
        array = np.asarray(matrix)
        if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
            raise KSInputError(f"{side}: expected float16, float32 or float64 numbers, found {array.dtype} values.")
        native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
        matrix = torch.from_numpy(native if native.flags.writeable else native.copy())
    if matrix.ndim != 2:
        raise KSInputError(f"{side}: expected a matrix of shape (V, d), found shape {tuple(matrix.shape)}.")
    return _ArraySource(matrix.detach())


def compute_ks(before: Any, after: Any, device: str = "auto", *, progress: OnProgress = ignore_progress) -> KSResult:
    """Two-sample KS test of each of V row pairs, exact with ties.

    `before`, `after`: tensors or arrays (V, d) of float32, float16, bfloat16 or float64, or row sources. Differing
    dtypes are widened exactly. `device`: "auto" (CUDA where there is one), "cpu", "cuda" or "cuda:N".
    Raises KSInputError for shapes that differ, d or V of 0, integer matrices, NaN or infinite entries (which rows and
    how many), or a device that is not there.
    """
    return compute_several_ks(before, [after], device, progress=progress)[0]


def compute_several_ks(
    before: Any, afters: Sequence[Any], device: str = "auto", *, progress: OnProgress = ignore_progress
) -> tuple[KSResult, ...]:
    """`compute_ks` of one before side against each of several after sides.

    The before rows are read once, and binned (CPU) or sorted (torch path) once; the sorting path of the CPU and the
    Triton kernel take each pair as a whole. Every result carries the seconds that all of them took together. Raises
    KSInputError as `compute_ks` does.
    """
    started = time.perf_counter()
    if not afters:
        raise KSInputError("after: expected at least one matrix to compare with before, found none.")
    source_before = _as_source(before, "before")
    sources = [
        _as_source(after, "after" if len(afters) == 1 else f"after number {n}") for n, after in enumerate(afters, 1)
    ]
    for source in sources:
        if source_before.shape != source.shape:
            raise KSInputError(
                f"expected matrices of one shape, found {source_before.shape} before and {source.shape} after; "
                "compare the rows that both sides have."
            )
    rows, width = source_before.shape
    if rows == 0 or width == 0:
        raise KSInputError(f"expected at least one row and one coordinate, found shape ({rows}, {width}).")
    chosen_device = choose_device(device)
    sweep: Sweep = (
        CPUSweep(rows, width, len(sources))
        if chosen_device == "cpu"
        else DeviceSweep(rows, width, len(sources), chosen_device)
    )
    for start, stop, block_before, blocks_after in _read_blocks(source_before, sources):
        sweep.take(start, block_before, blocks_after)
        progress(ProgressEvent("ks", stop, rows))
    findings = sweep.findings
    if any(isinstance(source, _ArraySource) for source in (source_before, *sources)):  # files say so by themselves
        findings.notes += _describe_dtypes(source_before, sources)
    names = [getattr(getattr(source, "matrix", None), "source", None) for source in (source_before, *sources)]
    findings.raise_for_bad_rows(names)
    seconds = time.perf_counter() - started
    return tuple(
        KSResult(
            counts=found.counts,
            width=width,
            changed=found.changed,
            **vars(found.shifts),
            device=_describe_device(chosen_device),
            seconds=seconds,
            fingerprint_before=None,
            fingerprint_after=None,
            notes=tuple(findings.notes),
        )
        for found in findings.comparisons
    )


def choose_device(device: str) -> str:
    """Resolve "auto" and check that the device is there. Raises KSInputError."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise KSInputError(f"device: expected auto, cpu, cuda or cuda:N, found {device!r}.")
    if kind == "cuda":
        available = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= available:
            raise KSDeviceError(f"device: {device!r} was asked for, CUDA devices found: {available}; use cpu or auto.")
    return device


def _describe_dtypes(before: RowSource, afters: Sequence[RowSource]) -> list[str]:
    names = [str(source.read_rows(0, 0).dtype).removeprefix("torch.") for source in (before, *afters)]
    if len(set(names)) == 1:
        return []
    return [
        f"Stored as {names[0]} before and {', '.join(names[1:])} after; compared after exact widening, so rounding to "
        "the narrower type counts as a change."
    ]


def _describe_device(device: str) -> str:
    if device == "cpu":
        return "cpu"
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else device


def _read_blocks(
    before: RowSource, afters: Sequence[RowSource]
) -> "Iterator[tuple[int, int, torch.Tensor, list[torch.Tensor]]]":
    """Yield (start, stop, before rows, rows of each after) in one floating dtype, exactly widened."""
    rows, width = before.shape
    step = max(1, READ_BYTES // (width * 4 * (1 + len(afters))))
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        block, *blocks = _widen([source.read_rows(start, stop) for source in (before, *afters)])
        yield start, stop, block, blocks


def _widen(tensors: "list[torch.Tensor]") -> "list[torch.Tensor]":
    import torch

    exact = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    for number, tensor in enumerate(tensors):
        if tensor.dtype not in exact:
            side = "before" if number == 0 else "after" if len(tensors) == 2 else f"after number {number}"
            name = str(tensor.dtype).removeprefix("torch.")
            raise KSInputError(
                f"{side}: expected float32, float16, bfloat16 or float64 values, found {name}; "
                "a quantised matrix must be dequantised first, for example with model.dequantize()."
            )
    kinds = {tensor.dtype for tensor in tensors}
    if len(kinds) == 1:
        return tensors
    wide = torch.float64 if torch.float64 in kinds else torch.float32
    return [tensor.to(wide) for tensor in tensors]


@dataclass(frozen=True)
class CommonRows:
    """The first V rows of a matrix that may have more."""

    matrix: "EmbeddingMatrix"
    shape: tuple[int, int]

    def read_rows(self, start: int, stop: int) -> "torch.Tensor":
        return self.matrix.read_rows(start, stop)


def compute_pair_ks(pair: "EmbeddingPair", device: str = "auto", progress: OnProgress = ignore_progress) -> KSResult:
    """`compute_ks` over the rows both sides have."""
    shape = (pair.vocabulary_size, pair.width)
    result = compute_ks(CommonRows(pair.before, shape), CommonRows(pair.after, shape), device, progress=progress)
    return replace(result, fingerprint_before=pair.before.fingerprint, fingerprint_after=pair.after.fingerprint)
