"""KS counts on the CPU: one integer sort per row pair and a running sum, exact with ties.

Each value becomes an ordered integer whose lowest bit says which side it came from. After one sort of the 2d keys a
running sum of +1 (before) and -1 (after) is d * (F_before - F_after); it is read only at the last of equal values,
because both distribution functions jump there at once. NumPy sorts integers with SIMD and releases the GIL, so blocks
of rows run on threads. float32 and 16-bit floats are packed; float64 has no spare bit and is ranked first.
"""

from typing import TYPE_CHECKING

import numpy as np

from kslottery_core.ks.sweep import Findings

if TYPE_CHECKING:
    import torch

BLOCK_BYTES = 1 << 20
"""Size of the sorted keys of one block: a little under a core's second-level cache."""


def compute_block_rows(width: int) -> int:
    """Rows per block so that the keys of a block stay in cache."""
    return max(1, BLOCK_BYTES // (width * 2 * 4))


def _order_16(bits: np.ndarray) -> np.ndarray:
    """int16 bit patterns of float16 or bfloat16 -> int32 with the order of the values; -0.0 and +0.0 both become 0."""
    sign = bits >> 15  # 0 or -1
    return (((bits & 0x7FFF) ^ sign) - sign).astype(np.int32)


def _order_32(bits: np.ndarray) -> np.ndarray:
    """int32 bit patterns of float32 -> int64 with the order of the values; -0.0 and +0.0 both become 0."""
    sign = bits >> 31
    return (((bits & 0x7FFFFFFF) ^ sign) - sign).astype(np.int64)


def _rank_64(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64 (R, d) twice -> dense ranks within each row, int64, equal exactly where the values are equal."""
    width = before.shape[1]
    both = np.concatenate((before, after), axis=1)
    order = np.argsort(both, axis=1, kind="stable")
    ordered = np.take_along_axis(both, order, axis=1)
    dense = np.zeros(both.shape, dtype=np.int64)
    dense[:, 1:] = np.cumsum(ordered[:, 1:] != ordered[:, :-1], axis=1)
    ranks = np.empty_like(dense)
    np.put_along_axis(ranks, order, dense, axis=1)
    return ranks[:, :width], ranks[:, width:]


def count_block(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Counts k of one block. Two (R, d) arrays: int16 = bits of 16-bit floats, float32 or float64. Returns int32 (R,).

    All values must be finite.
    """
    rows, width = before.shape
    if before.dtype == np.int16:
        key_before, key_after = _order_16(before), _order_16(after)
    elif before.dtype == np.float32:
        key_before, key_after = _order_32(before.view(np.int32)), _order_32(after.view(np.int32))
    else:
        key_before, key_after = _rank_64(before, after)
    keys = np.empty((rows, 2 * width), dtype=key_before.dtype)
    np.left_shift(key_before, 1, out=keys[:, :width])
    np.left_shift(key_after, 1, out=keys[:, width:])
    keys[:, width:] |= 1
    keys.sort(axis=1)
    sum_type = np.int16 if width < 2**15 else np.int32
    running = (1 - 2 * (keys & 1)).astype(sum_type)
    np.cumsum(running, axis=1, out=running)
    # x ^ y < 2 only when both keys differ in the side bit alone, i.e. the values are equal. At the end of the row
    # the sum is 0 for every pair, so the last column needs no look.
    inside_tie = (keys[:, :-1] ^ keys[:, 1:]).view(f"u{keys.dtype.itemsize}") < 2
    running = running[:, :-1]
    running[inside_tie] = 0
    return np.maximum(running.max(axis=1, initial=0), -running.min(axis=1, initial=0)).astype(np.int32)


def view_bits(tensor: "torch.Tensor") -> np.ndarray:
    """The bit patterns of a CPU tensor of floats as signed integers of their size; NumPy has no bfloat16."""
    import torch

    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
    return tensor.contiguous().view(integer).numpy()


def compare_block(findings: Findings, start: int, before: "torch.Tensor", afters: "list[torch.Tensor]") -> None:
    """Compare rows start.. of width d, CPU tensors (R, d) of one floating dtype, and write what is found."""
    values_before = _to_numpy(before)
    finite_before = np.isfinite(values_before).all(axis=1)
    findings.add_bad_rows(0, start + np.flatnonzero(~finite_before))
    for side, after in enumerate(afters):
        values_after = _to_numpy(after)
        finite_after = np.isfinite(values_after).all(axis=1)
        findings.add_bad_rows(1 + side, start + np.flatnonzero(~finite_after))
        changed = (values_before != values_after).any(axis=1) & finite_before & finite_after
        if not changed.any():
            continue
        found = findings.comparisons[side]
        rows = start + np.flatnonzero(changed)
        found.changed[rows] = True
        found.shifts.write(rows, values_before[changed], values_after[changed])
        if before.element_size() == 2:
            found.counts[rows] = count_block(view_bits(before)[changed], view_bits(after)[changed])
        else:
            found.counts[rows] = count_block(values_before[changed], values_after[changed])


def _to_numpy(tensor: "torch.Tensor") -> np.ndarray:
    return (tensor.float() if tensor.element_size() == 2 else tensor).numpy()
