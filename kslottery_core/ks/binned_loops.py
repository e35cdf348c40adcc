"""The compiled inner loops of `binned_path`; importing this module needs numba.

Rows are (d,) arrays, bins are numbered from 0. A bin's two counts share one 64-bit number, before in the upper
half. Only the loops that sum may be reordered by the compiler: a reordered binning could put equal values into
different bins.
"""

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

LEAST_BINS, FEW_BINS, MOST_BINS = 512, 2**11, 2**16
"""Measured: more bins than these take longer to pass than they save in sorting, fewer leave too much to sort."""

HALF_RANGE = 4.0
"""The bins cover the before row's mean -/+ this many standard deviations; what lies outside joins the end bins."""

MAX_SORTED = 64
"""Coordinates of one bin that insertion sort still handles; a fuller one leaves its row unsettled."""

CHANGED, BAD_BEFORE, BAD_AFTER, UNSETTLED = 1, 2, 4, 8
"""Flags of a row pair; 0 is a pair without a difference."""

_ONE_BEFORE, _ONE_AFTER = np.uint64(1 << 32), np.uint64(1)
_HALF_WORD, _AFTER_MASK = np.uint64(32), np.uint64(0xFFFFFFFF)
_HALF_PATTERN = np.uint32(16)
_HALF_SCALE = np.float32(2.0**112)


def _compile(**options: Any) -> Callable[[Callable], Callable]:
    def decorate(function: Callable) -> Callable:
        try:
            return numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # no folder to keep the machine code in: it is made anew in each process
            return numba.njit(nogil=True, **options)(function)

    return decorate


@_compile()
def inspect_row(before: Any, after: Any, magnitude: Any, infinity: Any) -> int:
    """Flags of two rows of bit patterns: whether their values differ, and whether either is not finite."""
    differs, bad_before, bad_after = False, False, False
    for j in range(before.size):
        x, y = before[j] & magnitude, after[j] & magnitude
        # Zeros of either sign are one value.
        differs |= ((before[j] ^ after[j]) != 0) & ((x | y) != 0)
        bad_before |= x >= infinity
        bad_after |= y >= infinity
    return CHANGED * differs + BAD_BEFORE * bad_before + BAD_AFTER * bad_after


@_compile()
def widen_row(bits: Any, is_half: bool, pattern: Any, values: Any) -> None:
    """16-bit patterns to float32, exactly. `pattern` (uint32) and `values` (float32) are views of one memory."""
    if not is_half:
        for j in range(bits.size):
            pattern[j] = np.uint32(bits[j]) << _HALF_PATTERN
        return
    # float16 keeps 10 fraction bits and an exponent offset of 15, float32 23 and 127: shift by 13, scale by 2^112.
    for j in range(bits.size):
        pattern[j] = np.uint32(bits[j] & 0x7FFF) << np.uint32(13)
    for j in range(bits.size):
        values[j] = values[j] * _HALF_SCALE
    for j in range(bits.size):
        pattern[j] = pattern[j] | (np.uint32(bits[j] & 0x8000) << _HALF_PATTERN)


@_compile(fastmath={"reassoc", "contract", "nsz"})
def sum_row(values: Any) -> tuple[float, float]:
    """Sum of the values and of their squares, in float64."""
    total, square = 0.0, 0.0
    for j in range(values.size):
        x = np.float64(values[j])
        total += x
        square += x * x
    return total, square


@_compile(fastmath={"reassoc", "contract", "nsz"})
def sum_spread(values: Any, mean: float) -> float:
    """Sum of the squared distances from the mean, in float64."""
    square = 0.0
    for j in range(values.size):
        x = np.float64(values[j]) - mean
        square += x * x
    return square


@_compile(fastmath={"reassoc", "contract", "nsz"})
def sum_pair(before: Any, after: Any) -> tuple[float, float, float, float, float]:
    """Sums of a, a^2, a*b, a - b and (a - b)^2, in float64."""
    total, square, product, shift, square_shift = 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(before.size):
        x, y = np.float64(before[j]), np.float64(after[j])
        total += y
        square += y * y
        product += x * y
        shift += y - x
        square_shift += (y - x) * (y - x)
    return total, square, product, shift, square_shift


