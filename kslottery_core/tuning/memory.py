"""Peak memory of a training: the device's own counter on CUDA, a sampled resident set of the process on a CPU."""

import threading
from types import TracebackType


class PeakMemory:
    """Context manager. `peak_bytes` is None until it has run; `kind` says what was measured.

    `include` counts what was measured elsewhere: an earlier attempt, or another process.
    """

    SAMPLE_SECONDS = 0.05

    def __init__(self, device: str) -> None:
        self._device = device
        self.kind = (
            "device memory allocated by torch" if device.startswith("cuda") else "resident memory of the process"
        )
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
        import psutil

        process = psutil.Process()
        while True:
            self.include(process.memory_info().rss)
            if self._done.wait(self.SAMPLE_SECONDS):
                return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sampler is None:
            self.read()
        else:
            self._done.set()
            self._sampler.join()
