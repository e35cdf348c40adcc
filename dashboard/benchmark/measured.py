"""What was measured: several values of one thing, beside what is aimed at and what it is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Measured:
    """One thing, measured several times. `target` is an upper bound; `reference` names what `values` are held against.

    With a reference, the target is a bound on the ratio of the two medians; without one, on the median itself.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    target: float | None = None
    reference: str | None = None
    reference_values: tuple[float, ...] = ()
    note: str | None = None

    @property
    def median(self) -> float:
        """The middle one of the values, in `unit`."""
        return median(self.values)

    @property
    def ratio(self) -> float | None:
        """Median over the reference's median; None without a reference."""
        return self.median / median(self.reference_values) if self.reference_values else None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target."""
        if self.target is None:
            return None
        return (self.median if self.ratio is None else self.ratio) < self.target

    def to_json(self) -> dict[str, Any]:
        """Every field, with the median, the ratio and whether the target is met."""
        return asdict(self) | {"median": self.median, "ratio": self.ratio, "met": self.met}


def format_measured(all_measured: Sequence[Measured]) -> str:
    """A table: what, median and range, what it is held against, the ratio, the target and whether it is met."""
    header = ("What", "Median", "Range", "Held against", "Ratio", "Target", "Met")
    lines = [header, *(_format_line(measured) for measured in all_measured)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    rows = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    notes = [f"{measured.name}: {measured.note}" for measured in all_measured if measured.note]
    return "\n".join([*rows, *notes])


def _format_line(measured: Measured) -> tuple[str, ...]:
    against = ""
    if measured.reference:
        against = f"{measured.reference}: {median(measured.reference_values):.4g} {measured.unit}"
    target = ""
    if measured.target is not None:
        target = f"< {measured.target:g}" + (f" {measured.unit}" if measured.ratio is None else " times")
    return (
        measured.name,
        f"{measured.median:.4g} {measured.unit}",
        f"{min(measured.values):.4g} to {max(measured.values):.4g} ({len(measured.values)})",
        against,
        "" if measured.ratio is None else f"{measured.ratio:.3g}",
        target,
        {True: "yes", False: "no", None: ""}[measured.met],
    )
