"""The sweep on a torch device; a block that does not fit is halved, never guessed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kslottery_core.errors import KSInputError
from kslottery_core.ks import torch_path
from kslottery_core.ks.sweep import Findings

if TYPE_CHECKING:
    import torch


class DeviceSweep:
    """Compares blocks of rows with torch operations on `device`."""

    def __init__(self, rows: int, width: int, afters: int, device: str) -> None:
        import torch

        self.findings = Findings.create(rows, afters)
        self._width = width
        self._device = torch.device(device)
        free = torch.cuda.mem_get_info(self._device)[0] if self._device.type == "cuda" else 2**30
        self._block_rows = torch_path.compute_block_rows(width, free)

    def take(self, start: int, before: "torch.Tensor", afters: "Sequence[torch.Tensor]") -> None:
        for side, after in enumerate(afters):
            self._take_side(side, start, before, after)

    def _take_side(self, side: int, start: int, before: "torch.Tensor", after: "torch.Tensor") -> None:
        import torch

        at = 0
        while at < len(before):
            stop = at + self._block_rows
            try:
                self._take_block(side, start + at, before[at:stop], after[at:stop])
            except torch.OutOfMemoryError:
                if self._block_rows == 1:
                    raise KSInputError(
                        f"{self._device} has no room for one row pair of width {self._width}; use --device cpu."
                    ) from None
                self._block_rows = max(1, self._block_rows // 2)
                torch.cuda.empty_cache()
                self.findings.notes.append(
                    f"The device ran out of memory; the block was halved to {self._block_rows} rows."
                )
                continue
            at = stop

    def _take_block(self, side: int, start: int, before: "torch.Tensor", after: "torch.Tensor") -> None:
        before, after = before.to(self._device), after.to(self._device)
        finite_before, finite_after = before.isfinite().all(dim=1), after.isfinite().all(dim=1)
        if not bool(finite_before.all() & finite_after.all()):
            if side == 0:
                self.findings.add_bad_rows(0, start + np.flatnonzero(~finite_before.cpu().numpy()))
            self.findings.add_bad_rows(1 + side, start + np.flatnonzero(~finite_after.cpu().numpy()))
            return
        changed = (before != after).any(dim=1)
        if not bool(changed.any()):
            return
        before, after = before[changed], after[changed]
        rows = start + np.flatnonzero(changed.cpu().numpy())
        found = self.findings.comparisons[side]
        found.counts[rows] = torch_path.count_block(before, after).cpu().numpy()
        found.changed[rows] = True
        found.shifts.write(rows, before.double().cpu().numpy(), after.double().cpu().numpy())
