"""What one pass over V row pairs fills in, whichever device makes it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from kslottery_core.errors import KSInputError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class ShiftArrays:
    """Shifts of V rows, each float64 (V,); see `KSResult` for their meaning. Starts as "nothing moved"."""

    l2_shift: np.ndarray
    cosine: np.ndarray
    mean_shift: np.ndarray
    spread_ratio: np.ndarray

    @classmethod
    def create(cls, vocabulary_size: int) -> "ShiftArrays":
        return cls(
            l2_shift=np.zeros(vocabulary_size),
            cosine=np.ones(vocabulary_size),
            mean_shift=np.zeros(vocabulary_size),
            spread_ratio=np.ones(vocabulary_size),
        )

    def write(self, rows: np.ndarray, before: np.ndarray, after: np.ndarray) -> None:
        """Fill in the given row numbers (R,) from float32 or float64 values (R, d)."""
        self.write_sums(rows, before.shape[1], compute_sums(before, after))

    def write_sums(self, rows: np.ndarray, width: int, sums: np.ndarray) -> None:
        """Fill in the given row numbers (R,) of width d from their sums (R, 7), laid out as `compute_sums` does."""
        square_before, square_after, product, sum_shift, square_shift, spread_before, spread_after = sums.T
        self.l2_shift[rows] = np.sqrt(square_shift)
        self.mean_shift[rows] = sum_shift / width
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            cosine = product / (np.sqrt(square_before) * np.sqrt(square_after))
            ratio = np.sqrt(spread_after / spread_before)
        self.cosine[rows] = np.where((square_before > 0) & (square_after > 0), np.clip(cosine, -1, 1), np.nan)
        # A constant row's spread is zero up to the rounding of its mean; a ratio of such would be a made-up number.
        is_constant = spread_before <= 1e-24 * square_before
        self.spread_ratio[rows] = np.where(is_constant, np.nan, ratio)


def compute_sums(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Sums over each row pair (R, d), float64 (R, 7).

    In this order: b^2, a^2, a*b, a - b, (a - b)^2, (b - mean of b)^2, (a - mean of a)^2.
    """
    before, after = before.astype(np.float64, copy=False), after.astype(np.float64, copy=False)
    shift = after - before
    factors = (
        (before, before),
        (after, after),
        (before, after),
        (shift, np.ones_like(shift)),
        (shift, shift),
        *((centred, centred) for centred in (x - x.mean(axis=1, keepdims=True) for x in (before, after))),
    )
    return np.stack([np.einsum("ij,ij->i", x, y) for x, y in factors], axis=1)


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
