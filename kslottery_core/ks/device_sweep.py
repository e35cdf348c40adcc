"""The sweep on a torch device: rows go there once, counts and sums of (R,) size come back.

A block that does not fit is halved, never guessed. Counting is done by the Triton kernel where it can run, else by
torch operations on before rows that are sorted once for all after sides.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kslottery_core.errors import KSDeviceError
from kslottery_core.ks import torch_path, triton_path
from kslottery_core.ks.sweep import Findings

if TYPE_CHECKING:
    import torch

SUM_ENTRIES = 2**22
"""Entries whose float64 copies, differences and products are held at a time: ten times 32 MB."""

LEAST_KERNEL_ENTRIES = 2**22
"""Below so many entries in all, torch is done before Triton has compiled, which takes seconds at its first use."""

CHECKED_ROWS = 64
"""Rows of the first block that the kernel and the torch path both count, so that a miscompiled kernel is noticed."""


class _Found(NamedTuple):
    """What one after side of a block gave, on the CPU: `rows` are the changed ones, counted from the block's start."""

    finite: np.ndarray  # (R,)
    rows: np.ndarray  # (C,)
    counts: np.ndarray  # (C,)
    sums: np.ndarray  # (C, 7)


class _KernelError(Exception):
    """The Triton kernel cannot be used here; the message says why."""


