"""What only a CUDA device can show: the compiled kernel against torch and the CPU with ==, and memory bounds."""

import pytest
import torch

from kslottery_core import compute_ks
from kslottery_core.ks import compute_several_ks, device_sweep, torch_path, triton_path
from kslottery_core.ks.device_sweep import DeviceSweep

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

KINDS = [
    "random", "tuned", "tied", "constant", "signed zeros", "denormal", "denormal against zero", "one bin", "combs",
    "any magnitude", "far apart",
]  # fmt: skip
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
ROWS = 24


def make_rows(kind, width, dtype):
    """Row pairs (R, d) on the CPU."""
    generator = torch.Generator().manual_seed(width)
    x, y = torch.randn(2, ROWS, width, generator=generator)
    steps, one = (torch.int32, 0x3F800000) if dtype == torch.float32 else (torch.int16, 0x3C00)
    ramp = one + 2 * torch.arange(ROWS * width).reshape(ROWS, width) % 2**13
    tiny = torch.randint(-60, 60, (2, ROWS, width), generator=generator)
    before, after = {
        "random": lambda: (x, y),
        "tuned": lambda: (0.02 * x, 0.02 * (x + 0.05 * y)),
        "tied": lambda: ((2 * x).round(), (2 * y).round()),
        "constant": lambda: (torch.full_like(x, 0.1), torch.full_like(x, -0.1)),
        "signed zeros": lambda: (x.sign() * 0.0, y.sign() * 0.0),
        "denormal": lambda: tuple(
            (each.abs() | torch.where(each < 0, torch.iinfo(steps).min, 0)).to(steps).view(dtype) for each in tiny
        ),
        "denormal against zero": lambda: (
            (tiny[0].abs() + 1).to(steps).view(dtype) * (torch.arange(ROWS)[:, None] % 2),
            (tiny[1].abs() + 1).to(steps).view(dtype) * (torch.arange(ROWS)[:, None] % 2 == 0),
        ),
        "one bin": lambda: (1 + x / 4096, 1 + y / 4096),
        "combs": lambda: (ramp.to(steps).view(dtype), (ramp + 1).to(steps).view(dtype)),
        "any magnitude": lambda: tuple((a * torch.exp(6 * b)).clamp(-6e4, 6e4) for a, b in ((x, y), (y, x))),
        "far apart": lambda: (x, 100 - x),
    }[kind]()
    return before.to(dtype), after.to(dtype)


@pytest.mark.parametrize("width", [1, 2, 3, 31, 64, 100, 129, 576, 1000, 1024, 2049, 4096, 5000, 8192, 16_383, 16_384])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_kernel_equals_torch_and_the_cpu_for_every_kind_of_row(dtype, width):
    pytest.importorskip("triton", reason="Triton is not installed")
    for kind in KINDS:
        before, after = make_rows(kind, width, dtype)
        there = before.cuda(), after.cuda()
        assert triton_path.can_count(there[0])
        counts = triton_path.count_block(*there).cpu()
        assert torch.equal(counts, torch_path.count_block(*there).cpu()), kind
        assert counts.tolist() == compute_ks(before, after, "cpu").counts.tolist(), kind


@pytest.mark.parametrize(("dtype", "width"), [(torch.float64, 100), (torch.float32, 16_385), (torch.bfloat16, 20_000)])
def test_what_the_kernel_does_not_take_goes_to_torch(dtype, width):
    before, after = torch.randn(2, 5, width).to(dtype)
    assert not triton_path.can_count(before.cuda())
    assert compute_ks(before, after, "cuda").counts.tolist() == compute_ks(before, after, "cpu").counts.tolist()


def test_the_kernel_is_used_without_a_note():
    pytest.importorskip("triton", reason="Triton is not installed")
    sweep = DeviceSweep(8192, 512, 1, "cuda")
    sweep.take(0, torch.randn(8192, 512), [torch.randn(8192, 512)])
    assert sweep.findings.notes == []
    assert sweep._has_checked_kernel


def test_everything_about_several_afters_equals_the_cpu():
    before = torch.randn(4000, 576).bfloat16()
    afters = [(before.float() + scale * torch.randn(4000, 576)).bfloat16() for scale in (0.01, 0.3)]
    afters[1][:2000] = before[:2000]
    ours, expected = (compute_several_ks(before, afters, device) for device in ("cuda", "cpu"))
    for one, other in zip(ours, expected, strict=True):
        assert one.counts.tolist() == other.counts.tolist()
        assert one.changed.tolist() == other.changed.tolist()
        for name in ("l2_shift", "cosine", "mean_shift", "spread_ratio"):
            values, others = (torch.from_numpy(getattr(result, name)) for result in (one, other))
            torch.testing.assert_close(values, others, rtol=1e-9, atol=1e-15, equal_nan=True)


class _MadeRows:
    """A matrix (V, d) that exists only in the blocks that are read."""

    def __init__(self, shape, dtype, seed):
        self.shape, self._dtype, self._seed = shape, dtype, seed

    def read_rows(self, start, stop):
        generator = torch.Generator().manual_seed(self._seed + start)
        return torch.randn(stop - start, self.shape[1], generator=generator).to(self._dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_a_large_streamed_matrix_stays_under_two_gigabytes_on_the_device(dtype):
    shape = (20_000, 8192)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    compute_ks(_MadeRows(shape, dtype, 1), _MadeRows(shape, dtype, 2), "cuda")
    assert torch.cuda.max_memory_allocated() <= 2 * 10**9


@pytest.mark.parametrize("uses_kernel", [True, False])
def test_one_large_block_stays_under_two_gigabytes_on_the_device(monkeypatch, uses_kernel):
    if not uses_kernel:
        monkeypatch.setattr(triton_path, "can_count", lambda tensor: False)
    rows = 16_000
    before, after = torch.randn(2, rows, 4096).bfloat16()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    sweep = DeviceSweep(rows, 4096, 1, "cuda")
    sweep.take(0, before, [after])
    assert torch.cuda.max_memory_allocated() <= 2 * 10**9
    assert sweep.findings.comparisons[0].changed.all()


def test_a_device_short_of_memory_halves_the_block_and_counts_the_same(monkeypatch):
    before, after = torch.randn(2, 4000, 4096)
    expected = compute_ks(before, after, "cpu").counts
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    monkeypatch.setattr(device_sweep, "SUM_ENTRIES", 2**18)
    torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved() + 150 * 2**20) / total))
    try:
        sweep = DeviceSweep(4000, 4096, 1, "cuda")
        sweep.take(0, before, [after])
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert (sweep.findings.comparisons[0].counts == expected).all()
    assert "halved" in sweep.findings.notes[0]


def test_bad_rows_are_named_on_the_device():
    before, after = torch.zeros(9, 4), torch.zeros(9, 4)
    before[3, 1] = after[3, 2] = after[7, 0] = float("nan")
    sweep = DeviceSweep(9, 4, 1, "cuda")
    sweep.take(0, before, [after])
    assert sweep.findings.bad_rows == {0: [3], 1: [3, 7]}
