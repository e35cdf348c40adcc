"""Our paths on a CUDA device: with the data there already, and from host memory as a user calls it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from kslottery_core.ks import compute_ks, torch_path, triton_path

if TYPE_CHECKING:
    import torch

DeviceCall = tuple[str, Callable[[], np.ndarray], str, int, str | None]


def list_device_calls(before: "torch.Tensor", after: "torch.Tensor", device: str) -> list[DeviceCall]:
    """Name, call returning counts (V,), device, rows and note of every path that CUDA `device` can take."""
    import torch

    there = before.to(device), after.to(device)
    rows, width = before.shape
    note = f"data on {torch.cuda.get_device_name(device)} already, counts alone"

    def count_all(count_block: Callable, step: int) -> Callable[[], np.ndarray]:
        def call() -> np.ndarray:
            counts = [count_block(there[0][at : at + step], there[1][at : at + step]) for at in range(0, rows, step)]
            return torch.cat(counts).cpu().numpy()

        return call

    calls: list[DeviceCall] = []
    if triton_path.can_count(there[0]):
        calls.append(("Triton kernel", count_all(triton_path.count_block, rows), device, rows, note))
    step = torch_path.compute_block_rows(width, torch.cuda.mem_get_info(device)[0])
    calls.append(("torch-sort path on the device", count_all(torch_path.count_block, step), device, rows, note))
    whole = "from host memory, with the copy, the shifts and the checks"
    calls.append(("compute_ks on the device", lambda: compute_ks(before, after, device).counts, device, rows, whole))
    return calls
