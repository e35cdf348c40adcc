"""The Triton kernel behind `triton_path`: one program counts k for one row pair. Importing this needs triton.

Let s(x) = #before<=x - #after<=x, so that k = max |s|. Branch and bound over histograms finds it without a sort:

- Every value is a fixed-point number: sign, then magnitude / 2^base, whose integer part names its bin. A smaller base
  splits each bin into 2^FAN equal ones, down to one single value, with integer operations only. Bins of equal width
  in value, unlike bins of the leading bits, spread a bell-shaped row over most of them.
- s is exact at the ends of bins. Inside a bin that starts at s and holds p before and q after values it stays between
  s - q and s + p, so a bin is opened only if one of these beats the best |s| so far.
- All bins to open are opened at once: each takes one of SLOTS places in the next histogram. If more than fit are
  waiting, the leftmost go first and another sweep starts where the first left-out bin begins.
- Pairs of equal values add the same to both sides everywhere, so they are dropped at once, and padding with them.

Counts of both sides travel in one int32: before in the low 16 bits, after above them; a row has at most 2^14 values.
"""

import triton
import triton.language as tl


@triton.jit
def _load_bits(pointer: tl.tensor, lane: tl.tensor, width: tl.tensor) -> tl.tensor:
    return tl.load(pointer + lane, mask=lane < width, other=0).to(tl.int32)


@triton.jit
def _split_bits(bits: tl.tensor, MANTISSA: tl.constexpr, MAGNITUDE: tl.constexpr) -> tl.tensor:
    """Significand and exponent of each magnitude (value = significand * 2^exponent, up to a constant), and its sign."""
    magnitude = bits & MAGNITUDE
    field = magnitude >> MANTISSA
    significand = (magnitude & ((1 << MANTISSA) - 1)) | tl.where(field > 0, 1 << MANTISSA, 0)
    return significand, tl.maximum(field, 1), (bits < 0) & (magnitude > 0)  # -0.0 counts as +0.0


@triton.jit
def _choose_first_bin(
    bits: tl.tensor, base: tl.tensor, MANTISSA: tl.constexpr, MAGNITUDE: tl.constexpr, HALF_BITS: tl.constexpr
) -> tl.tensor:
    significand, exponent, negative = _split_bits(bits, MANTISSA, MAGNITUDE)
    # Bins may be narrower than the steps of a short format.
    SPARE_BITS: tl.constexpr = HALF_BITS - 1 - MANTISSA if HALF_BITS > MANTISSA else 0
    shift = tl.minimum(tl.maximum(MANTISSA + base - exponent + SPARE_BITS, 0), 31)
    step = (significand << SPARE_BITS) >> shift
    return tl.where(negative, (1 << HALF_BITS) - 1 - step, (1 << HALF_BITS) + step)


@triton.jit
def _choose_next_bin(
    bits: tl.tensor,
    bin_: tl.tensor,
    slots: tl.tensor,
    base: tl.tensor,
    MANTISSA: tl.constexpr,
    MAGNITUDE: tl.constexpr,
    FAN: tl.constexpr,
    SLOTS: tl.constexpr,
) -> tl.tensor:
    """Bin of each value in the histogram of the opened bins; -1 for a value outside them."""
    slot = tl.gather(slots, tl.maximum(bin_, 0), 0)
    significand, exponent, negative = _split_bits(bits, MANTISSA, MAGNITUDE)
    shift = tl.minimum(tl.maximum(MANTISSA + base - exponent + FAN, 0), 31)
    step = ((significand << FAN) >> shift) & ((1 << FAN) - 1)
    step = tl.where(negative, (1 << FAN) - 1 - step, step)
    return tl.where((bin_ >= 0) & (slot < SLOTS - 1), (slot << FAN) + step, -1)


