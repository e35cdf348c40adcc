"""A scan: of each matrix the histogram of its counts, from which D, winners and the table at every alpha derive."""

import hashlib
import json
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kslottery_core.ks import check_significance_level
from kslottery_core.tickets.selection import compute_adjusted_p_values

if TYPE_CHECKING:
    import pandas

    from kslottery_core.ks import KSResult

COLUMNS = (
    "parameter",
    "layer",
    "matrix",
    "unit",
    "units",
    "width",
    "changed",
    "winners",
    "winners share",
    "wins from D",
    "largest D",
    "median D",
    "median L2 shift",
    "note",
)
WHOLE_NUMBERS = ("layer", "units", "width", "changed", "winners")
KEPT_UNITS = 50
"""How many rows (or columns) of each matrix are kept by number: those with the largest D."""

WRAPPERS = ("model", "transformer", "gpt_neox", "backbone")
"""Leading parts of a name that say nothing about the matrix: some checkpoints have them, others do not."""


@dataclass(frozen=True)
class ScanEntry:
    """The comparison of one matrix: `units` rows (or columns) of `width` numbers each.

    parameter        the matrix's name in the before checkpoint
    layer, matrix    where it stands in the model, see `describe_parameter`
    changed          number of units that differ in at least one value
    counts_seen      the counts k = width * D that occur, ascending; `numbers` is how many units have each
    top_units        ids of the units with the largest D, largest first (ties: larger L2 shift), D above 0 only;
                     `top_counts` are their counts k
    median_l2_shift  median over all units of the Euclidean distance between before and after
    seconds          reading and comparing it; where both sides are the same bytes on disk, reading them once
    """

    parameter: str
    layer: int | None
    matrix: str
    unit: str
    units: int
    width: int
    changed: int
    counts_seen: tuple[int, ...]
    numbers: tuple[int, ...]
    median_l2_shift: float | None
    seconds: float
    notes: tuple[str, ...] = ()
    top_units: tuple[int, ...] = ()
    top_counts: tuple[int, ...] = ()

    @property
    def largest_count(self) -> int:
        """The largest count k of any unit."""
        return self.counts_seen[-1]

    @property
    def largest_statistic(self) -> float:
        """The largest D of any unit."""
        return self.largest_count / self.width

    @property
    def median_statistic(self) -> float:
        """The median D over all units, unchanged ones included."""
        upto = np.cumsum(self.numbers)
        middle = [int(np.searchsorted(upto, at, side="right")) for at in ((self.units - 1) // 2, self.units // 2)]
        return sum(self.counts_seen[position] for position in middle) / 2 / self.width

    @property
    def histogram(self) -> np.ndarray:
        """How many units have each count k = 0 .. width, int64 (width + 1,)."""
        histogram = np.zeros(self.width + 1, dtype=np.int64)
        histogram[list(self.counts_seen)] = self.numbers
        return histogram

    def find_least_winning_count(
        self, significance_level: float, correction: str = "none", method: str = "exact"
    ) -> int | None:
        """The smallest count k that wins at alpha; None when none up to the width does. Raises as `count_winners`."""
        significance_level = check_significance_level(significance_level)
        winning = np.flatnonzero(compute_adjusted_p_values(self.histogram, correction, method) <= significance_level)
        return int(winning[0]) if winning.size else None

    def count_winners(self, significance_level: float, correction: str = "none", method: str = "exact") -> int:
        """How many units have an (adjusted) p of at most alpha; corrections are over the units of this matrix.

        Raises KSInputError for alpha outside 0 < alpha < 1 or an unknown method, TicketError for a correction.
        """
        least = self.find_least_winning_count(significance_level, correction, method)
        return 0 if least is None else self.count_units(least)

    def count_units(self, least_count: int) -> int:
        """How many units have a count of at least `least_count`."""
        return sum(self.numbers[bisect_left(self.counts_seen, least_count) :])


@dataclass(frozen=True)
class SkippedParameter:
    """A matrix that could not be compared, with the reason in one sentence."""

    parameter: str
    layer: int | None
    matrix: str
    unit: str
    skipped: str


ScanRecord = ScanEntry | SkippedParameter


@dataclass(frozen=True)
class ScanSpec:
    """What was asked: two checkpoints, the unit ("row" or "column"), a glob of names, and the state of both files."""

    before: str
    after: str
    unit: str
    pattern: str
    before_signature: str
    after_signature: str

    @property
    def digest(self) -> str:
        """32 hexadecimal digits of what decides a line: unit, pattern and the state of both sides' files, however the
        checkpoints are spelled."""
        decisive = (self.unit, self.pattern, self.before_signature, self.after_signature)
        return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Scan:
    """A whole or partial scan. `parameters` names every matrix that was asked for, in the order of the files."""

    spec: ScanSpec
    parameters: tuple[str, ...]
    entries: tuple[ScanEntry, ...] = ()
    skipped: tuple[SkippedParameter, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def remaining(self) -> tuple[str, ...]:
        """Names of the matrices that are not done yet; empty when the scan is complete."""
        done = {entry.parameter for entry in self.entries} | {skipped.parameter for skipped in self.skipped}
        return tuple(name for name in self.parameters if name not in done)


def describe_parameter(name: str) -> tuple[int | None, str]:
    """(layer, matrix) of a parameter's dotted name.

    The layer is the first number in the name. The matrix is the name without it, without the list that it counts
    ("layers", "h"), without a leading wrapper such as "model" and without ".weight":
    "model.layers.3.mlp.up_proj.weight" is (3, "mlp.up_proj"), "model.decoder.layers.0.fc1.weight" (0, "decoder.fc1").
    """
    parts = name.removesuffix(".weight").split(".")
    if len(parts) > 1 and parts[0] in WRAPPERS:
        parts = parts[1:]
    at = next((position for position, part in enumerate(parts) if part.isdecimal()), None)
    if at is None:
        return None, ".".join(parts)
    kept = [*parts[: max(0, at - 1)], *parts[at + 1 :]]
    return int(parts[at]), ".".join(kept) or parts[at]


def build_entry(name: str, unit: str, result: "KSResult", seconds: float) -> ScanEntry:
    """The entry of a matrix from the comparison of its units."""
    counts_seen, numbers = np.unique(result.counts, return_counts=True)
    layer, matrix = describe_parameter(name)
    top = np.lexsort((-result.l2_shift, -result.counts))[:KEPT_UNITS]
    top = top[result.counts[top] > 0]
    return ScanEntry(
        parameter=name,
        layer=layer,
        matrix=matrix,
        unit=unit,
        units=result.vocabulary_size,
        width=result.width,
        changed=result.changed_count,
        counts_seen=tuple(counts_seen.tolist()),
        numbers=tuple(numbers.tolist()),
        median_l2_shift=float(np.median(result.l2_shift)),
        seconds=seconds,
        notes=result.notes,
        top_units=tuple(top.tolist()),
        top_counts=tuple(result.counts[top].tolist()),
    )


def build_unchanged_entry(name: str, unit: str, shape: tuple[int, int], seconds: float) -> ScanEntry:
    """The entry of a matrix of `shape` (units, width) that is the same on both sides."""
    layer, matrix = describe_parameter(name)
    return ScanEntry(name, layer, matrix, unit, shape[0], shape[1], 0, (0,), (shape[0],), 0.0, seconds)


def scan_to_table(
    scan: Scan, significance_level: float, correction: str = "none", method: str = "exact"
) -> "pandas.DataFrame":
    """One row per matrix with the columns `COLUMNS`: compared ones in the order of the files, then the skipped ones.

    Winners are the units whose test rejects at alpha; "wins from D" is the smallest such D, missing where none
    can. `layer` is missing where the name holds no number. A skipped matrix has no numbers at all; its note says why.
    Raises as `ScanEntry.count_winners` does.
    """
    import pandas

    rows: list[dict[str, object]] = []
    for entry in scan.entries:
        least = entry.find_least_winning_count(significance_level, correction, method)
        winners = 0 if least is None else entry.count_units(least)
        rows.append(
            {
                "parameter": entry.parameter,
                "layer": entry.layer,
                "matrix": entry.matrix,
                "unit": entry.unit,
                "units": entry.units,
                "width": entry.width,
                "changed": entry.changed,
                "winners": winners,
                "winners share": winners / entry.units,
                "wins from D": None if least is None else least / entry.width,
                "largest D": entry.largest_statistic,
                "median D": entry.median_statistic,
                "median L2 shift": entry.median_l2_shift,
                "note": " ".join(entry.notes) or ("" if entry.changed else "unchanged"),
            }
        )
    for skipped in scan.skipped:
        rows.append(
            {
                "parameter": skipped.parameter,
                "layer": skipped.layer,
                "matrix": skipped.matrix,
                "unit": skipped.unit,
                "note": f"Cannot be compared: {skipped.skipped}",
            }
        )
    table = pandas.DataFrame(rows, columns=list(COLUMNS))
    floats = ("winners share", "wins from D", "largest D", "median D", "median L2 shift")
    return table.astype(dict.fromkeys(WHOLE_NUMBERS, "Int64") | dict.fromkeys(floats, "float64"))
