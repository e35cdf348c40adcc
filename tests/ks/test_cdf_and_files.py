"""CDF steps, and results on disk."""

import dataclasses

import numpy as np
import pytest
import torch

from kslottery_core import compute_ks
from kslottery_core.errors import KSInputError
from kslottery_core.ks import compute_cdf_gap, load_ks_result, save_ks_result


def test_cdf_steps_of_a_hand_made_pair():
    gap = compute_cdf_gap([1, 1, 2, 3], [2, 2, 3, 4])
    assert gap.values.tolist() == [1, 2, 3, 4]
    assert gap.before.tolist() == [0.5, 0.75, 1, 1]
    assert gap.after.tolist() == [0, 0.5, 0.75, 1]
    assert (gap.gap_value, gap.gap_before, gap.gap_after) == (1, 0.5, 0)
    assert (gap.count, gap.statistic) == (2, 0.5)


def test_the_gap_equals_the_engine_count():
    before, after = torch.randn(30, 50).round(decimals=1), torch.randn(30, 50).round(decimals=1)
    counts = compute_ks(before, after, "cpu").counts
    assert [compute_cdf_gap(x, y).count for x, y in zip(before, after, strict=True)] == counts.tolist()


@pytest.mark.parametrize(("before", "after"), [([], []), ([1, 2], [1]), ([1, float("nan")], [1, 2])])
def test_rows_without_a_cdf_are_refused(before, after):
    with pytest.raises(KSInputError, match="rows: expected"):
        compute_cdf_gap(before, after)


def test_a_saved_result_loads_back_equal(tmp_path):
    result = dataclasses.replace(
        compute_ks(torch.randn(6, 9), torch.randn(6, 9), "cpu"), fingerprint_before="aa", notes=("a note",)
    )
    save_ks_result(result, tmp_path / "deep" / "ks.result")  # exactly this name, whatever its ending
    loaded = load_ks_result(tmp_path / "deep" / "ks.result")
    for field in dataclasses.fields(result):
        np.testing.assert_equal(getattr(loaded, field.name), getattr(result, field.name))
    with np.load(tmp_path / "deep" / "ks.result") as file:
        assert file["counts"].dtype.kind == "i"
        assert int(file["width"]) == 9


def test_a_file_that_is_no_result_is_refused(tmp_path):
    (tmp_path / "no.npz").write_text("hello")
    with pytest.raises(KSInputError, match="not a KS result"):
        load_ks_result(tmp_path / "no.npz")
    whole = tmp_path / "whole.npz"
    save_ks_result(compute_ks(torch.zeros(9, 9), torch.ones(9, 9), "cpu"), whole)
    (tmp_path / "torn.npz").write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(KSInputError, match="not a KS result"):
        load_ks_result(tmp_path / "torn.npz")
    with pytest.raises(KSInputError, match="no file there"):
        load_ks_result(tmp_path / "missing.npz")
    with pytest.raises(KSInputError, match="cannot be written"):
        save_ks_result(compute_ks(torch.zeros(1, 1), torch.ones(1, 1), "cpu"), tmp_path / "no.npz" / "ks.npz")
