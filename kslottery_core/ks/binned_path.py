"""KS counts on the CPU in linear time: bin the coordinates, then sort only the few bins that can matter.

Any non-decreasing map of values to bins puts equal values into one bin, so the difference of the two counts is exact
at the end of every bin. Inside a bin that holds n_b before and n_a after coordinates and starts at difference s, it
stays between s - n_a and s + n_b. Bins whose range cannot exceed the largest difference seen at a bin's end are
settled unopened; the others are sorted, a handful of coordinates each, ties passed as a whole. The result is the
count that a full sort gives, not an estimate. Rows whose open bins are too full to sort cheaply (heavy tails, no
spread) are sorted whole by `numpy_path`.

The same loop collects the sums behind the shifts, so a row is read into the cache once. numba compiles the loops. It
is optional: without it `numpy_path` does everything.
"""

import importlib
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from kslottery_core.ks import numpy_path
from kslottery_core.ks.sweep import Comparison, Findings

if TYPE_CHECKING:
    import torch

LEAST_ENTRIES = 2**22
"""Below this many coordinates a side, loading numba takes longer than sorting every row."""

BLOCK_ENTRIES = 2**21
"""Coordinates a side that one thread takes at a time."""


def is_worthwhile(rows: int, width: int) -> bool:
    """Whether the work on V rows of width d pays for loading the compiled loops."""
    return rows * width >= LEAST_ENTRIES


@cache
def explain_missing() -> str | None:
    """Why the loops cannot be loaded, None if they can: numba is optional, and particular about NumPy's version."""
    try:
        importlib.import_module("kslottery_core.ks.binned_loops")
    except Exception as problem:  # an unfit numba or llvmlite fails in many ways
        return (
            f"numba cannot be loaded ({type(problem).__name__}: {problem}); every row was sorted, which takes longer."
        )
    return None


def compute_block_rows(width: int) -> int:
    """Rows per block so that a thread is handed enough work at a time."""
    return max(1, BLOCK_ENTRIES // width)


def compare_block(findings: Findings, start: int, before: "torch.Tensor", afters: "list[torch.Tensor]") -> None:
    """Compare rows start.. of width d, CPU tensors (R, d) of one floating dtype, and write what is found."""
    from kslottery_core.ks import binned_loops as loops

    rows = len(before)
    flags = np.empty((len(afters), rows), np.uint8)
    counts = np.zeros((len(afters), rows), np.int32)
    sums = np.empty((len(afters), rows, 7))
    bits = numpy_path.view_bits(before)
    after_bits = _stack([numpy_path.view_bits(after) for after in afters])
    size = before.element_size()
    if size == 2:
        is_half = str(before.dtype) == "torch.float16"
        loops.compare_16_bit(
            bits.view(np.uint16),
            after_bits.view(np.uint16),
            is_half,
            np.uint16(0x7C00 if is_half else 0x7F80),
            flags,
            counts,
            sums,
        )
    else:
        unsigned, floating = (np.uint32, np.float32) if size == 4 else (np.uint64, np.float64)
        loops.compare_floats(
            bits.view(floating),
            bits.view(unsigned),
            after_bits.view(floating),
            after_bits.view(unsigned),
            unsigned(0x7FFFFFFF if size == 4 else 0x7FFFFFFFFFFFFFFF),
            unsigned(0x7F800000 if size == 4 else 0x7FF0000000000000),
            flags,
            counts,
            sums,
        )
    findings.add_bad_rows(0, start + np.flatnonzero(flags[0] & loops.BAD_BEFORE))
    for side, found in enumerate(findings.comparisons):
        findings.add_bad_rows(1 + side, start + np.flatnonzero(flags[side] & loops.BAD_AFTER))
        unsettled = np.flatnonzero(flags[side] & loops.UNSETTLED)
        if unsettled.size:
            counts[side, unsettled] = _sort_rows(bits[unsettled], after_bits[side][unsettled])
        changed = flags[side] & ~np.uint8(loops.UNSETTLED) == loops.CHANGED  # a bad row has no sums
        _write(found, start, changed, counts[side], sums[side], before.shape[1])


def _stack(sides: list[np.ndarray]) -> np.ndarray:
    """(A, R, d); a single after side is not copied."""
    return sides[0][None] if len(sides) == 1 else np.stack(sides)


def _sort_rows(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Bit patterns (R, d) twice -> counts int32 (R,), a few rows at a time so that the keys stay in the cache."""
    if before.dtype != np.int16:
        floating = np.float32 if before.dtype == np.int32 else np.float64
        before, after = before.view(floating), after.view(floating)
    step = numpy_path.compute_block_rows(before.shape[1])
    return np.concatenate(
        [numpy_path.count_block(before[at : at + step], after[at : at + step]) for at in range(0, len(before), step)]
    )


def _write(
    found: Comparison, start: int, changed: np.ndarray, counts: np.ndarray, sums: np.ndarray, width: int
) -> None:
    rows = start + np.flatnonzero(changed)
    found.changed[rows] = True
    found.counts[rows] = counts[changed]
    found.shifts.write_sums(rows, width, sums[changed])
