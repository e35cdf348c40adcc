"""Overlap of tickets, observed and by chance, against enumeration of every subset and against SciPy."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from kslottery_core.errors import TicketError
from kslottery_core.tickets import (
    Ticket,
    compute_expected_jaccard,
    compute_log10_chance,
    compute_overlap,
    create_list_ticket,
)


def make_masks(*tickets, vocabulary_size):
    masks = np.zeros((len(tickets), vocabulary_size), dtype=bool)
    for mask, ids in zip(masks, tickets, strict=True):
        mask[list(ids)] = True
    return masks


def enumerate_pairs(first_size, second_size, vocabulary_size):
    """Intersection and union of every pair of subsets: by symmetry the first one may stay where it is."""
    first = set(range(first_size))
    for second in combinations(range(vocabulary_size), second_size):
        yield len(first & set(second)), len(first | set(second))


@pytest.mark.parametrize("vocabulary_size", [1, 2, 5, 7])
def test_chance_equals_enumeration_of_all_subsets(vocabulary_size):
    for first in range(vocabulary_size + 1):
        for second in range(vocabulary_size + 1):
            pairs = list(enumerate_pairs(first, second, vocabulary_size))
            if first or second:
                mean = sum(Fraction(shared, union) for shared, union in pairs) / len(pairs)
                assert compute_expected_jaccard(first, second, vocabulary_size) == pytest.approx(float(mean), rel=1e-14)
            for least in range(min(first, second) + 1):
                share = Fraction(sum(shared >= least for shared, _ in pairs), len(pairs))
                found = compute_log10_chance(least, first, second, vocabulary_size)
                assert 10**found == pytest.approx(float(share), rel=1e-13)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.data())
def test_chance_equals_scipy(vocabulary_size, data):
    first = data.draw(st.integers(0, vocabulary_size))
    second = data.draw(st.integers(1, vocabulary_size))
    shared = np.arange(max(0, first + second - vocabulary_size), min(first, second) + 1)
    weights = hypergeom(vocabulary_size, first, second).pmf(shared)
    expected = (weights * shared / (first + second - shared)).sum()
    assert compute_expected_jaccard(first, second, vocabulary_size) == pytest.approx(expected, rel=1e-9, abs=1e-300)
    observed = int(data.draw(st.sampled_from(shared.tolist())))
    reference = hypergeom(vocabulary_size, first, second).sf(observed - 1)
    assert 10 ** compute_log10_chance(observed, first, second, vocabulary_size) == pytest.approx(
        reference, rel=1e-9, abs=1e-290
    )


@pytest.mark.parametrize(("first", "second"), [(3000, 3000), (150_000, 150_000), (1, 299_999), (40, 280_000)])
def test_chance_is_stable_at_three_hundred_thousand_tokens(first, second):
    # Moments that are known exactly hold to twelve digits, so the sum's weights do too.
    from kslottery_core.tickets.overlap import _compute_log_chances

    shared, logarithms = _compute_log_chances(first, second, 300_000)
    weights = np.exp(logarithms) / np.exp(logarithms).sum()
    mean = first * second / 300_000
    assert (weights * shared).sum() == pytest.approx(mean, rel=1e-12)
    variance = mean * (1 - second / 300_000) * (300_000 - first) / 299_999
    assert (weights * (shared - mean) ** 2).sum() == pytest.approx(variance, rel=1e-10)
    assert 0 < compute_expected_jaccard(first, second, 300_000) < 1


def test_the_chance_of_equal_large_tickets_is_far_below_the_smallest_double_and_still_a_number():
    # The only way to share all 3,000 is to draw the same set: 1 / C(300000, 3000).
    from math import comb, log10

    assert compute_log10_chance(3000, 3000, 3000, 300_000) == pytest.approx(-log10(comb(300_000, 3000)), rel=1e-12)


def test_random_tickets_meet_as_often_as_expected():
    generator = np.random.default_rng(0)
    found = []
    for _ in range(2000):
        masks = make_masks(*(generator.permutation(200)[:size] for size in (40, 60)), vocabulary_size=200)
        found.append(compute_overlap(masks).jaccard[0, 1])
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - compute_expected_jaccard(40, 60, 200)) < 4 * error


def test_overlap_of_three_tickets_counted_by_hand():
    overlap = compute_overlap(make_masks([0, 1, 2], [1, 2, 3, 4], [2], vocabulary_size=10))
    assert overlap.sizes.tolist() == [3, 4, 1]
    assert overlap.intersections.tolist() == [[3, 2, 1], [2, 4, 1], [1, 1, 1]]
    np.testing.assert_allclose(overlap.jaccard, [[1, 2 / 5, 1 / 3], [2 / 5, 1, 1 / 4], [1 / 3, 1 / 4, 1]])
    assert overlap.holders.tolist() == [1, 2, 3, 1, 1, 0, 0, 0, 0, 0]
    assert (overlap.in_all, overlap.in_any) == (1, 5)
    assert overlap.expected_in_all == pytest.approx(10 * 0.3 * 0.4 * 0.1)
    assert overlap.expected_in_any == pytest.approx(10 * (1 - 0.7 * 0.6 * 0.9))
    # One token of ten lies in a ticket of three in 3 of 10 draws, and the union then has three tokens.
    assert overlap.expected_jaccard[0, 2] == pytest.approx(0.3 / 3)
    assert overlap.chances[0, 2] == pytest.approx(0.3)
    np.testing.assert_array_equal(overlap.expected_jaccard, overlap.expected_jaccard.T)


def test_empty_tickets_have_no_jaccard_among_themselves_and_zero_beside_others():
    overlap = compute_overlap(make_masks([], [], [1], vocabulary_size=4))  # any 0/0 warning would fail this test
    assert np.isnan(overlap.jaccard[0, 1])
    assert np.isnan(overlap.expected_jaccard[0, 1])
    assert np.isnan(overlap.jaccard[0, 0])
    assert (overlap.jaccard[0, 2], overlap.expected_jaccard[0, 2], overlap.chances[0, 2]) == (0, 0, 1)
    assert (overlap.in_all, overlap.in_any) == (0, 1)


def test_tickets_of_every_token_share_all_by_necessity():
    overlap = compute_overlap(np.ones((2, 6), dtype=bool))
    assert (overlap.jaccard[0, 1], overlap.expected_jaccard[0, 1], overlap.chances[0, 1]) == (1, 1, 1)


def test_tickets_and_their_masks_say_the_same():
    tickets = [create_list_ticket(ids, 10) for ids in ([0, 1, 2], [2, 3])]
    from_tickets = compute_overlap(tickets)
    from_masks = compute_overlap(make_masks([0, 1, 2], [2, 3], vocabulary_size=10))
    np.testing.assert_array_equal(from_tickets.jaccard, from_masks.jaccard)
    np.testing.assert_array_equal(from_tickets.holders, from_masks.holders)
    assert from_tickets.notes == ()


def test_tickets_made_in_different_ways_are_told():
    first = Ticket((1,), 10, "alpha", significance_level=0.05, fingerprint_before="a")
    second = Ticket((1,), 10, "alpha", significance_level=0.5, fingerprint_before="b")
    assert [note.split(",")[0] for note in compute_overlap([first, second]).notes] == [
        "The tickets were selected by different rules",
        "The tickets were selected against different before checkpoints.",
    ]


@pytest.mark.parametrize(
    ("tickets", "message"),
    [
        ([], "at least one ticket, found none"),
        ([create_list_ticket([1], 4), create_list_ticket([1], 5)], "found 4 tokens in number 1 and 5 in number 2"),
        ([np.zeros(3, dtype=bool), np.zeros(4, dtype=bool)], "found 3 tokens in number 1 and 4 in number 2"),
        (np.zeros((2, 3)), "boolean masks of shape"),
        (np.zeros((2, 3, 4), dtype=bool), "boolean masks of shape"),
        ([np.zeros(0, dtype=bool)], "boolean masks of shape"),
        ([create_list_ticket([1], 4), np.zeros(4, dtype=bool)], "found both"),
    ],
)
def test_what_cannot_be_compared_is_refused(tickets, message):
    with pytest.raises(TicketError, match=message):
        compute_overlap(tickets)


@pytest.mark.parametrize("sizes", [(-1, 2, 5), (2, 6, 5), (0, 0, 0)])
def test_sizes_outside_the_vocabulary_are_refused(sizes):
    with pytest.raises(TicketError, match="expected ticket sizes"):
        compute_expected_jaccard(*sizes)
