"""KS counts with plain torch operations, for any torch device; the path a CUDA device takes.

The largest gap lies at a value of one of the samples. At the i-th smallest before value, F_before counts i + 1 and
F_after counts the after values not above it; among equal before values the last gives the largest difference, so
taking the maximum over all of them passes ties by itself.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BYTES_PER_ENTRY = 64
"""Measured room for keys, both sorts with their index arrays, and both searches, per coordinate of a row pair."""


def compute_block_rows(width: int, free_bytes: int) -> int:
    """Rows per block so that the working set stays under 2 GB and under a third of what is free on the device."""
    return max(1, min(2 * 2**30, free_bytes // 3) // (width * BYTES_PER_ENTRY))


def count_block(before: "torch.Tensor", after: "torch.Tensor") -> "torch.Tensor":
    """Counts k of one block. Two (R, d) tensors of one floating dtype, finite. Returns int32 (R,)."""
    import torch

    if before.dtype in (torch.float16, torch.bfloat16):
        before, after = before.float(), after.float()  # exact, and searchsorted takes no 16-bit floats everywhere
    before = before.sort(dim=1).values  # (R, d)
    after = after.sort(dim=1).values
    position = torch.arange(1, before.shape[1] + 1, device=before.device, dtype=torch.int32)
    above = position - torch.searchsorted(after, before, right=True, out_int32=True)
    below = position - torch.searchsorted(before, after, right=True, out_int32=True)
    return torch.maximum(above.amax(dim=1), below.amax(dim=1)).clamp_(min=0)
