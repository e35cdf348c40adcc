"""The exact p-value table against arithmetic without rounding, from d = 1 to 65,536 and down to the smallest double."""

import time
from collections.abc import Iterable
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from kslottery_core.ks import compute_p_values

SMALLEST_NORMAL = Fraction(2) ** -1022
SMALLEST_DOUBLE = Fraction(2) ** -1074


def compute_rational_p(width: int, counts: Iterable[int], last_ratio: int | None = None) -> dict[int, Fraction]:
    """The closed form in integers: C(2d, d - m) by its exact recurrence, each alternating sum divided once, at its end.

    The sums stop after m = `last_ratio`; their terms fall, so what is left out is below the first term left out.
    """
    last_ratio = last_ratio or width
    uses: dict[int, list[tuple[int, int]]] = {}
    for count in counts:
        for number, m in enumerate(range(count, last_ratio + 1, count)):
            uses.setdefault(m, []).append((count, 1 - 2 * (number % 2)))
    sums = dict.fromkeys(counts, 0)
    whole = ways = comb(2 * width, width)
    for m in range(1, last_ratio + 1):
        ways = ways * (width - m + 1) // (width + m)
        for count, sign in uses.get(m, ()):
            sums[count] += sign * ways
    return {count: Fraction(2 * total, whole) for count, total in sums.items()}


def measure_relative_error(found: float, exact: Fraction) -> float:
    return float(abs(Fraction(float(found)) - exact) / exact)


def test_every_count_at_every_width_up_to_200_equals_the_closed_form_in_fractions():
    worst = 0.0
    for width in range(1, 201):
        table = compute_p_values(width)
        assert table.shape == (width + 1,)
        assert table[0] == 1
        exact = compute_rational_p(width, range(1, width + 1))
        worst = max(worst, *(measure_relative_error(table[count], p) for count, p in exact.items()))
    assert worst < 5e-15  # 2.2e-15 was measured, ten times the spacing of doubles


@pytest.mark.parametrize("width", [1, 2, 5])
def test_the_closed_form_is_the_share_of_orderings(width):
    # Every ordering of d before and d after values is a lattice path of 2d steps; D >= k/d when it strays k from 0.
    extremes = []

    def walk(up, down, height, extreme):
        if up == down == 0:
            extremes.append(extreme)
        for step, left in ((1, up), (-1, down)):
            if left:
                new = height + step
                walk(up - (step == 1), down - (step == -1), new, max(extreme, abs(new)))

    walk(width, width, 0, 0)
    exact = compute_rational_p(width, range(1, width + 1))
    for count in range(1, width + 1):
        assert exact[count] == Fraction(sum(extreme >= count for extreme in extremes), len(extremes))


@pytest.mark.parametrize("width", [576, 4096, 8192, 16_384, 65_536])
def test_wide_tables_keep_their_precision_down_to_the_smallest_double(width):
    table = compute_p_values(width)
    last = int(np.flatnonzero(table)[-1])
    around = np.arange(max(last - 60, 2), min(last + 3, width) + 1)  # through the subnormal doubles to 0
    spread = np.append(np.linspace(2, last, 25), np.geomspace(2, last, 25)).astype(int)
    counts = sorted({*around.tolist(), *spread.tolist()})
    last_ratio = min(width, 2 * last + 2)  # r(2 last) is about 1e-1290: nothing beside any p sampled here
    exact = compute_rational_p(width, counts, last_ratio)
    subnormal = 0
    for count, p in exact.items():
        rounding = SMALLEST_DOUBLE / 2 if p < SMALLEST_NORMAL else 0
        subnormal += p < SMALLEST_NORMAL
        error = abs(Fraction(float(table[count])) - p)
        assert error <= p * Fraction(2, 10**14) + rounding, (count, float(error / p))
    assert subnormal > 10
    if last < width:
        assert exact[last + 1] <= SMALLEST_DOUBLE / 2 < exact[last]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 65_536))
def test_tables_are_finite_start_at_one_and_never_rise(width):
    table = compute_p_values.__wrapped__(width)
    assert table[0] == table[1] == 1
    assert np.isfinite(table).all()
    assert ((table >= 0) & (table <= 1)).all()
    assert (np.diff(table) <= 0).all()
    # Complete separation is one ordering of C(2d, d) either way, so the last p is known by itself.
    separated = float(Fraction(2, comb(2 * width, width))) if width > 1 else 1.0
    assert table[width] == pytest.approx(separated, rel=2e-14, abs=1e-323)
    # p(k) = 2 r(k) without further terms beyond k = d/2; r falls strictly there, so p does until it leaves the doubles.
    upper = table[width // 2 + 1 :]
    positive = upper[upper > 1e-300]
    assert (np.diff(positive) < 0).all()


@pytest.mark.parametrize("width", [1, 2, 3, 10, 64, 257])
def test_scipy_agrees_at_every_count_where_it_is_exact(width):
    table = compute_p_values(width)
    before = np.arange(width, dtype=float)
    compared = 0
    for count in range(1, width + 1):
        after = before + count - 0.5  # shifted past exactly `count` values
        try:
            reference = ks_2samp(before, after, method="exact")
        except RuntimeWarning:  # SciPy says that its exact calculation did not succeed
            continue
        assert round(reference.statistic * width) == count
        assert table[count] == pytest.approx(reference.pvalue, rel=1e-9, abs=1e-300)
        compared += 1
    assert compared > 0.8 * width


def test_the_largest_table_takes_far_less_than_a_second():
    started = time.perf_counter()
    compute_p_values.__wrapped__(65_536)
    assert time.perf_counter() - started < 1  # 0.01 s was measured on an idle core
