"""KS counts with plain torch operations, for any torch device: what CUDA takes where the Triton kernel cannot run.

The largest gap lies at a value of one of the samples. At the i-th smallest before value, F_before counts i + 1 and
F_after counts the after values not above it; among equal before values the last gives the largest difference, so
taking the maximum over all of them passes ties by itself.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BYTES_PER_ENTRY = 64
"""Measured room for keys, both sorts with their index arrays, and both searches, per coordinate of a row pair."""


def compute_block_rows(width: int, free_bytes: int, bytes_per_entry: int = BYTES_PER_ENTRY) -> int:
    """Rows per block so that the working set stays under 1.5 GB and under a third of what is free on the device.

    The other half gigabyte of the 2 GB that a sweep may hold is for sums and for what an allocator rounds up.
    """
    return max(1, min(3 * 2**29, free_bytes // 3) // (width * bytes_per_entry))


def sort_block(block: "torch.Tensor") -> "torch.Tensor":
    """Rows (R, d) of a floating dtype in ascending order, as float32 if they were 16 bits wide, which is exact."""
    import torch

    if block.dtype in (torch.float16, torch.bfloat16):
        block = block.float()  # searchsorted takes no 16-bit floats everywhere
    return block.sort(dim=1).values


def count_sorted(before: "torch.Tensor", after: "torch.Tensor") -> "torch.Tensor":
    """Counts k of one block from two (R, d) blocks of `sort_block`. Returns int32 (R,)."""
    import torch

    position = torch.arange(1, before.shape[1] + 1, device=before.device, dtype=torch.int32)
    above = (position - torch.searchsorted(after, before, right=True, out_int32=True)).amax(dim=1)
    below = (position - torch.searchsorted(before, after, right=True, out_int32=True)).amax(dim=1)
    return torch.maximum(above, below).clamp_(min=0)


def count_block(before: "torch.Tensor", after: "torch.Tensor") -> "torch.Tensor":
    """Counts k of one block. Two (R, d) tensors of one floating dtype, finite. Returns int32 (R,)."""
    return count_sorted(sort_block(before), sort_block(after))
