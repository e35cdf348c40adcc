"""One call over all rows: read both sides in blocks, skip identical rows, count on the CPU or a CUDA device."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from kslottery_core.errors import KSInputError
from kslottery_core.ks import numpy_path, torch_path
from kslottery_core.ks.result import KSResult
from kslottery_core.ks.shifts import ShiftArrays
from kslottery_core.progress import OnProgress, ProgressEvent, ignore_progress

if TYPE_CHECKING:
    import torch

READ_BYTES = 32 * 2**20
"""How much of one side is read at a time; both sides and the keys made from them stay far under 512 MB."""


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
    started = time.perf_counter()
    source_before, source_after = _as_source(before, "before"), _as_source(after, "after")
    if source_before.shape != source_after.shape:
        raise KSInputError(
            f"expected two matrices of one shape, found {source_before.shape} before and {source_after.shape} after; "
            "compare the rows that both sides have."
        )
    rows, width = source_before.shape
    if rows == 0 or width == 0:
        raise KSInputError(f"expected at least one row and one coordinate, found shape ({rows}, {width}).")
    chosen_device = choose_device(device)
    pass_over = _CPUPass(rows, width) if chosen_device == "cpu" else _DevicePass(rows, width, chosen_device)
    for start, stop, block_before, block_after in _read_blocks(source_before, source_after):
        pass_over.take(start, block_before, block_after)
        progress(ProgressEvent("ks", stop, rows))
    pass_over.finish()
    return KSResult(
        counts=pass_over.counts,
        width=width,
        changed=pass_over.changed,
        **vars(pass_over.shifts),
        device=_describe_device(chosen_device),
        seconds=time.perf_counter() - started,
        fingerprint_before=None,
        fingerprint_after=None,
        notes=tuple(pass_over.notes),
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
            raise KSInputError(f"device: {device!r} was asked for, found {available} CUDA device(s); use cpu or auto.")
    return device


def _describe_device(device: str) -> str:
    if device == "cpu":
        return "cpu"
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else device


def _read_blocks(before: RowSource, after: RowSource) -> "Iterator[tuple[int, int, torch.Tensor, torch.Tensor]]":
    """Yield (start, stop, before rows, after rows) in one floating dtype, exactly widened."""
    rows, width = before.shape
    step = max(1, READ_BYTES // (width * 4))
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        yield start, stop, *_widen(before.read_rows(start, stop), after.read_rows(start, stop))


def _widen(before: "torch.Tensor", after: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
    import torch

    exact = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    for side, tensor in (("before", before), ("after", after)):
        if tensor.dtype not in exact:
            name = str(tensor.dtype).removeprefix("torch.")
            raise KSInputError(
                f"{side}: expected float32, float16, bfloat16 or float64 values, found {name}; "
                "a quantised matrix must be dequantised first, for example with model.dequantize()."
            )
    if before.dtype != after.dtype:
        wide = torch.float64 if torch.float64 in (before.dtype, after.dtype) else torch.float32
        before, after = before.to(wide), after.to(wide)
    return before, after


class _Pass:
    """Common state of one sweep over the rows."""

    def __init__(self, rows: int, width: int) -> None:
        self.width = width
        self.counts = np.zeros(rows, dtype=np.int32)
        self.changed = np.zeros(rows, dtype=bool)
        self.shifts = ShiftArrays.create(rows)
        self.notes: list[str] = []
        self._bad_rows: dict[str, list[int]] = {"before": [], "after": []}

    def _note_bad_rows(self, side: str, start: int, finite: np.ndarray) -> None:
        self._bad_rows[side].extend((start + np.flatnonzero(~finite)).tolist())

    def finish(self) -> None:
        problems = []
        for side, bad in self._bad_rows.items():
            if bad:
                shown = ", ".join(str(row) for row in sorted(bad)[:5]) + (", ..." if len(bad) > 5 else "")
                problems.append(f"{len(bad)} {side} (ids {shown})")
        if problems:
            raise KSInputError(
                f"expected finite numbers, found rows with NaN or infinite entries: {' and '.join(problems)}; "
                "such a checkpoint is broken, so compare an earlier one."
            )


class _CPUPass(_Pass):
    def __init__(self, rows: int, width: int) -> None:
        super().__init__(rows, width)
        self._threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def take(self, start: int, before: "torch.Tensor", after: "torch.Tensor") -> None:
        step = numpy_path.compute_block_rows(self.width)
        before, after = before.cpu(), after.cpu()
        starts = range(0, len(before), step)
        with ThreadPoolExecutor(self._threads) as pool:
            for _ in pool.map(
                lambda at: self._take_block(start + at, before[at : at + step], after[at : at + step]), starts
            ):
                pass

    def _take_block(self, start: int, before: "torch.Tensor", after: "torch.Tensor") -> None:
        values_before, values_after = _to_numpy(before), _to_numpy(after)
        finite_before, finite_after = np.isfinite(values_before).all(axis=1), np.isfinite(values_after).all(axis=1)
        if not (finite_before.all() and finite_after.all()):
            self._note_bad_rows("before", start, finite_before)
            self._note_bad_rows("after", start, finite_after)
            return
        changed = (values_before != values_after).any(axis=1)
        if not changed.any():
            return
        rows = start + np.flatnonzero(changed)
        self.changed[rows] = True
        self.shifts.write(rows, values_before[changed], values_after[changed])
        if before.element_size() == 2:
            self.counts[rows] = numpy_path.count_block(_to_bits(before)[changed], _to_bits(after)[changed])
        else:
            self.counts[rows] = numpy_path.count_block(values_before[changed], values_after[changed])


def _to_numpy(tensor: "torch.Tensor") -> np.ndarray:
    return (tensor.float() if tensor.element_size() == 2 else tensor).numpy()


def _to_bits(tensor: "torch.Tensor") -> np.ndarray:
    import torch

    return tensor.contiguous().view(torch.int16).numpy()


class _DevicePass(_Pass):
    """The same sweep with torch operations; a block that does not fit is halved, never guessed."""

    def __init__(self, rows: int, width: int, device: str) -> None:
        super().__init__(rows, width)
        import torch

        self._device = torch.device(device)
        free = torch.cuda.mem_get_info(self._device)[0] if self._device.type == "cuda" else 2**30
        self._block_rows = torch_path.compute_block_rows(width, free)

    def take(self, start: int, before: "torch.Tensor", after: "torch.Tensor") -> None:
        import torch

        at = 0
        while at < len(before):
            stop = at + self._block_rows
            try:
                self._take_block(start + at, before[at:stop], after[at:stop])
            except torch.OutOfMemoryError:
                if self._block_rows == 1:
                    raise KSInputError(
                        f"{self._device} has no room for one row pair of width {self.width}; use --device cpu."
                    ) from None
                self._block_rows = max(1, self._block_rows // 2)
                torch.cuda.empty_cache()
                self.notes.append(f"The device ran out of memory; the block was halved to {self._block_rows} rows.")
                continue
            at = stop

    def _take_block(self, start: int, before: "torch.Tensor", after: "torch.Tensor") -> None:
        before, after = before.to(self._device), after.to(self._device)
        finite_before, finite_after = before.isfinite().all(dim=1), after.isfinite().all(dim=1)
        if not bool(finite_before.all() & finite_after.all()):
            self._note_bad_rows("before", start, finite_before.cpu().numpy())
            self._note_bad_rows("after", start, finite_after.cpu().numpy())
            return
        changed = (before != after).any(dim=1)
        if not bool(changed.any()):
            return
        before, after = before[changed], after[changed]
        rows = start + np.flatnonzero(changed.cpu().numpy())
        self.counts[rows] = torch_path.count_block(before, after).cpu().numpy()
        self.changed[rows] = True
        self.shifts.write(rows, *_to_float64(before, after))


def _to_float64(before: "torch.Tensor", after: "torch.Tensor") -> tuple[np.ndarray, np.ndarray]:
    return before.double().cpu().numpy(), after.double().cpu().numpy()
