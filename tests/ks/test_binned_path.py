"""The binned path must give the counts of a full sort, to the last tie, whatever the rows look like."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from kslottery_core import compute_ks
from kslottery_core.errors import KSInputError
from kslottery_core.ks import binned_path, compute_several_ks
from kslottery_core.ks.cpu_sweep import CPUSweep

loops = pytest.importorskip("kslottery_core.ks.binned_loops", reason="numba is not installed")

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
NEVER = 2**62
SHIFTS = ("l2_shift", "cosine", "mean_shift", "spread_ratio")


@pytest.fixture
def binned(monkeypatch):
    """Every comparison is binned, however small."""
    monkeypatch.setattr(binned_path, "LEAST_ENTRIES", 0)


@pytest.fixture
def interpreted(monkeypatch, binned):
    """The loops as plain Python, so that each line is seen to run."""
    for name, loop in list(vars(loops).items()):
        if hasattr(loop, "py_func"):
            monkeypatch.setattr(loops, name, loop.py_func)


def compare_with_sorting(before: torch.Tensor, after: torch.Tensor) -> None:
    result = compute_ks(before, after, "cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binned_path, "LEAST_ENTRIES", NEVER)
        expected = compute_ks(before, after, "cpu")
    assert (result.counts == expected.counts).all()
    assert (result.changed == expected.changed).all()
    for name in SHIFTS:
        np.testing.assert_allclose(getattr(result, name), getattr(expected, name), rtol=1e-9, atol=1e-12)


def make_rows(kind: str, width: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Eight row pairs of a kind that could mislead bins."""
    generator = torch.Generator().manual_seed(width)
    noise = torch.randn(2, 8, width, generator=generator, dtype=torch.float64)
    base = noise[0] * 0.02
    before, after = {
        "moved a little": (base, base + 0.003 * noise[1]),
        "moved far beyond the bins": (base, base + 100),
        "another spread": (base, base * 30),
        "same values in another order": (base, base.flip(1)),
        "a few levels": ((base * 100).round(), (base * 100 + noise[1] * 0.3).round()),
        "two levels": ((base > 0).double(), (noise[1] > 0.3).double()),
        "constant before": (torch.ones_like(base), base),
        "constant after": (base, torch.ones_like(base)),
        "heavy tails": (base / noise[1] ** 3, noise[1] / base**2),
        "one outlier": (base.index_fill(1, torch.tensor([0]), 6e4), base + 0.003),
        "signed zeros": (base * 0, -(base * 0)),
        "denormal": (base * 1e-38, base * 1e-38 + noise[1] * 1e-40),
        "large": (base * 1e6, base * 1e6 + noise[1] * 1e5),
        "interleaved combs": (torch.arange(width).double().repeat(8, 1), torch.arange(width).repeat(8, 1) + 0.5),
    }[kind]
    return before.clamp(-6e4, 6e4).to(dtype), after.clamp(-6e4, 6e4).to(dtype)


KINDS = [
    "moved a little",
    "moved far beyond the bins",
    "another spread",
    "same values in another order",
    "a few levels",
    "two levels",
    "constant before",
    "constant after",
    "heavy tails",
    "one outlier",
    "signed zeros",
    "denormal",
    "large",
    "interleaved combs",
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [1, 2, 3, 100, 4096])
def test_binned_counts_equal_sorted_counts(kind, width, dtype, binned):
    before, after = make_rows(kind, width, dtype)
    compare_with_sorting(before, after)
    compare_with_sorting(after, before)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_as_wide_as_a_vocabulary_are_binned_too(kind, binned):
    compare_with_sorting(*make_rows(kind, 70_000, torch.bfloat16))


# A scale too large for float32 becomes infinite, which the loops check; only NumPy scalars warn of it.
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_python_source_of_the_loops_gives_the_same(kind, dtype, interpreted):
    before, after = make_rows(kind, 90, dtype)
    compare_with_sorting(before[:2], after[:2])


values = st.floats(allow_nan=False, allow_infinity=False, width=32)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 40).flatmap(lambda d: st.tuples(*[st.lists(values, min_size=d, max_size=d)] * 2)))
def test_any_float32_rows_give_the_sorted_counts(rows):
    before, after = (torch.tensor([row]) for row in rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binned_path, "LEAST_ENTRIES", 0)
        result = compute_ks(before, after, "cpu")
        patch.setattr(binned_path, "LEAST_ENTRIES", NEVER)
        assert (result.counts == compute_ks(before, after, "cpu").counts).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 2000), st.integers(1, 300), st.sampled_from(DTYPES))
