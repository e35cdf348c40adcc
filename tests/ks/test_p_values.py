"""p-values against exact rational arithmetic and SciPy."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from scipy.stats import ks_2samp

from kslottery_core.errors import KSInputError
from kslottery_core.ks import (
    compute_asymptotic_p_values,
    compute_least_detectable_count,
    compute_p_values,
    compute_tau,
)


def compute_rational_p(count: int, width: int) -> Fraction:
    if count == 0:
        return Fraction(1)
    terms = (
        (-1) ** (j + 1) * Fraction(comb(2 * width, width - j * count), comb(2 * width, width))
        for j in range(1, width // count + 1)
    )
    return min(Fraction(1), 2 * sum(terms, Fraction(0)))


@pytest.mark.parametrize("width", [1, 2, 3, 7, 16, 61, 128, 200])
def test_p_values_equal_exact_fractions(width):
    table = compute_p_values(width)
    expected = np.array([float(compute_rational_p(count, width)) for count in range(width + 1)])
    np.testing.assert_allclose(table, expected, rtol=1e-12)


def test_p_of_four_coordinates_is_the_share_of_orderings_counted_by_hand():
    # d = 2: of the 6 orderings of two x and two y, two separate them fully (D = 1) and every one has D >= 1/2.
    np.testing.assert_allclose(compute_p_values(2), [1, 1, 2 / 6], rtol=1e-15)


@pytest.mark.parametrize("width", [576, 4096])
def test_p_values_equal_scipy_exact(width):
    generator = np.random.default_rng(width)
    before = generator.normal(size=width)
    compared = 0
    for scale in (0.02, 0.1, 0.3, 0.8):
        after = before + scale * generator.normal(size=width) + scale / 5
        try:
            reference = ks_2samp(before, after, method="exact")
        except RuntimeWarning:  # SciPy falls back at some counts; those are no reference
            continue
        count = round(reference.statistic * width)
        assert compute_p_values(width)[count] == pytest.approx(reference.pvalue, rel=1e-9)
        compared += 1
    assert compared >= 2


@pytest.mark.parametrize("width", [1, 5, 576, 4096, 65_536])
def test_p_values_start_at_one_never_rise_and_stay_positive_or_underflow(width):
    table = compute_p_values(width)
    assert table[0] == 1
    assert (np.diff(table) <= 0).all()
    assert (table >= 0).all()


def test_known_thresholds_at_the_paper_width():
    assert compute_least_detectable_count(4096, 0.05) == 123
    assert compute_least_detectable_count(4096, 0.5) == 75
    assert compute_least_detectable_count(4096, 0.95) == 48


def test_no_count_is_significant_when_the_width_is_too_small():
    assert compute_least_detectable_count(2, 0.05) is None


def test_tau_is_the_count_at_which_the_asymptotic_p_reaches_alpha():
    tau = compute_tau(4096, 0.05)
    assert tau == pytest.approx(1.3581 * np.sqrt(2 / 4096), rel=1e-4)
    least = compute_least_detectable_count(4096, 0.05, "asymptotic")
    assert (least - 1) / 4096 < tau <= least / 4096


def test_asymptotic_p_is_capped_at_one():
    assert compute_asymptotic_p_values(100)[0] == 1


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 2, float("nan"), "0.05", None])
def test_alpha_outside_zero_to_one_is_refused(alpha):
    with pytest.raises(KSInputError, match="0 < alpha < 1"):
        compute_tau(10, alpha)


def test_unknown_method_and_zero_width_are_refused():
    with pytest.raises(KSInputError, match="exact, asymptotic"):
        compute_least_detectable_count(10, 0.05, "magic")
    with pytest.raises(KSInputError, match="at least 1"):
        compute_p_values(0)
    with pytest.raises(KSInputError, match="at least 1"):
        compute_asymptotic_p_values(0)
