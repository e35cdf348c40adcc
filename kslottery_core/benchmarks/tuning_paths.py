"""The embedding layer alone, forward and backward: our ticket, PEFT's TrainableTokens, the whole matrix trained."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from kslottery_core.benchmarks.measuring import Measurement, describe_machine, measure
from kslottery_core.errors import TuningError

if TYPE_CHECKING:
    import torch
    from torch import nn

DTYPES = ("float32", "bfloat16")
OURS = "our ticket"
PEFT = "PEFT TrainableTokens"
WHOLE = "whole embedding"


@dataclass(frozen=True)
class TuningBenchmarkSettings:
    """What is measured: a matrix of V rows of width d, B texts of T tokens, a ticket of k tokens.

    A share `ticket_share` of the texts' tokens is of the ticket, the others are drawn from all rows.
    """

    rows: int = 32_000
    width: int = 4_096
    batch_size: int = 8
    length: int = 512
    ticket_size: int = 18
    ticket_share: float = 0.3
    dtype: str = "float32"
    device: str = "auto"
    repeats: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rows", "width", "batch_size", "length", "ticket_size", "repeats"):
            if getattr(self, name) < 1:
                raise TuningError(f"{name}: expected at least 1, found {getattr(self, name)}.")
        if self.ticket_size > self.rows:
            raise TuningError(f"ticket_size: expected at most the {self.rows} rows, found {self.ticket_size}.")
        if not 0 <= self.ticket_share <= 1:
            raise TuningError(f"ticket_share: expected a share from 0 to 1, found {self.ticket_share!r}.")
        if self.dtype not in DTYPES:
            raise TuningError(f"dtype: expected one of {', '.join(DTYPES)}, found {self.dtype!r}.")


@dataclass(frozen=True)
class TuningTiming:
    """One line of the table; seconds are of one forward and backward, the best of `all_seconds`.

    `largest_shape` and `largest_bytes` are of the largest tensor that an operator made on the way, a view of older
    storage not counted. `gradient_error` is the largest difference from the whole matrix's gradient in the ticket's
    rows, relative to its largest entry. `peak_bytes` is memory beyond the start, None where the system does not tell.
    """

    name: str
    seconds: float
    all_seconds: tuple[float, ...]
    peak_bytes: int | None
    largest_shape: tuple[int, ...]
    largest_bytes: int
    trained_parameters: int
    gradient_error: float


@dataclass(frozen=True)
class TuningBenchmark:
    """All timings of one run, on one machine."""

    settings: TuningBenchmarkSettings
    machine: dict[str, Any]
    timings: tuple[TuningTiming, ...]

    def compute_ratio(self, timing: TuningTiming) -> float:
        """How many times faster than PEFT's TrainableTokens of the same run."""
        (peft,) = (one for one in self.timings if one.name == PEFT)
        return peft.seconds / timing.seconds

    def to_json(self) -> dict[str, Any]:
        """A JSON object of plain values."""
        timings = [asdict(timing) | {"times_faster_than_peft": self.compute_ratio(timing)} for timing in self.timings]
        return {"settings": asdict(self.settings), "machine": self.machine, "timings": timings}


def benchmark_tuning(
    settings: TuningBenchmarkSettings, on_timing: Callable[[TuningTiming], None] = lambda timing: None
) -> TuningBenchmark:
    """Measure the three ways on the same matrix, token ids and upstream gradient. Raises KSInputError for a device."""
    import torch

    from kslottery_core.ks import choose_device

    machine = describe_machine()
    device = choose_device(settings.device)
    generator = torch.Generator().manual_seed(settings.seed)
    dtype = getattr(torch, settings.dtype)
    weight = torch.randn(settings.rows, settings.width, generator=generator).mul_(0.02).to(device, dtype)
    token_ids = torch.randperm(settings.rows, generator=generator)[: settings.ticket_size].sort().values.tolist()
    input_ids = _draw_input_ids(settings, token_ids, generator).to(device)  # (B, T)
    upstream = torch.randn(*input_ids.shape, settings.width, generator=generator).to(device, dtype)  # (B, T, d)
    builders = {WHOLE: _build_whole, PEFT: _build_peft, OURS: _build_ours}
    ways = [_Way(name, *build(weight, token_ids), input_ids, upstream) for name, build in builders.items()]
    found: dict[str, list[Measurement]] = {way.name: [] for way in ways}
    for turn in range(settings.repeats):  # in turns, so that a machine that is busy for a while slows all of them
        for way in ways:
            found[way.name].append(measure(way.step, 1, device=device, warm_up=turn == 0))
    expected = ways[0].compute_gradient()[token_ids].float()
    timings = []
    for way in ways:
        gradient = expected if way.name == WHOLE else way.compute_gradient().float()
        timings.append(_describe(way, found[way.name], gradient, expected))
        on_timing(timings[-1])
    return TuningBenchmark(settings, machine, tuple(timings))


