"""KS counts with one Triton kernel on a CUDA device: a row pair per program, exact with ties.

The row pair is read once and then lives in registers; histograms and running sums live in shared memory. Rows of more
than 2,048 values would crowd the registers, so each further histogram reads them again, which is what the caches are
for. No row, sorted or not, is ever written to device memory; one count a row is. `triton_kernel` says how it counts.

What is known: Triton's interpreter runs the kernel's logic in the tests, and the kernel compiles for compute capability
9.0 with Triton 3.4, 3.6, 3.7, 3.8 and 3.9 (3.2 lacks `tl.gather`). It has not been run on a GPU yet: neither its speed
nor the settings of `choose_settings` against others are measured. They follow from how `tl.histogram` is compiled: up
to Triton 3.7 by ballots of a warp, whose cost grows with bins times values, so few bins are used; from 3.8 by additions
in shared memory, whose cost does not depend on the number of bins, so more are used.
"""

import contextlib
import importlib.util
import inspect
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch

LARGEST_WIDTH = 16_384
"""Counts of two sides share one int32 in the kernel, and longer rows would not stay on chip."""

BYTES_PER_ENTRY = 24
"""Room for both sides of up to 4 bytes, the masks made from them and the copies of changed rows, per coordinate."""


class KernelSettings(NamedTuple):
    """How the kernel is cut to rows of one width; none of it can change a count."""

    block: int  # lanes of a program: a power of two >= width
    half_bits: int  # the first histogram has 2^half_bits bins for each sign
    fan: int  # an opened bin is split into 2^fan
    masked: bool  # whether this Triton's tl.histogram takes a mask
    reload: bool  # read rows again for each histogram instead of holding them in registers
    warps: int


def can_count(tensor: "torch.Tensor") -> bool:
    """Whether the kernel takes rows (R, d) like these: CUDA, a 16-bit or 32-bit float, 1 <= d <= 16384, Triton there.

    Triton may still fail to compile; `DeviceSweep` then takes the torch path.
    """
    import torch

    return (
        tensor.device.type == "cuda"
        and tensor.dtype in (torch.float32, torch.float16, torch.bfloat16)
        and 1 <= tensor.shape[1] <= LARGEST_WIDTH
        and importlib.util.find_spec("triton") is not None
    )


def choose_settings(width: int) -> KernelSettings:
    """Settings for rows of `width` and the Triton that is installed; its compiler wants at least a bin a thread."""
    import triton
    import triton.language as tl

    bits = max(7, (width - 1).bit_length())
    adds_in_shared_memory = tuple(int(part) for part in triton.__version__.split(".")[:2]) >= (3, 8)
    return KernelSettings(
        block=1 << bits,
        half_bits=min(max(7, bits - 3), 10) if adds_in_shared_memory else min(max(6, bits - 4), 8),
        fan=3 if adds_in_shared_memory else 2,
        masked="mask" in inspect.signature(tl.histogram).parameters,
        reload=bits > 11,
        warps=4 if bits <= 10 else 8 if bits <= 12 else 16,
    )


def count_block(
    before: "torch.Tensor", after: "torch.Tensor", settings: KernelSettings | None = None
) -> "torch.Tensor":
    """Counts k of one block, as `torch_path.count_block`: two (R, d) tensors of one dtype, finite. Returns int32 (R,).

    For tensors that `can_count` accepts; rows with NaN or infinite entries get some number. Raises whatever Triton
    raises when it cannot compile or launch.
    """
    import torch

    from kslottery_core.ks.triton_kernel import count_row_pairs

    rows, width = before.shape
    counts = torch.empty(rows, dtype=torch.int32, device=before.device)
    if rows == 0:
        return counts
    chosen = settings or choose_settings(width)
    bits = torch.int32 if before.dtype == torch.float32 else torch.int16
    # Triton launches on the current device, which need not be the tensors' one.
    with torch.cuda.device(before.device) if before.is_cuda else contextlib.nullcontext():
        count_row_pairs[(rows,)](
            before.contiguous().view(bits),
            after.contiguous().view(bits),
            counts,
            width,
            MANTISSA={torch.float32: 23, torch.float16: 10, torch.bfloat16: 7}[before.dtype],
            MAGNITUDE=0x7FFFFFFF if before.dtype == torch.float32 else 0x7FFF,
            BLOCK=chosen.block,
            HALF_BITS=chosen.half_bits,
            FAN=chosen.fan,
            MASKED=chosen.masked,
            RELOAD=chosen.reload,
            num_warps=chosen.warps,
        )
    return counts
