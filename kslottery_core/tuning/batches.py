"""How the pairs of an optimizer step are divided: over micro-batches, and over the processes that train together."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.data_loader import SeedableRandomSampler
from torch.utils.data import Sampler

from kslottery_core.tuning.dataset import IGNORED, Examples


@dataclass(frozen=True)
class Batches:
    """Pairs seen at once, how many such batches an optimizer step gathers, and how many processes do that together."""

    size: int
    accumulation: int
    processes: int = 1

    @property
    def effective(self) -> int:
        """Pairs that one optimizer step sees."""
        return self.size * self.accumulation * self.processes

    def count_steps(self, examples: int) -> int:
        """Optimizer steps of one pass over that many pairs; the last one may see fewer."""
        return math.ceil(examples / self.effective)

    def divide(self) -> "Batches | None":
        """Half the size and twice the accumulation (or the next whole divisor); None for a size of 1."""
        for divisor in range(2, self.size + 1):
            if self.size % divisor == 0:
                return Batches(self.size // divisor, self.accumulation * divisor, self.processes)
        return None

    def __str__(self) -> str:
        pairs = "1 pair" if self.size == 1 else f"{self.size} pairs"
        return f"{pairs} at once" + (f", {self.accumulation} times a step" if self.accumulation > 1 else "")


class SharedOrder(Sampler[int]):
    """The order in which one process sees its pairs, filled up until every process has as many batches as the others.

    accelerate fills up with pairs from the epoch's beginning, which would be learned twice. What fills up here are
    places behind the last pair, which `SharedExamples` answers with an example that teaches nothing.
    """

    def __init__(self, examples: Examples, batches: Batches, seed: int) -> None:
        # One process's own order is made by this class (accelerate's `use_seedable_sampler`, Trainer's default).
        self._order = SeedableRandomSampler(range(len(examples)), data_seed=seed)
        together = batches.size * batches.processes
        self._places = math.ceil(len(examples) / together) * together

    def __len__(self) -> int:
        return self._places

    def __iter__(self) -> Iterator[int]:
        positions = list(self._order)
        yield from positions
        yield from range(len(positions), self._places)

    def set_epoch(self, epoch: int) -> None:
        self._order.set_epoch(epoch)


class SharedExamples(torch.utils.data.Dataset[dict[str, list[int]]]):
    """The examples, and behind them some whose labels are all ignored: no loss, no gradient, no target token."""

    def __init__(self, examples: Examples, order: SharedOrder) -> None:
        self._examples, self._order = examples, order
        # A first position predicts the second one, so the shortest text that passes through a model has two tokens.
        token_ids = (examples.items[0]["input_ids"] * 2)[:2]
        self._empty: dict[str, list[int]] = {"input_ids": token_ids, "labels": [IGNORED] * len(token_ids)}

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, position: int) -> dict[str, list[int]]:
        return self._examples[position] if position < len(self._examples) else self._empty

    def set_epoch(self, epoch: int) -> None:
        """After a resumption accelerate tells the epoch to the data, not to the order."""
        self._order.set_epoch(epoch)


def share_examples(examples: Examples, batches: Batches, seed: int) -> tuple[Any, SharedOrder | None]:
    """What a process's data loader reads and in which order; for one process Trainer's own order."""
    if batches.processes == 1:
        return examples, None
    order = SharedOrder(examples, batches, seed)
    return SharedExamples(examples, order), order
