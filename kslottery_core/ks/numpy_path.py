"""KS counts on the CPU: one integer sort per row pair and a running sum, exact with ties.

Each value becomes an ordered integer whose lowest bit says which side it came from. After one sort of the 2d keys a
running sum of +1 (before) and -1 (after) is d * (F_before - F_after); it is read only at the last of equal values,
because both distribution functions jump there at once. NumPy sorts integers with SIMD and releases the GIL, so blocks
of rows run on threads. float32 and 16-bit floats are packed; float64 has no spare bit and is ranked first.
"""

import numpy as np

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