@_compile()
def choose_bin_number(width: int) -> int:
    """A power of two from LEAST_BINS to MOST_BINS, not below d up to FEW_BINS and not below d/2 beyond."""
    number = LEAST_BINS
    while number < MOST_BINS and number < width and (number < FEW_BINS or 2 * number < width):
        number *= 2
    return number


@_compile()
def bin_row(values: Any, lowest: Any, scale: Any, number: int, bins: Any) -> None:
    """The bin of each value: a non-decreasing function of the value, the same for equal values."""
    ends = np.empty(2, values.dtype)
    ends[0], ends[1] = 0, number - 1
    zero, last = ends[0], ends[1]
    for j in range(values.size):
        place = (values[j] - lowest) * scale
        place = place if place > zero else zero
        place = place if place < last else last
        bins[j] = np.uint16(np.int32(place))


@_compile()
def count_bins(bins: Any, one: Any, histogram: Any) -> None:
    """Add `one` to the histogram for each entry of `bins`."""
    for j in range(bins.size):
        histogram[bins[j]] += one


@_compile()
def find_largest_at_bin_ends(histogram: Any, start: Any) -> int:
    """Write the difference before each bin to `start`; return the largest |difference| among them."""
    difference = np.int32(0)
    for b in range(histogram.size):
        start[b] = difference
        both = histogram[b]
        difference += np.int32(both >> _HALF_WORD) - np.int32(both & _AFTER_MASK)
    highest, lowest = np.int32(0), np.int32(0)
    for b in range(start.size):
        highest = max(highest, start[b])
        lowest = min(lowest, start[b])
    return int(max(highest, -lowest))


@_compile()
def mark_open_bins(histogram: Any, start: Any, largest: Any, is_open: Any) -> int:
    """Mark the bins inside which |difference| could exceed `largest`; return how many there are."""
    opened = np.int32(0)
    for b in range(histogram.size):
        both = histogram[b]
        above = start[b] + np.int32(both >> _HALF_WORD)
        below = np.int32(both & _AFTER_MASK) - start[b]
        is_open[b] = (above > largest) | (below > largest)
        opened += is_open[b]
    return int(opened)


@_compile()
def gather_open(values: Any, bins: Any, side: int, is_open: Any, place: Any, gathered: Any, sides: Any) -> None:
    """Append the values of open bins, with their side, to their bin's stretch of `gathered`."""
    for j in range(values.size):
        b = bins[j]
        if is_open[b]:
            gathered[place[b]] = values[j]
            sides[place[b]] = side
            place[b] += 1


@_compile()
def find_largest_inside(gathered: Any, sides: Any, first: int, stop: int, difference: int) -> int:
    """Sort one bin's stretch; return the largest |difference| in it, ties passed as a whole, or -1 if too full."""
    lowest, highest = gathered[first], gathered[first]
    for j in range(first + 1, stop):
        lowest = min(lowest, gathered[j])
        highest = max(highest, gathered[j])
    if lowest == highest:
        return 0
    if stop - first > MAX_SORTED:
        return -1
    for j in range(first + 1, stop):
        value, side, k = gathered[j], sides[j], j
        while k > first and gathered[k - 1] > value:
            gathered[k], sides[k] = gathered[k - 1], sides[k - 1]
            k -= 1
        gathered[k], sides[k] = value, side
    largest = 0
    for j in range(first, stop):
        difference += sides[j]
        if j + 1 == stop or gathered[j + 1] != gathered[j]:
            largest = max(largest, abs(difference))
    return largest


@_compile()
def count_row(before: Any, after: Any, bins_before: Any, bins_after: Any, histogram: Any) -> int:
    """The count k of one row pair, or -1 when a bin that must be opened is too full."""
    number = histogram.size
    start = np.empty(number, np.int32)
    is_open = np.empty(number, np.uint8)
    largest = find_largest_at_bin_ends(histogram, start)
    if mark_open_bins(histogram, start, largest, is_open) == 0:
        return largest
    place = np.empty(number, np.int32)
    total = np.uint64(0)
    for b in range(number):
        if is_open[b]:
            place[b] = total
            total += (histogram[b] >> _HALF_WORD) + (histogram[b] & _AFTER_MASK)
    gathered = np.empty(total, before.dtype)
    sides = np.empty(total, np.int8)
    gather_open(before, bins_before, 1, is_open, place, gathered, sides)
    gather_open(after, bins_after, -1, is_open, place, gathered, sides)
    first = 0
    for b in range(number):
        if is_open[b]:
            inside = find_largest_inside(gathered, sides, first, place[b], start[b])
            if inside < 0:
                return -1
            largest = max(largest, inside)
            first = place[b]
    return largest


