"""The kernel's logic in Triton's interpreter against the NumPy path with ==, and its compilation without a GPU.

Triton reads TRITON_INTERPRET once, when it is first imported, and other tests import it too (peft does); so the
interpreter runs in a process of its own that answers one request after the other.
"""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kslottery_core.ks import numpy_path, triton_path
from kslottery_core.ks.triton_path import KernelSettings

pytest.importorskip("triton", reason="Triton is not installed")

DTYPES = [torch.float32, torch.float16, torch.bfloat16]

INTERPRETER = """
import os, pickle, sys
import torch
from kslottery_core.ks import triton_path
answers = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)  # whatever prints must not disturb the answers
while True:
    try:
        name, before, after, settings = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    before, after = (torch.from_numpy(bits).view(getattr(torch, name)) for bits in (before, after))
    chosen = settings and triton_path.KernelSettings(*settings)
    pickle.dump(triton_path.count_block(before, after, chosen).numpy(), answers)
    answers.flush()
"""

COMPILER = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from kslottery_core.ks.triton_kernel import count_row_pairs
from kslottery_core.ks.triton_path import choose_settings
for bits, mantissa, magnitude in (("*i32", 23, 0x7FFFFFFF), ("*i16", 10, 0x7FFF), ("*i16", 7, 0x7FFF)):
    for width in (1, 1000, 4096):
        chosen = choose_settings(width)
        fixed = dict(MANTISSA=mantissa, MAGNITUDE=magnitude, BLOCK=chosen.block, HALF_BITS=chosen.half_bits,
                     FAN=chosen.fan, MASKED=chosen.masked, RELOAD=chosen.reload)
        if width == 1:
            fixed["width"] = 1  # Triton takes arguments of 1 as constants
        signature = dict(before_pointer=bits, after_pointer=bits, counts_pointer="*i32", width="i32")
        signature |= dict.fromkeys(fixed, "constexpr")
        source = ASTSource(count_row_pairs, signature, fixed)
        made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": chosen.warps})
        print(width, len(made.asm["cubin"]) > 1000)