@triton.jit
def _count_bins(bin_before: tl.tensor, bin_after: tl.tensor, BINS: tl.constexpr, MASKED: tl.constexpr) -> tl.tensor:
    """Values of both sides in each bin; without a masked histogram the last bin also counts the dropped values."""
    if MASKED:
        before = tl.histogram(tl.maximum(bin_before, 0), BINS, mask=bin_before >= 0)
        after = tl.histogram(tl.maximum(bin_after, 0), BINS, mask=bin_after >= 0)
    else:
        before = tl.histogram(tl.where(bin_before >= 0, bin_before, BINS - 1), BINS)
        after = tl.histogram(tl.where(bin_after >= 0, bin_after, BINS - 1), BINS)
    return before + (after << 16)


@triton.jit
def _open_bins(
    start: tl.tensor,
    count: tl.tensor,
    digits: tl.tensor,
    is_real: tl.tensor,
    base: tl.tensor,
    smallest: tl.tensor,
    best: tl.tensor,
    cursor: tl.tensor,
    following: tl.tensor,
    MANTISSA: tl.constexpr,
    SLOTS: tl.constexpr,
) -> tl.tensor:
    """Which bins must be opened. `start` and `count` are packed numbers of values before a bin and in it."""
    end = start + count
    start_before, start_after = start & 0xFFFF, start >> 16
    end_before, end_after = end & 0xFFFF, end >> 16
    best = tl.maximum(best, tl.max(tl.where(is_real, tl.abs(end_before - end_after), 0), 0))
    bound = tl.maximum(end_before - start_after, end_after - start_before)
    # One value is left in a bin once all digits of its significand are spent; in the bin of zero, once every other
    # value has left it.
    is_single = (digits > MANTISSA) | ((digits <= 0) & (base <= smallest)) | (base <= 1 - MANTISSA)
    is_open = is_real & (bound > best) & (end_before + end_after > cursor) & (is_single == 0)
    rank = tl.cumsum(is_open.to(tl.int32), 0)
    is_left_out = is_open & (rank >= SLOTS)
    following = tl.minimum(following, tl.min(tl.where(is_left_out, start_before + start_after, following), 0))
    slots = tl.where(is_open & (rank < SLOTS), rank - 1, SLOTS - 1)
    opened = tl.minimum(tl.max(rank, 0), SLOTS - 1)
    # The bin of slot j is the first with rank j + 1, and as many bins as have a rank of at most j lie before it.
    bin_of_slot = tl.cumsum(tl.histogram(tl.minimum(rank, SLOTS - 1), SLOTS), 0)
    bin_of_slot = tl.minimum(bin_of_slot, start.shape[0] - 1)
    return best, following, opened, slots, tl.gather(start, bin_of_slot, 0), tl.gather(digits, bin_of_slot, 0)