@_compile()
def prepare_before(before: Any) -> tuple[Any, Any, float, float, Any, Any]:
    """What all after rows of one before row share.

    Returns the lower end of its bins, bins per unit, sum of squares, spread, its bins and its histogram.
    Bins per unit, in the row's dtype, is NaN where the row has no spread that its dtype can express.
    """
    total, square = sum_row(before)
    mean = total / before.size
    spread = sum_spread(before, mean)
    deviation = math.sqrt(spread / before.size)
    number = choose_bin_number(before.size)
    ends = np.empty(2, before.dtype)
    ends[0] = mean - HALF_RANGE * deviation
    ends[1] = number / (2 * HALF_RANGE * deviation) if deviation > 0 else np.nan
    bins = np.empty(before.size, np.uint16)
    histogram = np.zeros(number, np.uint64)
    if np.isfinite(ends[0]) and np.isfinite(ends[1]) and ends[1] > 0:
        bin_row(before, ends[0], ends[1], number, bins)
        count_bins(bins, _ONE_BEFORE, histogram)
    else:
        ends[1] = np.nan
    return ends[0], ends[1], square, spread, bins, histogram


@_compile()
def compare_row(before: Any, prepared: Any, after: Any, sums: Any) -> int:
    """Fill the sums (7,) of one pair and return its count, -1 if unsettled."""
    lowest, scale, square, spread, bins_before, histogram_before = prepared
    total, sums[1], sums[2], sums[3], sums[4] = sum_pair(before, after)
    sums[0], sums[5] = square, spread
    sums[6] = sum_spread(after, total / after.size)
    if np.isnan(scale):
        return -1
    bins_after = np.empty(before.size, np.uint16)
    bin_row(after, lowest, scale, histogram_before.size, bins_after)
    histogram = histogram_before.copy()
    count_bins(bins_after, _ONE_AFTER, histogram)
    return count_row(before, after, bins_before, bins_after, histogram)


@_compile()
def compare_16_bit(before: Any, afters: Any, is_half: bool, infinity: Any, flags: Any, counts: Any, sums: Any) -> None:
    """Compare bit patterns (R, d) uint16 with (A, R, d); fill flags and counts (A, R), sums (A, R, 7) if CHANGED."""
    width = before.shape[1]
    pattern_before, pattern_after = np.empty(width, np.uint32), np.empty(width, np.uint32)
    x, y = pattern_before.view(np.float32), pattern_after.view(np.float32)
    for i in range(before.shape[0]):
        is_binned = False
        for a in range(afters.shape[0]):
            flags[a, i] = inspect_row(before[i], afters[a, i], np.uint16(0x7FFF), infinity)
            if flags[a, i] != CHANGED:
                continue
            if not is_binned:
                widen_row(before[i], is_half, pattern_before, x)
                prepared = prepare_before(x)
                is_binned = True
            widen_row(afters[a, i], is_half, pattern_after, y)
            counts[a, i] = compare_row(x, prepared, y, sums[a, i])
            if counts[a, i] < 0:
                flags[a, i] |= UNSETTLED


@_compile()
def compare_floats(
    before: Any,
    before_bits: Any,
    afters: Any,
    after_bits: Any,
    magnitude: Any,
    infinity: Any,
    flags: Any,
    counts: Any,
    sums: Any,
) -> None:
    """`compare_16_bit` for float32 or float64 values, given also as bit patterns of their size."""
    for i in range(before.shape[0]):
        is_binned = False
        for a in range(afters.shape[0]):
            flags[a, i] = inspect_row(before_bits[i], after_bits[a, i], magnitude, infinity)
            if flags[a, i] != CHANGED:
                continue
            if not is_binned:
                prepared = prepare_before(before[i])
                is_binned = True
            counts[a, i] = compare_row(before[i], prepared, afters[a, i], sums[a, i])
            if counts[a, i] < 0:
                flags[a, i] |= UNSETTLED
