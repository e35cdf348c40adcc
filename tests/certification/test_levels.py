"""The decision itself: by hand, and on models for which the KS bound is a theorem."""

import numpy as np
from scipy.special import expit
from scipy.stats import ks_2samp

from kslottery_core.certification import EXACT, KS_BOUND, LEVELS, Evidence, decide_levels
from kslottery_core.ks import compute_ks


def decide(margins, left_behind, counts, width=10):
    evidence = Evidence(np.array(margins, dtype=float), np.array(left_behind), np.array(counts), width)
    return {name: certified.tolist() for name, certified in decide_levels(evidence).items()}


def test_the_bound_is_strict_and_exact_needs_no_margin():
    decided = decide([0.4, 0.41, 0.0, 0.0, 0.5], [1, 1, 0, 1, 2], [2, 2, 0, 0, 3])
    assert decided[EXACT] == [False, False, True, False, False]
    assert decided[KS_BOUND] == [False, True, True, False, False]  # 2 * 2 / 10 is 0.4; a tie is no margin


def test_a_prediction_that_is_no_number_is_certified_at_no_level():
    decided = decide([np.nan, np.nan], [0, 1], [0, 0])
    assert list(decided.values()) == [[False, False]] * len(LEVELS)


def test_levels_take_over_what_the_one_before_certifies():
    generator = np.random.default_rng(0)
    left = generator.integers(0, 3, 1000)
    decided = decide_levels(Evidence(generator.random(1000), left, left * generator.integers(0, 5, 1000), 10))
    assert (decided[KS_BOUND] >= decided[EXACT]).all()
    assert 0 < decided[EXACT].sum() < decided[KS_BOUND].sum() < 1000


def draw_monotone_models(draws, rows, width, generator):
    """p_A of a model that depends on each of its rows as a mean over coordinates of a monotone function in [0, 1].

    p_A = product over rows of mean_j g(x_j), g a logistic function, some as sharp as a step, rising or falling. For
    fixed other rows it is the mean over this row's coordinates of g times a constant in [0, 1]. p_B = 1 - p_A.
    """
    before = generator.normal(size=(draws, rows, width))
    moved = generator.random((draws, rows, 1)) ** 3
    after = before + moved * (generator.normal(size=(draws, rows, 1)) + generator.normal(size=before.shape))
    slope = generator.choice([-1, 1], (draws, rows, 1)) * 10 ** generator.uniform(0, 3, (draws, rows, 1))
    middle = generator.normal(size=(draws, rows, 1)) - 1.5 * np.sign(slope)
    return before, after, [expit(slope * (x - middle)).mean(axis=2).prod(axis=1) for x in (before, after)]


def test_no_violation_in_ten_thousand_models_of_monotone_response():
    generator = np.random.default_rng(7)
    draws, rows, width = 10_000, 2, 48
    before, after, (p_before, p_after) = draw_monotone_models(draws, rows, width, generator)
    counts = compute_ks(before.reshape(-1, width), after.reshape(-1, width), "cpu").counts.astype(np.int64)
    for at in generator.integers(0, draws * rows, 50):  # D is SciPy's
        found = ks_2samp(before.reshape(-1, width)[at], after.reshape(-1, width)[at], method="asymp").statistic
        assert round(found * width) == counts[at]
    sums = counts.reshape(draws, rows).sum(axis=1)
    evidence = Evidence(np.abs(2 * p_after - 1), np.full(draws, rows), sums, width)
    certified = decide_levels(evidence)[KS_BOUND]
    differs = (p_before > 0.5) != (p_after > 0.5)
    assert certified.sum() > 2000
    assert differs.sum() > 200
    assert not (certified & differs).any()
    # With half the bound the same draws do show violations, so this test could have failed.
    halved = decide_levels(Evidence(evidence.margins, evidence.left_behind, sums, 2 * width))[KS_BOUND]
    assert (halved & differs).any()
