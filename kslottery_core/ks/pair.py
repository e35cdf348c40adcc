"""The KS comparison of an embedding pair: its common rows, with the fingerprints of both sides kept."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kslottery_core.ks.engine import compute_ks
from kslottery_core.ks.result import KSResult
from kslottery_core.progress import OnProgress, ignore_progress

if TYPE_CHECKING:
    import torch

    from kslottery_core.checkpoints import EmbeddingMatrix, EmbeddingPair


@dataclass(frozen=True)
class CommonRows:
    """The first V rows of a matrix that may have more."""

    matrix: "EmbeddingMatrix"
    shape: tuple[int, int]

    def read_rows(self, start: int, stop: int) -> "torch.Tensor":
        return self.matrix.read_rows(start, stop)


def compute_pair_ks(pair: "EmbeddingPair", device: str = "auto", progress: OnProgress = ignore_progress) -> KSResult:
    """`compute_ks` over the rows both sides have."""
    shape = (pair.vocabulary_size, pair.width)
    result = compute_ks(CommonRows(pair.before, shape), CommonRows(pair.after, shape), device, progress=progress)
    return replace(result, fingerprint_before=pair.before.fingerprint, fingerprint_after=pair.after.fingerprint)
