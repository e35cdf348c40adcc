"""The sweep on the CPU: blocks of rows that fit a core's cache, spread over threads."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from kslottery_core.ks import numpy_path
from kslottery_core.ks.sweep import Comparison, Findings

if TYPE_CHECKING:
    import torch


class CPUSweep:
    """Compares blocks of rows on the threads this process may use."""

    def __init__(self, rows: int, width: int, afters: int) -> None:
        self.findings = Findings.create(rows, afters)
        self._width = width
        self._threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def take(self, start: int, before: "torch.Tensor", afters: "Sequence[torch.Tensor]") -> None:
        step = numpy_path.compute_block_rows(self._width)
        jobs = [
            (side, at, before[at : at + step], after[at : at + step])
            for side, after in enumerate(afters)
            for at in range(0, len(before), step)
        ]
        with ThreadPoolExecutor(self._threads) as pool:
            for _ in pool.map(lambda job: self._take_block(job[0], start + job[1], job[2], job[3]), jobs):
                pass

    def _take_block(self, side: int, start: int, before: "torch.Tensor", after: "torch.Tensor") -> None:
        values_before, values_after = _to_numpy(before), _to_numpy(after)
        finite_before, finite_after = np.isfinite(values_before).all(axis=1), np.isfinite(values_after).all(axis=1)
        if not (finite_before.all() and finite_after.all()):
            if side == 0:
                self.findings.add_bad_rows(0, start + np.flatnonzero(~finite_before))
            self.findings.add_bad_rows(1 + side, start + np.flatnonzero(~finite_after))
            return
        changed = (values_before != values_after).any(axis=1)
        if not changed.any():
            return
        found: Comparison = self.findings.comparisons[side]
        rows = start + np.flatnonzero(changed)
        found.changed[rows] = True
        found.shifts.write(rows, values_before[changed], values_after[changed])
        if before.element_size() == 2:
            found.counts[rows] = numpy_path.count_block(_to_bits(before)[changed], _to_bits(after)[changed])
        else:
            found.counts[rows] = numpy_path.count_block(values_before[changed], values_after[changed])


def _to_numpy(tensor: "torch.Tensor") -> np.ndarray:
    return (tensor.float() if tensor.element_size() == 2 else tensor).numpy()


def _to_bits(tensor: "torch.Tensor") -> np.ndarray:
    import torch

    return tensor.contiguous().view(torch.int16).numpy()