@dataclass(frozen=True, eq=False)
class _Way:
    """One module on the shared matrix, and the parameter that it trains."""

    name: str
    module: "nn.Module"
    parameter: "nn.Parameter"
    input_ids: "torch.Tensor"
    upstream: "torch.Tensor"

    def step(self) -> None:
        self.module(self.input_ids).backward(self.upstream)
        self.parameter.grad = None  # so that the next call pays for its gradient again

    def compute_gradient(self) -> "torch.Tensor":
        self.module(self.input_ids).backward(self.upstream)
        gradient, self.parameter.grad = self.parameter.grad, None
        assert gradient is not None, "the parameter is trained"
        return gradient


def _describe(way: _Way, found: list[Measurement], gradient: "torch.Tensor", expected: "torch.Tensor") -> TuningTiming:
    seconds = tuple(one.best_seconds for one in found)
    shape, largest = _find_largest_temporary(way)
    return TuningTiming(
        name=way.name,
        seconds=min(seconds),
        all_seconds=seconds,
        peak_bytes=found[0].peak_bytes,
        largest_shape=shape,
        largest_bytes=largest,
        trained_parameters=way.parameter.numel(),
        gradient_error=float((gradient - expected).abs().max()) / (float(expected.abs().max()) or 1.0),
    )


def _draw_input_ids(
    settings: TuningBenchmarkSettings, token_ids: Sequence[int], generator: "torch.Generator"
) -> "torch.Tensor":
    import torch

    shape = (settings.batch_size, settings.length)
    anything = torch.randint(settings.rows, shape, generator=generator)
    of_ticket = torch.tensor(token_ids)[torch.randint(len(token_ids), shape, generator=generator)]
    return torch.where(torch.rand(shape, generator=generator) < settings.ticket_share, of_ticket, anything)


def _build_whole(weight: "torch.Tensor", token_ids: list[int]) -> "tuple[nn.Module, nn.Parameter]":
    from torch import nn

    module = nn.Embedding.from_pretrained(weight, freeze=False)
    return module, module.weight


def _build_ours(weight: "torch.Tensor", token_ids: list[int]) -> "tuple[nn.Module, nn.Parameter]":
    from torch import nn

    from kslottery_core.tuning.ticket import TicketEmbedding

    module = TicketEmbedding(nn.Embedding.from_pretrained(weight), token_ids)
    return module, module.delta


def _build_peft(weight: "torch.Tensor", token_ids: list[int]) -> "tuple[nn.Module, nn.Parameter]":
    from peft import TrainableTokensConfig
    from peft.tuners.trainable_tokens import TrainableTokensLayer
    from torch import nn

    config = TrainableTokensConfig(token_indices=token_ids)
    module = TrainableTokensLayer(nn.Embedding.from_pretrained(weight), "default", config)
    module.update_layer("default", config=config)
    return module, module.trainable_tokens_delta["default"]


def _find_largest_temporary(way: _Way) -> tuple[tuple[int, ...], int]:
    """(shape, bytes) of the largest tensor that an operator makes; storage that was there before is no temporary."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    known = (*way.module.parameters(), *way.module.buffers(), way.input_ids, way.upstream)
    storages = {tensor.untyped_storage().data_ptr() for tensor in known}
    largest: list[tuple[int, tuple[int, ...]]] = [(0, ())]

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            for tensor in tree_leaves(result):
                if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in storages:
                    largest[0] = max(largest[0], (prod(tensor.shape) * tensor.element_size(), tuple(tensor.shape)))
            return result

    with Watch():
        way.step()
    return largest[0][1], largest[0][0]