"""


def view_bits(tensor):
    return tensor.view(torch.int32 if tensor.dtype == torch.float32 else torch.int16).numpy()


def count_with_numpy(before, after):
    if before.dtype == torch.float32:
        return numpy_path.count_block(before.numpy(), after.numpy())
    return numpy_path.count_block(view_bits(before), view_bits(after))


@pytest.fixture(scope="module")
def count(tmp_path_factory):
    """Counts of two blocks from the interpreter, made with the given settings or the chosen ones."""
    log = tmp_path_factory.mktemp("interpreter") / "log.txt"
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            [sys.executable, "-c", INTERPRETER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        ) as process,
    ):

        def ask(before, after, chosen=None):
            name = str(before.dtype).removeprefix("torch.")
            try:
                pickle.dump((name, view_bits(before), view_bits(after), chosen and tuple(chosen)), process.stdin)
                process.stdin.flush()
                return pickle.load(process.stdout)
            except (EOFError, BrokenPipeError):
                pytest.fail(f"the interpreter ended:\n{log.read_text()[-3000:]}")

        yield ask
        process.stdin.close()


def make_narrow_settings(width):
    """What an older Triton gets: no mask, few bins, so that bins wait for a second sweep even in short rows."""
    return KernelSettings(max(128, 1 << (width - 1).bit_length()), 6, 2, masked=False, reload=False, warps=4)


def make_rows(kind, width, dtype):
    """Two row pairs (2, d) of one kind."""
    generator = torch.Generator().manual_seed(width)
    x, y = torch.randn(2, 2, width, generator=generator)
    ramp = torch.arange(2 * width).reshape(2, width)
    steps, one = (torch.int32, 0x3F800000) if dtype == torch.float32 else (torch.int16, 0x3C00)
    tiny = torch.randint(-60, 60, (2, 2, width), generator=generator)
    before, after = {
        "random": lambda: (x.to(dtype), y.to(dtype)),
        "tuned": lambda: (x.to(dtype), (x + 0.05 * y).to(dtype)),
        "tied": lambda: ((2 * x).round().to(dtype), (2 * y).round().to(dtype)),
        "constant": lambda: (torch.full_like(x, 0.1).to(dtype), torch.tensor([[0.1], [0.2]]).expand(2, width)),
        "zeros": lambda: (x.relu().to(dtype), (y - 0.5).relu().to(dtype)),
        "signed zeros": lambda: ((x.sign() * 0.0).to(dtype), (y.sign() * 0.0).to(dtype)),
        # Sign and magnitude of integers near 0 are the smallest numbers of every format.
        "denormal": lambda: tuple(
            (each.abs() | torch.where(each < 0, torch.iinfo(steps).min, 0)).to(steps).view(dtype) for each in tiny
        ),
        "mixed with denormals": lambda: (torch.where(x > 0, x, x * 1e-7).to(dtype), torch.where(y > 0, y, 0).to(dtype)),
        "denormal against zero": lambda: (
            (tiny[0].abs() + 1).to(steps).view(dtype) * (torch.arange(2)[:, None] % 2),
            (tiny[1].abs() + 1).to(steps).view(dtype) * (torch.arange(2)[:, None] % 2 == 0),
        ),
        "one bin": lambda: ((1 + x / 4096).to(dtype), (1 + y / 4096).to(dtype)),
        "combs": lambda: tuple((one + 2 * ramp % 2**13 + side).to(steps).view(dtype) for side in (0, 1)),
        "one step up": lambda: (x.to(dtype), (x.to(dtype).view(steps) + 1).view(dtype)),
        "any magnitude": lambda: (
            ((x * torch.exp(6 * y)).clamp(-6e4, 6e4)).to(dtype),
            ((y * torch.exp(6 * x)).clamp(-6e4, 6e4)).to(dtype),
        ),
        "far apart": lambda: (x.to(dtype), (100 - x).to(dtype)),
    }[kind]()
    return before.to(dtype).contiguous(), after.to(dtype).contiguous()


KINDS = [
    "random", "tuned", "tied", "constant", "zeros", "signed zeros", "denormal", "denormal against zero",
    "mixed with denormals", "one bin", "combs", "one step up", "any magnitude", "far apart",
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_counts_equal_the_numpy_path_for_every_kind_of_row(count, kind, dtype):
    for width in (1, 2, 3, 64, 129, 1000):
        before, after = make_rows(kind, width, dtype)
        assert (count(before, after) == count_with_numpy(before, after)).all(), width


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_counts_do_not_depend_on_the_settings(count, kind, dtype):
    for width in (3, 300):
        before, after = make_rows(kind, width, dtype)
        assert (count(before, after, make_narrow_settings(width)) == count_with_numpy(before, after)).all(), width


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("kind", "width"), [("tuned", 4096), ("combs", 4096), ("tied", 5000), ("random", 16_384)])
def test_counts_equal_the_numpy_path_on_wide_rows(count, kind, width, dtype):
    before, after = (side[:1] for side in make_rows(kind, width, dtype))
    assert (count(before, after) == count_with_numpy(before, after)).all()


def test_a_peak_is_found_in_whichever_bin_it_hides(count):
    # One pair of values in each of 64 bins, of which 31 can be opened at once. The first value of all is of before,
    # so s is 1 between bins, goes to 0 inside them and to 2 in one only, where the pair is the other way round.
    bins = 64
    lower = torch.cat((torch.arange(-bins, -bins // 2), torch.arange(bins // 2, bins))) * 2 / bins + 1 / 512
    before, after = (lower + 1 / 4096).repeat(bins, 1), lower.repeat(bins, 1)
    before.diagonal().copy_(lower)
    after.diagonal().copy_(lower + 1 / 4096)
    before = torch.cat((torch.full((bins, 1), -2 + 1 / 4096), before), dim=1)
    after = torch.cat((after, torch.full((bins, 1), 2 - 1 / 4096)), dim=1)
    assert count_with_numpy(before, after).tolist() == [2] * bins
    assert count(before, after, make_narrow_settings(bins + 1)).tolist() == [2] * bins


def test_the_largest_count_fits_the_kernel(count):
    before, after = torch.full((1, triton_path.LARGEST_WIDTH), -1.0), torch.ones(1, triton_path.LARGEST_WIDTH)
    assert count(before, after).tolist() == [triton_path.LARGEST_WIDTH]
    assert count(after, before).tolist() == [triton_path.LARGEST_WIDTH]


def test_rows_with_nan_or_infinity_do_not_stop_the_kernel(count):
    before, after = torch.randn(3, 50), torch.randn(3, 50)
    before[0, 3], after[2, 4], after[2, 5] = float("nan"), float("inf"), -float("inf")
    assert (count(before, after)[1] == count_with_numpy(before[1:2], after[1:2])).all()


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.sampled_from(DTYPES), st.integers(0, 12))
def test_counts_equal_the_numpy_path_on_random_bit_patterns(count, seed, width, dtype, kept_bits):
    wide = dtype == torch.float32
    generator = np.random.default_rng(seed)
    words = (
        generator.integers(-(2**31), 2**31, size=(2, 2, width))
        if wide
        else generator.integers(-(2**15), 2**15, size=(2, 2, width))
    )
    # Fewer kept bits give more ties and values closer to each other.
    words = (words >> kept_bits) if seed % 2 else (words >> kept_bits << kept_bits)
    both = torch.from_numpy(words.astype(np.int32 if wide else np.int16)).view(dtype)
    both = torch.where(both.isfinite(), both, torch.zeros((), dtype=dtype))
    assert (count(both[0], both[1]) == count_with_numpy(both[0], both[1])).all()


def test_no_rows_give_no_counts():
    assert triton_path.count_block(torch.zeros(0, 8), torch.zeros(0, 8)).shape == (0,)


@pytest.mark.parametrize("width", [1, 2, 127, 128, 129, 576, 1024, 1025, 4096, 5000, 16_384])
def test_settings_suit_the_compiler(width):
    chosen = triton_path.choose_settings(width)
    bins, threads = 2 << chosen.half_bits, 32 * chosen.warps
    assert chosen.block >= max(width, threads)
    assert chosen.block & (chosen.block - 1) == 0
    assert bins >= threads
    assert bins >> chosen.fan >= 32


def test_only_tensors_on_a_gpu_are_for_the_kernel():
    assert not triton_path.can_count(torch.zeros(1, 8))
    assert not triton_path.can_count(torch.zeros(1, 8, dtype=torch.float64, device="meta"))


def test_the_kernel_compiles_for_a_gpu_that_is_not_there(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    ran = subprocess.run(
        [sys.executable, "-c", COMPILER],
        env={**environment, "TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert ran.stdout.split() == ["1", "True", "1000", "True", "4096", "True"] * 3, ran.stderr[-3000:]