class DeviceSweep:
    """Compares blocks of rows on `device`, with a working set of at most 2 GB there."""

    def __init__(self, rows: int, width: int, afters: int, device: str) -> None:
        import torch

        self.findings = Findings.create(rows, afters)
        self._width = width
        self._device = torch.device(device)
        self._block_rows: int | None = None
        self._may_use_kernel = rows * width * afters >= LEAST_KERNEL_ENTRIES
        self._has_checked_kernel = False

    def take(self, start: int, before: "torch.Tensor", afters: "Sequence[torch.Tensor]") -> None:
        import torch

        at = 0
        while at < len(before):
            self._block_rows = self._block_rows or self._choose_block_rows(before)
            part = slice(at, at + self._block_rows)
            found = None
            try:
                found = self._compare(before[part], [after[part] for after in afters])
            except torch.OutOfMemoryError:
                pass  # what the failed block held is given back only once this clause has been left
            except _KernelError as problem:
                self._may_use_kernel, self._block_rows = False, None
                self.findings.notes.append(
                    f"The Triton kernel could not be used ({problem}); plain torch operations counted instead."
                )
                continue
            if found is None:
                self._halve_block(len(before) - at)
            else:
                self._write(start + at, *found)
                at = part.stop

    def _halve_block(self, rows_left: int) -> None:
        import torch

        if self._block_rows == 1:
            raise KSDeviceError(
                f"{self._device} has no room for one row pair of width {self._width}; use --device cpu."
            )
        self._block_rows = max(1, min(self._block_rows or 1, rows_left) // 2)
        torch.cuda.empty_cache()
        self.findings.notes.append(f"The device ran out of memory; the block was halved to {self._block_rows} rows.")

    def _choose_block_rows(self, before: "torch.Tensor") -> int:
        import torch

        free = torch.cuda.mem_get_info(self._device)[0] if self._device.type == "cuda" else 2**30
        bytes_per_entry = torch_path.BYTES_PER_ENTRY * max(4, before.element_size()) // 4
        if self._can_use_kernel(before):
            bytes_per_entry = triton_path.BYTES_PER_ENTRY
        return torch_path.compute_block_rows(self._width, free, bytes_per_entry)

    def _can_use_kernel(self, before: "torch.Tensor") -> bool:
        return self._may_use_kernel and triton_path.can_count(before[:0].to(self._device))

    def _compare(self, before: "torch.Tensor", afters: "list[torch.Tensor]") -> tuple[np.ndarray, list[_Found]]:
        """Finite before rows (R,) and what each after side gives. Nothing is written before all of it fitted."""
        before = before.to(self._device)
        finite_before = before.isfinite().all(dim=1)
        by_torch = _TorchCounter(before)
        found = []
        for after in afters:
            after = after.to(self._device)
            finite = after.isfinite().all(dim=1)
            rows = ((before != after).any(dim=1) & finite_before & finite).nonzero().squeeze(1)
            some = len(rows) < len(before)  # after a full fine-tuning every row changed: nothing to pick out
            x, y = (before[rows], after[rows]) if some else (before, after)
            counts = self._count(by_torch, x, y, rows if some else None)
            sums = _compute_sums(x, y)
            found.append(_Found(*(each.cpu().numpy() for each in (finite, rows, counts, sums))))
        return finite_before.cpu().numpy(), found

    def _count(
        self, by_torch: "_TorchCounter", before: "torch.Tensor", after: "torch.Tensor", rows: "torch.Tensor | None"
    ) -> "torch.Tensor":
        import torch

        if not len(before) or not self._can_use_kernel(before):
            return by_torch.count(after, rows)
        try:
            counts = triton_path.count_block(before, after)
            is_right = self._has_checked_kernel or _agree_on_first_rows(counts, before, after)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a compiler or a driver may say; the torch path needs neither
            if "out of memory" in str(error).lower():
                raise torch.OutOfMemoryError(str(error)) from error
            first_line = (str(error).strip().splitlines() or [""])[0]
            raise _KernelError(f"{type(error).__name__}: {first_line[:200]}") from error
        if not is_right:
            raise _KernelError("its counts were wrong on the first rows")
        self._has_checked_kernel = True
        return counts

    def _write(self, start: int, finite_before: np.ndarray, found: list[_Found]) -> None:
        self.findings.add_bad_rows(0, start + np.flatnonzero(~finite_before))
        for side, one in enumerate(found):
            self.findings.add_bad_rows(1 + side, start + np.flatnonzero(~one.finite))
            if one.rows.size:
                rows, comparison = start + one.rows, self.findings.comparisons[side]
                comparison.counts[rows] = one.counts
                comparison.changed[rows] = True
                comparison.shifts.write_sums(rows, self._width, one.sums)


def _agree_on_first_rows(counts: "torch.Tensor", before: "torch.Tensor", after: "torch.Tensor") -> bool:
    """Whether the torch path finds the same; reading the answer also brings up an error of the launch."""
    reference = torch_path.count_block(before[:CHECKED_ROWS], after[:CHECKED_ROWS])
    return bool((counts[:CHECKED_ROWS] == reference).all())


class _TorchCounter:
    """Sorts the before rows of a block once, when the first after side asks."""

    def __init__(self, before: "torch.Tensor") -> None:
        self._before = before
        self._sorted: torch.Tensor | None = None

    def count(self, after: "torch.Tensor", rows: "torch.Tensor | None") -> "torch.Tensor":
        """Counts of `after` (C, d) against the before rows numbered `rows` (C,), None for all."""
        if self._sorted is None:
            self._sorted = torch_path.sort_block(self._before)
        return torch_path.count_sorted(
            self._sorted if rows is None else self._sorted[rows], torch_path.sort_block(after)
        )


def _compute_sums(before: "torch.Tensor", after: "torch.Tensor") -> "torch.Tensor":
    """`shifts.compute_sums` on the device: float64 (R, 7)."""
    import torch

    width = before.shape[1]
    step = max(1, SUM_ENTRIES // width)
    sums = torch.empty(len(before), 7, dtype=torch.float64, device=before.device)
    for at in range(0, len(before), step):
        x, y = before[at : at + step].double(), after[at : at + step].double()
        shift = y - x
        products = (x * x, y * y, x * y, shift, shift * shift, *((z - z.mean(1, keepdim=True)) ** 2 for z in (x, y)))
        torch.stack([product.sum(dim=1) for product in products], dim=1, out=sums[at : at + step])
    return sums