def test_any_rows_with_ties_and_open_bins_give_the_sorted_counts(seed, width, levels, dtype):
    generator = torch.Generator().manual_seed(seed)
    before = (torch.randn(2, width, generator=generator) * levels).round() / 7
    moved = torch.rand(2, width, generator=generator) < 0.3
    after = before + moved * (torch.randn(2, width, generator=generator)).round() / 7
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binned_path, "LEAST_ENTRIES", 0)
        compare_with_sorting(before.to(dtype), after.to(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_binned_counts_equal_those_of_scipy(dtype, binned):
    before, after = make_rows("moved a little", 3000, dtype)
    expected = [ks_2samp(x, y).statistic for x, y in zip(before.double().numpy(), after.double().numpy(), strict=True)]
    assert compute_ks(before, after, "cpu").statistics.tolist() == expected


@pytest.mark.parametrize("least_entries", [0, NEVER])
@pytest.mark.parametrize("dtype", DTYPES)
def test_denormals_count_even_where_the_process_flushes_them(dtype, least_entries, monkeypatch):
    monkeypatch.setattr(binned_path, "LEAST_ENTRIES", least_entries)
    smallest = torch.finfo(dtype).smallest_normal
    before, after = (torch.randn(2, 3, 500, dtype=torch.float64) * smallest / 4).to(dtype).unbind()
    expected = compute_ks(before, after, "cpu")
    assert expected.counts.min() > 0
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormals")
    try:
        found = compute_ks(before, after, "cpu")
    finally:
        torch.set_flush_denormal(False)
    assert (found.counts == expected.counts).all()
    assert found.changed.all()


def test_a_numba_that_cannot_be_loaded_is_told_and_every_row_sorted(binned, monkeypatch):
    def refuse(name):
        raise ImportError("Numba needs NumPy 2.3 or less")

    monkeypatch.setattr(binned_path.importlib, "import_module", refuse)
    binned_path.explain_missing.cache_clear()
    try:
        result = compute_ks(*make_rows("moved a little", 100, torch.float32), "cpu")
    finally:
        binned_path.explain_missing.cache_clear()
    assert "Numba needs NumPy 2.3 or less" in result.notes[0]
    assert (result.counts > 0).all()


def test_the_rows_of_one_read_are_shared_among_the_threads(monkeypatch):
    blocks = []
    monkeypatch.setattr(
        binned_path, "compare_block", lambda findings, start, before, afters: blocks.append(len(before))
    )
    sweep = CPUSweep(100, 2**15, 7, binned_path)
    sweep._threads = 4
    sweep.take(0, torch.zeros(100, 4), [torch.zeros(100, 4)] * 7)
    assert blocks == [25] * 4


def test_rows_too_full_to_sort_in_place_are_left_to_the_full_sort(binned, monkeypatch):
    before, after = make_rows("one outlier", 4096, torch.float32)
    sorted_rows = []
    sort_rows = binned_path._sort_rows
    monkeypatch.setattr(binned_path, "_sort_rows", lambda x, y: sorted_rows.append(len(x)) or sort_rows(x, y))
    compute_ks(before, after, "cpu")
    assert sum(sorted_rows) == 8
    compute_ks(*make_rows("moved a little", 4096, torch.float32), "cpu")
    assert sum(sorted_rows) == 8, "an ordinary row is settled in its bins"


@pytest.mark.parametrize("dtype", DTYPES)
def test_bad_rows_are_named_and_hide_no_others(dtype, binned, monkeypatch):
    before, after = torch.zeros(9, 4, dtype=dtype), torch.zeros(9, 4, dtype=dtype)
    before[3, 1] = after[3, 2] = float("nan")
    before[5, 3] = after[5, 3] = float("inf")
    after[7, 0] = -float("inf")
    empty = np.empty

    def make_leftovers(shape, dtype=float):
        leftovers = empty(shape, dtype)
        leftovers.fill(0 if leftovers.dtype.kind == "u" else -1)
        return leftovers

    monkeypatch.setattr(np, "empty", make_leftovers)
    with pytest.raises(KSInputError, match=r"2 before \(ids 3, 5\) and 3 after \(ids 3, 5, 7\)"):
        compute_ks(before, after, "cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_several_after_sides_give_what_each_gives_alone(dtype, binned, monkeypatch):
    before = torch.randn(50, 64)
    afters = [before + scale * torch.randn(50, 64) for scale in (0.0, 0.1, 1.0)]
    before, afters = before.to(dtype), [after.to(dtype) for after in afters]
    together = compute_several_ks(before, afters, "cpu")
    for after, result in zip(afters, together, strict=True):
        alone = compute_ks(before, after, "cpu")
        for name in ("counts", "changed", *SHIFTS):
            assert (getattr(result, name) == getattr(alone, name)).all()
    monkeypatch.setattr(binned_path, "LEAST_ENTRIES", NEVER)
    for result, expected in zip(together, compute_several_ks(before, afters, "cpu"), strict=True):
        assert (result.counts == expected.counts).all()


def test_the_path_is_chosen_by_the_amount_of_work(monkeypatch):
    assert CPUSweep(2**10, 2**12, 1)._compare_block is binned_path.compare_block
    assert CPUSweep(2**9, 2**12, 1)._compare_block is not binned_path.compare_block
    assert CPUSweep(2**9, 2**12, 2)._compare_block is binned_path.compare_block


def test_code_that_cannot_be_kept_is_compiled_for_the_process(monkeypatch):
    calls = []

    def refuse_a_cache(**options):
        calls.append(options)
        if options.pop("cache", False):
            raise RuntimeError("no locator available")
        return lambda function: function

    monkeypatch.setattr(loops.numba, "njit", refuse_a_cache)
    assert loops._compile()(len) is len
    assert [options.get("cache") for options in calls] == [None, None]
