"""What one pass over V row pairs fills in, whichever device makes it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from kslottery_core.errors import KSInputError
from kslottery_core.ks.shifts import ShiftArrays

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Comparison:
    """Counts (V,) int32, changed (V,) bool and shifts of one after side against the before side."""

    counts: np.ndarray
    changed: np.ndarray
    shifts: ShiftArrays

    @classmethod
    def create(cls, rows: int) -> "Comparison":
        """Starts as "no row differs"."""
        return cls(np.zeros(rows, dtype=np.int32), np.zeros(rows, dtype=bool), ShiftArrays.create(rows))


@dataclass(eq=False)
class Findings:
    """One `Comparison` an after side, the rows that cannot be compared, and what a person should be told."""

    comparisons: tuple[Comparison, ...]
    notes: list[str] = field(default_factory=list)
    bad_rows: dict[int, list[int]] = field(default_factory=dict)  # side: 0 is before, 1.. the afters

    @classmethod
    def create(cls, rows: int, afters: int) -> "Findings":
        return cls(tuple(Comparison.create(rows) for _ in range(afters)))

    def add_bad_rows(self, side: int, rows: np.ndarray) -> None:
        """Remember row numbers (R,) of `side` with NaN or infinite entries."""
        if rows.size:
            self.bad_rows.setdefault(side, []).extend(rows.tolist())

    def raise_for_bad_rows(self, names: Sequence[str | None]) -> None:
        """Raises KSInputError naming how many rows of which side are not finite; `names` are files, before first."""
        problems = []
        for side, bad in sorted(self.bad_rows.items()):
            after = "after" if len(self.comparisons) == 1 else f"after number {side}"
            shown = ", ".join(str(row) for row in sorted(bad)[:5]) + (", ..." if len(bad) > 5 else "")
            name = names[side]
            where = "" if name is None else f" in {name}"
            problems.append(f"{len(bad)} {after if side else 'before'}{where} (ids {shown})")
        if problems:
            raise KSInputError(
                f"expected finite numbers, found rows with NaN or infinite entries: {' and '.join(problems)}; "
                "such a checkpoint is broken, so compare an earlier one."
            )


class Sweep(Protocol):
    """Takes the rows block by block, each block once."""

    findings: Findings

    def take(self, start: int, before: "torch.Tensor", afters: "Sequence[torch.Tensor]") -> None:
        """Compare rows start.. : `before` (R, d) with each of `afters` (R, d), all of one floating dtype."""
