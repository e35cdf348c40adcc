"""Several checkpoints against one: equal to the pairs one by one, over the rows all have, and kept on disk."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from kslottery_core.errors import KSInputError
from kslottery_core.ks import (
    KSSeries,
    compute_ks,
    compute_series_ks,
    load_ks_result,
    load_ks_series,
    save_ks_result,
    save_ks_series,
)

ARRAYS = ("counts", "changed", "l2_shift", "cosine", "mean_shift", "spread_ratio")


@dataclass
class FakeMatrix:
    """Rows in memory with what a series asks of an embedding matrix; counts how often each row is read."""

    rows: torch.Tensor
    source: str = "fake"
    rows_read: int = 0

    @property
    def shape(self):
        return tuple(self.rows.shape)

    @property
    def fingerprint(self):
        return str(hash(self.rows.numpy().tobytes()))

    def read_rows(self, start, stop):
        assert stop <= self.shape[0]
        self.rows_read += stop - start
        return self.rows[start:stop]


def make_afters(before, *scales):
    generator = torch.Generator().manual_seed(1)
    moved = torch.randn(before.shape, generator=generator) * (torch.arange(len(before)) % 3 == 0)[:, None]
    return [before + scale * moved for scale in scales]


@pytest.fixture
def before():
    return torch.randn(60, 24, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def series(before):
    afters = make_afters(before, 0.5, 1.0, 4.0)
    return compute_series_ks(
        FakeMatrix(before),
        [FakeMatrix(after, f"run/step_{step}") for after, step in zip(afters, (10, 20, 40), strict=True)],
        "cpu",
        labels=("a", "b", "c"),
        steps=(10, 20, 40),
    )


def assert_equal_results(found, expected):
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.width == expected.width


def test_a_series_equals_its_pairs_one_by_one(before, series):
    for result, after in zip(series.results, make_afters(before, 0.5, 1.0, 4.0), strict=True):
        assert_equal_results(result, compute_ks(before, after, "cpu"))
        assert result.fingerprint_before == FakeMatrix(before).fingerprint
        assert result.fingerprint_after == FakeMatrix(after).fingerprint
    assert (series.vocabulary_size, series.width) == (60, 24)


def test_the_before_rows_are_read_once_however_many_afters(before):
    matrix = FakeMatrix(before)
    compute_series_ks(matrix, [FakeMatrix(after) for after in make_afters(before, 1, 2, 3, 4)], "cpu")
    assert matrix.rows_read == 60


def test_only_the_rows_that_all_have_are_compared(before):
    longer, shorter = torch.cat((before + 1, torch.randn(5, 24))), before[:50] + 1
    series = compute_series_ks(FakeMatrix(before), [FakeMatrix(longer), FakeMatrix(shorter)], "cpu")
    assert series.vocabulary_size == 50
    assert_equal_results(series.results[0], series.results[1])
    assert series.labels == ("fake", "fake")
    assert series.steps == (None, None)


def test_growth_is_d_of_the_named_tokens_in_every_checkpoint(series):
    growth = series.get_statistics([3, 0, 1])
    assert growth.shape == (3, 3)
    for at, result in enumerate(series.results):
        np.testing.assert_array_equal(growth[at], result.statistics[[3, 0, 1]])
    assert (growth[:, 2] == 0).all()  # row 1 never moved
    assert series.get_statistics([]).shape == (3, 0)
    with pytest.raises(KSInputError, match="from 0 to 59, found 60"):
        series.get_statistics([60])
    with pytest.raises(KSInputError, match="found -1"):
        series.get_statistics([-1])


def test_growth_over_steps_is_the_last_d_minus_the_first(series):
    assert series.step_range == (10, 40)
    expected = series.results[2].statistics - series.results[0].statistics
    np.testing.assert_allclose(series.compute_growth(), expected, atol=1e-15)
    given_backwards = KSSeries(series.results[::-1], series.labels, series.steps[::-1])
    np.testing.assert_allclose(given_backwards.compute_growth(), expected, atol=1e-15)


def test_growth_takes_the_mean_of_seeds_at_one_step(series):
    first, second, third = series.results
    seeds = KSSeries((first, second, third), ("a", "b", "c"), (10, 40, 40))
    expected = (second.statistics + third.statistics) / 2 - first.statistics
    np.testing.assert_allclose(seeds.compute_growth(), expected, atol=1e-15)


def test_a_checkpoint_of_unknown_step_is_left_out_of_growth(series):
    partly = KSSeries(series.results, series.labels, (10, None, 30))
    assert partly.step_range == (10, 30)
    first, _, last = series.results
    assert partly.compute_growth() == pytest.approx(last.statistics - first.statistics)


@pytest.mark.parametrize("steps", [(None, None, None), (10, None, None), (10, 10, None), (10, 10, 10)])
def test_no_growth_without_two_known_steps(series, steps):
    unknown = KSSeries(series.results, series.labels, steps)
    assert unknown.step_range is None
    assert unknown.compute_growth() is None


def test_checkpoints_with_the_same_rows_are_told(before):
    after = before + 1
    series = compute_series_ks(
        FakeMatrix(before),
        [FakeMatrix(after), FakeMatrix(before * 2), FakeMatrix(after)],
        "cpu",
        labels=("x", "y", "x (2)"),
    )
    assert series.notes == ("x and x (2) hold the same rows, so their results are equal and count as one observation.",)


def test_a_series_survives_its_file(tmp_path, series):
    odd = KSSeries(
        (replace(series.results[0], seconds=None, fingerprint_after=None, notes=("é", "two")), *series.results[1:]),
        ("é", "b", "c"),
        (None, 20, 0),
    )
    save_ks_series(odd, tmp_path / "new" / "series")
    back = load_ks_series(tmp_path / "new" / "series")
    assert (back.labels, back.steps) == (odd.labels, odd.steps)
    for found, expected in zip(back.results, odd.results, strict=True):
        assert_equal_results(found, expected)
        assert found.counts.dtype == np.int32
        for name in ("device", "seconds", "fingerprint_before", "fingerprint_after", "notes"):
            assert getattr(found, name) == getattr(expected, name)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["series"]


def test_files_of_another_kind_are_refused(tmp_path, series):
    save_ks_result(series.results[0], tmp_path / "one.npz")
    save_ks_series(series, tmp_path / "several.npz")
    (tmp_path / "torn.npz").write_bytes((tmp_path / "several.npz").read_bytes()[:300])
    for name in ("one.npz", "torn.npz"):
        with pytest.raises(KSInputError, match="not a series that"):
            load_ks_series(tmp_path / name)
    with pytest.raises(KSInputError, match="not a KS result that"):
        load_ks_result(tmp_path / "several.npz")
    with pytest.raises(KSInputError, match="found no file there"):
        load_ks_series(tmp_path / "none.npz")
    (tmp_path / "file").touch()
    with pytest.raises(KSInputError, match="cannot be written there"):
        save_ks_series(series, tmp_path / "file" / "s.npz")


def test_results_that_do_not_belong_together_are_refused(before, series):
    narrow = compute_ks(before[:, :8], before[:, :8] + 1, "cpu")
    with pytest.raises(KSInputError, match="60 rows of width 24 in number 1 and 60 of 8 in number 2"):
        KSSeries((series.results[0], narrow), ("a", "b"), (None, None))
    with pytest.raises(KSInputError, match="found 1 results, 2 labels and 1 steps"):
        KSSeries(series.results[:1], ("a", "b"), (None,))
    with pytest.raises(KSInputError, match="found 0 results"):
        KSSeries((), (), ())
    with pytest.raises(KSInputError, match="at least one matrix"):
        compute_series_ks(FakeMatrix(before), [])
