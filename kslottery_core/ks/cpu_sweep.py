"""The sweep on the CPU: blocks of rows spread over threads."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from kslottery_core.jobs import count_processors
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
        chosen = path or self._choose_path(rows * afters, width)
        self._compare_block = chosen.compare_block
        self._most_rows = chosen.compute_block_rows(width)
        self._threads = count_processors()
        self._pool = ThreadPoolExecutor(self._threads, initializer=_keep_denormals)

    def _choose_path(self, rows: int, width: int) -> "ModuleType":
        if not binned_path.is_worthwhile(rows, width):
            return numpy_path
        missing = binned_path.explain_missing()
        if missing is None:
            return binned_path
        self.findings.notes.append(missing)
        return numpy_path

    def take(self, start: int, before: "torch.Tensor", afters: "Sequence[torch.Tensor]") -> None:
        before, afters = before.cpu(), [after.cpu() for after in afters]
        step = max(1, min(self._most_rows, -(-len(before) // self._threads)))

        def compare(at: int) -> None:
            stop = at + step
            self._compare_block(self.findings, start + at, before[at:stop], [after[at:stop] for after in afters])

        for _ in self._pool.map(compare, range(0, len(before), step)):
            pass


def _keep_denormals() -> None:
    """A thread inherits whether denormal numbers count as zero, which would make different values equal."""
    import torch

    torch.set_flush_denormal(False)