@triton.jit
def count_row_pairs(
    before_pointer: tl.tensor,
    after_pointer: tl.tensor,
    counts_pointer: tl.tensor,
    width: tl.tensor,
    MANTISSA: tl.constexpr,
    MAGNITUDE: tl.constexpr,
    BLOCK: tl.constexpr,
    HALF_BITS: tl.constexpr,
    FAN: tl.constexpr,
    MASKED: tl.constexpr,
    RELOAD: tl.constexpr,
) -> None:
    """Write k of row pair `program_id(0)`. Both sides: contiguous (R, width) int16 or int32 bits of finite floats.

    BLOCK is a power of two, width <= BLOCK <= 16384. The first histogram has 2^(HALF_BITS + 1) bins.
    """
    BINS: tl.constexpr = 2 << HALF_BITS
    SLOTS: tl.constexpr = BINS >> FAN
    row = tl.program_id(0).to(tl.int64)
    before_pointer += row * width
    after_pointer += row * width
    lane = tl.arange(0, BLOCK)
    before = _load_bits(before_pointer, lane, width)
    after = _load_bits(after_pointer, lane, width)
    is_equal = (before == after) | (((before | after) & MAGNITUDE) == 0)
    alive = BLOCK - tl.sum(is_equal.to(tl.int32), 0)

    field_before, field_after = (before & MAGNITUDE) >> MANTISSA, (after & MAGNITUDE) >> MANTISSA
    largest = tl.max(tl.where(is_equal, 1, tl.maximum(tl.maximum(field_before, field_after), 1)), 0)
    first_base = largest - (HALF_BITS - 1)
    # The exponent under which zero is alone in its bin; one denormal value asks for the finest base.
    field_before = tl.where(field_before > 0, field_before, tl.where((before & MAGNITUDE) > 0, 1 - MANTISSA, 1 << 16))
    field_after = tl.where(field_after > 0, field_after, tl.where((after & MAGNITUDE) > 0, 1 - MANTISSA, 1 << 16))
    smallest = tl.min(tl.where(is_equal, 1 << 16, tl.minimum(field_before, field_after)), 0)

    bin_before = tl.where(is_equal, -1, _choose_first_bin(before, first_base, MANTISSA, MAGNITUDE, HALF_BITS))
    bin_after = tl.where(is_equal, -1, _choose_first_bin(after, first_base, MANTISSA, MAGNITUDE, HALF_BITS))
    number = tl.arange(0, BINS)
    first_count = _count_bins(bin_before, bin_after, BINS, MASKED)
    if not MASKED:
        first_count -= tl.where(number == BINS - 1, (BLOCK - alive) * 65537, 0)
    first_start = tl.cumsum(first_count, 0) - first_count
    step = tl.where(number < BINS // 2, BINS // 2 - 1 - number, number - BINS // 2)
    # Digits of the significand that a bin fixes; a bin of zero fixes none and says -1 on the negative side.
    first_digits = tl.where((step == 0) & (number < BINS // 2), -1, 0)
    for bit in tl.static_range(HALF_BITS):
        first_digits += (step >= (1 << bit)).to(tl.int32)

    best = alive * 0
    cursor = alive * 0
    while cursor < 2 * alive:
        best, following, opened, slots, slot_start, slot_digits = _open_bins(
            first_start, first_count, first_digits, number >= 0, first_base, smallest, best, cursor, 2 * alive,
            MANTISSA, SLOTS,
        )  # fmt: skip
        base = first_base
        if RELOAD:
            before = _load_bits(before_pointer, lane, width)
            after = _load_bits(after_pointer, lane, width)
        is_equal = (before == after) | (((before | after) & MAGNITUDE) == 0)
        bin_before = tl.where(is_equal, -1, _choose_first_bin(before, first_base, MANTISSA, MAGNITUDE, HALF_BITS))
        bin_after = tl.where(is_equal, -1, _choose_first_bin(after, first_base, MANTISSA, MAGNITUDE, HALF_BITS))
        bins = (bin_before & 0xFFFF) | (bin_after << 16)  # one register for both, or long rows would spill
        while opened > 0:
            base -= FAN
            if RELOAD:  # long rows do not fit the registers beside their bins; the caches hold them
                before = _load_bits(before_pointer, lane, width)
                after = _load_bits(after_pointer, lane, width)
            bin_before = _choose_next_bin(before, (bins << 16) >> 16, slots, base, MANTISSA, MAGNITUDE, FAN, SLOTS)
            bin_after = _choose_next_bin(after, bins >> 16, slots, base, MANTISSA, MAGNITUDE, FAN, SLOTS)
            bins = (bin_before & 0xFFFF) | (bin_after << 16)
            count = _count_bins(bin_before, bin_after, BINS, MASKED)
            start = tl.cumsum(count, 0) - count
            # The values between opened bins are in no bin: each slot goes on from the true numbers at its start.
            slot_start -= tl.gather(start, tl.arange(0, SLOTS) << FAN, 0)
            start += tl.gather(slot_start, number >> FAN, 0)
            parent = tl.gather(slot_digits, number >> FAN, 0)
            step = number & ((1 << FAN) - 1)
            step = tl.where(parent < 0, (1 << FAN) - 1 - step, step)
            length = tl.where(step > 0, 0, parent)
            for bit in tl.static_range(FAN):
                length += (step >= (1 << bit)).to(tl.int32)
            digits = tl.where(parent > 0, parent + FAN, length)
            best, following, opened, slots, slot_start, slot_digits = _open_bins(
                start, count, digits, (number >> FAN) < opened, base, smallest, best, cursor, following,
                MANTISSA, SLOTS,
            )  # fmt: skip
        cursor = following
    tl.store(counts_pointer + row, best)
