"""Counts against hand-made fractions, then SciPy, then the two paths against each other with ==."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from kslottery_core import compute_ks
from kslottery_core.errors import KSInputError
from kslottery_core.ks import engine, format_statistic, numpy_path, torch_path
from kslottery_core.ks.device_sweep import DeviceSweep
from kslottery_core.ks.engine import CommonRows
from kslottery_core.ks.sweep import Comparison

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]


def count_with_scipy(before: torch.Tensor, after: torch.Tensor) -> np.ndarray:
    width = before.shape[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.array(
            [
                round(ks_2samp(x, y, method="asymp").statistic * width)
                for x, y in zip(before.double().numpy(), after.double().numpy(), strict=True)
            ]
        )


def sweep_with_torch(before: torch.Tensor, after: torch.Tensor) -> Comparison:
    """The sweep a CUDA device makes, on CPU tensors."""
    sweep = DeviceSweep(*before.shape, 1, "cpu")
    sweep.take(0, before, [after])
    sweep.findings.raise_for_bad_rows((None, None))
    return sweep.findings.comparisons[0]


@pytest.mark.parametrize(
    ("before", "after", "count"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], 0),
        ([1, 2, 3, 4], [4, 3, 2, 1], 0),  # which coordinate moved is ignored
        ([1, 2, 3, 4], [5, 6, 7, 8], 4),
        ([1, 2, 3, 4], [2, 3, 4, 5], 1),
        ([1, 1, 2, 2], [1, 2, 2, 2], 1),  # ties: at 1 the shares are 2/4 and 1/4
        ([1, 1, 1, 1], [1, 1, 1, 2], 1),
        ([0, 0, 0, 0], [1, 1, 1, 1], 4),
        ([1, 2, 3, 4], [2.5, 2.5, 2.5, 2.5], 2),
        ([0.0, -0.0, 1, 2], [-0.0, 0.0, 1, 2], 0),  # signed zeros are one value
        ([-1, -2, -3, -4], [1, 2, 3, 4], 4),
    ],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_counts_equal_hand_made_fractions(before, after, count, dtype):
    before, after = torch.tensor([before], dtype=dtype), torch.tensor([after], dtype=dtype)
    result = compute_ks(before, after, "cpu")
    assert result.counts.tolist() == [count]
    assert result.statistics.tolist() == [count / 4]
    assert sweep_with_torch(before, after).counts.tolist() == [count]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, 2, 3, 64, 97, 576])
def test_counts_equal_scipy_with_many_ties(dtype, width):
    generator = torch.Generator().manual_seed(width)
    before = torch.randn(40, width, generator=generator).to(dtype)
    after = (before + 0.3 * torch.randn(40, width, generator=generator)).to(dtype)
    before[:20], after[:20] = before[:20].round(), after[:20].round()
    expected = count_with_scipy(before, after)
    assert (compute_ks(before, after, "cpu").counts == expected).all()
    assert (sweep_with_torch(before, after).counts == expected).all()


adversarial = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 1e-40, 3.4e38, -3.4e38, 0.5, 1 + 2**-23, 2.0])


@settings(deadline=None, max_examples=150)
@given(
    st.integers(1, 24).flatmap(
        lambda width: st.tuples(
            st.lists(
                adversarial | st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=width, max_size=width
            ),
            st.lists(
                adversarial | st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=width, max_size=width
            ),
        )
    )
)
def test_counts_equal_scipy_on_adversarial_rows(rows):
    before, after = (torch.tensor([row], dtype=torch.float32) for row in rows)
    expected = count_with_scipy(before, after)
    assert (compute_ks(before, after, "cpu").counts == expected).all()
    assert (sweep_with_torch(before, after).counts == expected).all()
    assert (compute_ks(before.double(), after.double(), "cpu").counts == expected).all()


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.sampled_from([torch.float16, torch.bfloat16]))
def test_counts_equal_scipy_on_random_sixteen_bit_patterns(seed, width, dtype):
    bits = np.random.default_rng(seed).integers(-(2**15), 2**15, size=(2, 3, width)).astype(np.int16)
    both = torch.from_numpy(bits).view(dtype)
    both = torch.where(both.isfinite(), both, torch.zeros((), dtype=dtype))
    assert (compute_ks(both[0], both[1], "cpu").counts == count_with_scipy(both[0], both[1])).all()


def test_p_values_equal_scipy_row_by_row():
    generator = np.random.default_rng(1)
    before = generator.normal(size=(60, 96)).astype(np.float32)
    after = before + generator.normal(size=(60, 96), scale=0.5).astype(np.float32)
    result = compute_ks(before, after, "cpu")
    for row in range(60):
        reference = ks_2samp(before[row], after[row], method="exact")
        assert result.statistics[row] == reference.statistic
        assert result.p_values[row] == pytest.approx(reference.pvalue, rel=1e-9)


def test_every_row_of_a_real_vocabulary_size_agrees_with_scipy():
    rows, width, block = 49_152, 576, 4096
    generator = torch.Generator().manual_seed(3)
    before = (0.1 * torch.randn(rows, width, generator=generator)).bfloat16()
    after = before.clone()
    scale = torch.rand(rows // 3, 1, generator=generator)
    after[::3] += (0.2 * scale * torch.randn(rows // 3, width, generator=generator)).bfloat16()
    result = compute_ks(before, after, "cpu")
    assert result.changed_count == rows // 3
    for start in range(0, rows, block):
        pair = (side[start : start + block].float().numpy() for side in (before, after))
        expected = ks_2samp(*pair, axis=1, method="asymp").statistic * width
        assert (result.counts[start : start + block] == np.rint(expected)).all()
    assert len(np.unique(result.counts)) > 50


def test_bit_identical_rows_are_unchanged_and_have_no_shift():
    before = torch.randn(5, 8)
    after = before.clone()
    after[2] += 1
    result = compute_ks(before, after, "cpu")
    assert result.changed.tolist() == [False, False, True, False, False]
    assert result.l2_shift[0] == 0
    assert result.cosine[0] == 1
    assert result.l2_shift[2] == pytest.approx(np.sqrt(8), rel=1e-6)
    assert result.mean_shift[2] == pytest.approx(1, rel=1e-6)


def test_shifts_equal_plain_numpy():
    generator = np.random.default_rng(0)
    before, after = generator.normal(size=(7, 33)), generator.normal(size=(7, 33)) * 2 + 0.5
    for result in (
        compute_ks(before, after, "cpu"),
        sweep_with_torch(torch.tensor(before), torch.tensor(after)).shifts,
    ):
        np.testing.assert_allclose(result.l2_shift, np.linalg.norm(after - before, axis=1), rtol=1e-12)
        cosine = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(before, after, strict=True)]
        np.testing.assert_allclose(result.cosine, cosine, rtol=1e-12)
        np.testing.assert_allclose(result.mean_shift, after.mean(1) - before.mean(1), rtol=1e-12)
        np.testing.assert_allclose(result.spread_ratio, after.std(1) / before.std(1), rtol=1e-12)


def test_undefined_shifts_are_nan_not_a_number_made_up():
    result = compute_ks(torch.zeros(1, 4), torch.arange(4.0).reshape(1, 4), "cpu")
    assert np.isnan(result.cosine[0])
    assert np.isnan(result.spread_ratio[0])


def test_differing_dtypes_are_widened_exactly():
    before = torch.randn(10, 32).bfloat16()
    assert compute_ks(before, before.float(), "cpu").changed_count == 0
    assert compute_ks(before.half().float(), before.half(), "cpu").changed_count == 0


def test_arrays_of_foreign_byte_order_read_only_or_not_contiguous_are_taken():
    before, after = np.random.default_rng(0).normal(size=(2, 6, 40))
    expected = compute_ks(before, after, "cpu").counts
    read_only = after.copy()
    read_only.setflags(write=False)
    assert (compute_ks(before.astype(">f8"), read_only, "cpu").counts == expected).all()
    assert (compute_ks(np.asfortranarray(before), after[:, ::-1], "cpu").counts == expected).all()


def test_blocks_do_not_change_the_result(monkeypatch):
    before, after = torch.randn(37, 16), torch.randn(37, 16)
    whole = compute_ks(before, after, "cpu")
    monkeypatch.setattr(engine, "READ_BYTES", 2 * 16 * 4 * 5)
    monkeypatch.setattr(numpy_path, "BLOCK_BYTES", 1)
    steps = []
    blocked = compute_ks(before, after, "cpu", progress=steps.append)
    assert (whole.counts == blocked.counts).all()
    assert [event.step for event in steps] == [5, 10, 15, 20, 25, 30, 35, 37]


def test_a_device_out_of_memory_halves_the_block_and_says_so(monkeypatch):
    before, after = torch.randn(16, 8), torch.randn(16, 8)
    expected = compute_ks(before, after, "cpu").counts
    count_sorted = torch_path.count_sorted

    def count_small_blocks(x, y):
        if len(x) > 4:
            raise torch.OutOfMemoryError("no room")
        return count_sorted(x, y)

    monkeypatch.setattr(torch_path, "count_sorted", count_small_blocks)
    sweep = DeviceSweep(16, 8, 1, "cpu")
    sweep._block_rows = 16
    sweep.take(0, before, [after])
    assert (sweep.findings.comparisons[0].counts == expected).all()
    assert "halved to 8" in sweep.findings.notes[0]
    assert "halved to 4" in sweep.findings.notes[1]


def test_a_device_without_room_for_one_row_is_an_error(monkeypatch):
    def refuse(x, y):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(torch_path, "count_sorted", refuse)
    with pytest.raises(KSInputError, match="no room for one row pair"):
        sweep_with_torch(torch.zeros(2, 4), torch.ones(2, 4))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_with_nan_or_infinity_are_named_and_counted(bad, dtype):
    before, after = torch.zeros(9, 4, dtype=dtype), torch.zeros(9, 4, dtype=dtype)
    before[3, 1] = after[3, 2] = after[7, 0] = bad
    expected = r"NaN or infinite.*1 before \(ids 3\) and 2 after \(ids 3, 7\)"
    with pytest.raises(KSInputError, match=expected):
        compute_ks(before, after, "cpu")
    with pytest.raises(KSInputError, match=expected):
        sweep_with_torch(before, after)


def test_the_file_with_broken_rows_is_named():
    class Matrix:
        def __init__(self, source, rows):
            self.source, self.rows = source, rows

        def read_rows(self, start, stop):
            return self.rows[start:stop]

    broken = torch.zeros(5, 4)
    broken[2, 0] = float("nan")
    sides = [
        CommonRows(Matrix(name, rows), (5, 4)) for name, rows in (("a/base", torch.zeros(5, 4)), ("b/new", broken))
    ]
    with pytest.raises(KSInputError, match=r"1 after in b/new \(ids 2\)"):
        compute_ks(*sides, "cpu")


def test_a_half_is_rounded_up_as_in_a_browser():
    assert [format_statistic(k / 128) for k in (36, 12, 4, 0, 128)] == [
        "0.2813",
        "0.0938",
        "0.0313",
        "0.0000",
        "1.0000",
    ]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (torch.zeros(3, 4), torch.zeros(3, 5), "one shape"),
        (torch.zeros(3, 4), torch.zeros(2, 4), "one shape"),
        (torch.zeros(3, 0), torch.zeros(3, 0), "at least one row and one coordinate"),
        (torch.zeros(0, 3), torch.zeros(0, 3), "at least one row and one coordinate"),
        (torch.zeros(3), torch.zeros(3), r"shape \(V, d\)"),
        (torch.zeros(3, 4, dtype=torch.int8), torch.zeros(3, 4, dtype=torch.int8), "dequantised"),
        (np.array([["a"]]), np.array([["b"]]), "found <U1 values"),
        (np.zeros((2, 2), np.longdouble), np.zeros((2, 2), np.longdouble), "float16, float32 or float64"),
    ],
)
def test_wrong_matrices_are_refused_in_a_sentence(before, after, message):
    with pytest.raises(KSInputError, match=message):
        compute_ks(before, after, "cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "mps", ""])
def test_unknown_devices_are_refused(device):
    with pytest.raises(KSInputError, match="auto, cpu, cuda"):
        compute_ks(torch.zeros(1, 1), torch.zeros(1, 1), device)


def test_a_cuda_device_that_is_not_there_is_refused():
    with pytest.raises(KSInputError, match="CUDA device"):
        compute_ks(torch.zeros(1, 1), torch.zeros(1, 1), f"cuda:{torch.cuda.device_count()}")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", DTYPES)
def test_counts_on_a_gpu_equal_the_cpu(dtype):
    before = torch.randn(500, 777).to(dtype)
    after = (before + 0.1 * torch.randn(500, 777).to(dtype)).to(dtype)
    assert (compute_ks(before, after, "cuda").counts == compute_ks(before, after, "cpu").counts).all()


def test_differing_dtypes_of_arrays_are_told():
    before = torch.randn(3, 8)
    (note,) = compute_ks(before.half(), before, "cpu").notes
    assert note.startswith("Stored as float16 before and float32 after; compared after exact widening")
    assert compute_ks(before, before + 1, "cpu").notes == ()
