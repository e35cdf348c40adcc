"""The sweep on the CPU: blocks of rows spread over threads."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from kslottery_core.ks import binned_path, numpy_path
from kslottery_core.ks.sweep import Findings

if TYPE_CHECKING:
    from types import ModuleType

    import torch


class CPUSweep:
    """Compares blocks of rows on the threads this process may use; NumPy and numba release the GIL in their loops."""

    def __init__(self, rows: int, width: int, afters: int, path: "ModuleType | None" = None) -> None:
        """`path` is `binned_path` or `numpy_path`; None chooses the faster one."""
        self.findings = Findings.create(rows, afters)
        path = path or (binned_path if binned_path.is_worthwhile(rows * afters, width) else numpy_path)
        self._compare_block = path.compare_block
        self._step = path.compute_block_rows(width)
        self._threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def take(self, start: int, before: "torch.Tensor", afters: "Sequence[torch.Tensor]") -> None:
        before, afters = before.cpu(), [after.cpu() for after in afters]

        def compare(at: int) -> None:
            stop = at + self._step
            self._compare_block(self.findings, start + at, before[at:stop], [after[at:stop] for after in afters])

        with ThreadPoolExecutor(self._threads) as pool:
            for _ in pool.map(compare, range(0, len(before), self._step)):
                pass
