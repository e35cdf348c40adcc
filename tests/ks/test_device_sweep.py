"""The sweep of a torch device on CPU tensors: fallbacks, bad rows, memory; nothing here needs a GPU."""

import numpy as np
import pytest
import torch

from kslottery_core import compute_ks
from kslottery_core.ks import device_sweep, torch_path, triton_path
from kslottery_core.ks import sweep as shifts
from kslottery_core.ks.device_sweep import DeviceSweep


def make_blocks(rows=20, width=12, afters=2):
    generator = torch.Generator().manual_seed(rows)
    before = torch.randn(rows, width, generator=generator)
    return before, [before + torch.randn(rows, width, generator=generator) for _ in range(afters)]


def sweep_over(before, afters):
    sweep = DeviceSweep(*before.shape, len(afters), "cpu")
    sweep.take(0, before, afters)
    return sweep.findings


def assert_equal_to_the_cpu(findings, before, afters):
    for found, after in zip(findings.comparisons, afters, strict=True):
        expected = compute_ks(before, after, "cpu")
        assert (found.counts == expected.counts).all()
        assert (found.changed == expected.changed).all()
        for name, values in vars(found.shifts).items():
            np.testing.assert_allclose(values, getattr(expected, name), rtol=1e-12, atol=1e-15)


def test_several_afters_are_compared_and_before_is_sorted_once(monkeypatch):
    before, afters = make_blocks(afters=3)
    afters[1][4:] = before[4:]  # most rows unchanged
    sort_block, widths = torch_path.sort_block, []
    monkeypatch.setattr(torch_path, "sort_block", lambda block: widths.append(len(block)) or sort_block(block))
    assert_equal_to_the_cpu(sweep_over(before, afters), before, afters)
    assert widths == [20, 20, 4, 20]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_inputs_are_left_as_they_were(dtype):
    before, (after,) = make_blocks(afters=1)
    before, after = before.to(dtype), after.to(dtype)
    copies = before.clone(), after.clone()
    sweep_over(before, [after])
    assert torch.equal(before, copies[0])
    assert torch.equal(after, copies[1])


def test_a_bad_row_hides_neither_other_bad_rows_nor_good_ones():
    before, afters = make_blocks()
    expected = compute_ks(before, afters[1], "cpu").counts
    before[2, 1] = afters[0][3, 0] = afters[0][7, 2] = afters[1][19, 5] = float("nan")
    findings = sweep_over(before, afters)
    assert findings.bad_rows == {0: [2], 1: [3, 7], 2: [19]}
    good = np.delete(np.arange(20), [2, 19])
    assert (findings.comparisons[1].counts[good] == expected[good]).all()


def test_bad_rows_are_named_once_when_a_block_is_taken_again(monkeypatch):
    before, afters = make_blocks()
    before[2, 1] = afters[0][15, 0] = float("inf")
    count_sorted = torch_path.count_sorted

    def count_small_blocks(x, y):
        if len(x) > 6:
            raise torch.OutOfMemoryError("no room")
        return count_sorted(x, y)

    monkeypatch.setattr(torch_path, "count_sorted", count_small_blocks)
    findings = sweep_over(before, afters)
    assert findings.bad_rows == {0: [2], 1: [15]}
    assert ["10 rows" in findings.notes[0], "5 rows" in findings.notes[1], len(findings.notes)] == [True, True, 2]


def test_sums_on_the_device_equal_those_on_the_cpu_in_any_chunk(monkeypatch):
    before, (after,) = make_blocks(afters=1)
    monkeypatch.setattr(device_sweep, "SUM_ENTRIES", 12 * 3)
    made = device_sweep._compute_sums(before, after).numpy()
    np.testing.assert_allclose(made, shifts.compute_sums(before.numpy(), after.numpy()), rtol=1e-13, atol=1e-13)


def test_constant_and_zero_rows_have_no_made_up_shift():
    before = torch.tensor([[0.1, 0.1, 0.1], [0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    after = torch.tensor([[0.1, 0.2, 0.3], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    found = sweep_over(before, [after]).comparisons[0].shifts
    assert np.isnan(found.spread_ratio).tolist() == [True, True, False]
    assert np.isnan(found.cosine).tolist() == [False, True, True]


@pytest.fixture
def kernel(monkeypatch):
    """Pretends that the kernel can run; the test says what it does."""
    monkeypatch.setattr(triton_path, "can_count", lambda tensor: True)
    monkeypatch.setattr(device_sweep, "LEAST_KERNEL_ENTRIES", 0)
    return lambda count_block: monkeypatch.setattr(triton_path, "count_block", count_block)


def test_the_kernel_counts_where_it_can(kernel):
    before, afters = make_blocks(rows=200)
    kernel_rows = []
    kernel(lambda x, y: kernel_rows.append(len(x)) or torch_path.count_block(x, y))
    findings = sweep_over(before, afters)
    assert_equal_to_the_cpu(findings, before, afters)
    assert kernel_rows == [200, 200]
    assert findings.notes == []


def test_a_small_comparison_does_not_wait_for_the_compiler(kernel, monkeypatch):
    before, afters = make_blocks()
    kernel(lambda x, y: pytest.fail("the kernel was compiled"))
    monkeypatch.setattr(device_sweep, "LEAST_KERNEL_ENTRIES", 20 * 12 * 2 + 1)
    assert_equal_to_the_cpu(sweep_over(before, afters), before, afters)


def test_a_kernel_that_fails_leaves_the_work_to_torch_and_says_so(kernel):
    before, afters = make_blocks()

    def fail(x, y):
        raise ValueError("no compiler\nlong listing")

    kernel(fail)
    findings = sweep_over(before, afters)
    assert_equal_to_the_cpu(findings, before, afters)
    assert findings.notes == [
        "The Triton kernel could not be used (ValueError: no compiler); plain torch operations counted instead."
    ]


def test_a_kernel_that_miscounts_is_found_out_on_the_first_rows(kernel):
    before, afters = make_blocks()
    kernel(lambda x, y: torch_path.count_block(x, y) + (torch.arange(len(x)) == 7).int())
    findings = sweep_over(before, afters)
    assert_equal_to_the_cpu(findings, before, afters)
    assert len(findings.notes) == 1
    assert "its counts were wrong on the first rows" in findings.notes[0]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_a_kernel_out_of_memory_halves_the_block(kernel, error):
    before, afters = make_blocks()

    def count_small_blocks(x, y):
        if len(x) > 10:
            raise error("Triton Error [CUDA]: out of memory")
        return torch_path.count_block(x, y)

    kernel(count_small_blocks)
    findings = sweep_over(before, afters)
    assert_equal_to_the_cpu(findings, before, afters)
    assert findings.notes == ["The device ran out of memory; the block was halved to 10 rows."]


@pytest.mark.parametrize("bytes_per_entry", [torch_path.BYTES_PER_ENTRY, triton_path.BYTES_PER_ENTRY])
@pytest.mark.parametrize("width", [1, 64, 4096, 16_384, 262_144])
def test_blocks_stay_under_two_gigabytes_and_a_third_of_what_is_free(width, bytes_per_entry):
    for free in (2**28, 2**31, 140 * 2**30):
        rows = torch_path.compute_block_rows(width, free, bytes_per_entry)
        assert rows >= 1
        assert rows * width * bytes_per_entry <= min(2 * 10**9, free // 3)
