"""Peak memory of a training: CUDA's own counter, or samples of Apple's GPU or of the process on a CPU."""

import threading
from collections.abc import Callable
from types import TracebackType


class PeakMemory:
    """Context manager. `peak_bytes` is None until it has run; `kind` says what was measured.

    `include` counts what was measured elsewhere: an earlier attempt, or another process.
    """

    SAMPLE_SECONDS = 0.05

    def __init__(self, device: str) -> None:
        self._device = device
        on_device = device == "mps" or device.startswith("cuda")
        self.kind = "device memory allocated by torch" if on_device else "resident memory of the process"
        self.peak_bytes: int | None = None
        self._done = threading.Event()
        self._sampler: threading.Thread | None = None

    def __enter__(self) -> "PeakMemory":
        if self._device.startswith("cuda"):
            import torch

            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            self._sampler = threading.Thread(target=self._sample, daemon=True)
            self._sampler.start()
        return self

    def include(self, peak_bytes: int | None) -> None:
        """The peak is at least this much."""
        if peak_bytes is not None:
            self.peak_bytes = max(self.peak_bytes or 0, peak_bytes)

    def read(self) -> int | None:
        """The peak up to now, in bytes, while it is being measured."""
        if self._device.startswith("cuda"):
            import torch

            self.include(int(torch.cuda.max_memory_allocated(self._device)))
        return self.peak_bytes

    def _sample(self) -> None:
        read = self._find_reader()
        while True:
            self.include(read())
            if self._done.wait(self.SAMPLE_SECONDS):
                return

    def _find_reader(self) -> Callable[[], int]:
        if self._device == "mps":
            import torch

            return torch.mps.driver_allocated_memory
        import psutil

        process = psutil.Process()
        return lambda: int(process.memory_info().rss)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sampler is None:
            self.read()
        else:
            self._done.set()
            self._sampler.join()
