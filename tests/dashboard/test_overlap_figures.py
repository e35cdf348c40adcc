from itertools import product

import numpy as np
import pytest

from dashboard.palette import NEUTRAL, WINNER
from dashboard.views.tokens.overlap_figure import (
    MOST_COLUMNS,
    OverlapSets,
    find_members,
    overlap_sets_figure,
    summarise_agreement,
    summarise_overlap_sets,
)

NAMES = ("Present ticket", "α = 0.5", "Frequent <b>")
MEMBERS = ({1, 2, 3, 7}, {1, 2, 3, 4, 7, 8}, {3, 4, 9, 11})


def make_masks(members, size=12):
    masks = np.zeros((len(members), size), dtype=bool)
    for mask, ids in zip(masks, members, strict=True):
        mask[list(ids)] = True
    return masks


def count_by_hand(members, pattern):
    """The tokens that exactly these sets hold, by Python's sets."""
    inside = [ids for ids, held in zip(members, pattern, strict=True) if held]
    outside = [ids for ids, held in zip(members, pattern, strict=True) if not held]
    return set.intersection(*inside) - set().union(*outside)


def test_every_combination_is_counted_exactly():
    assert summarise_overlap_sets(NAMES, make_masks(MEMBERS)) == OverlapSets(
        names=NAMES,
        sizes=(4, 6, 4),
        patterns=(
            (True, True, False),
            (False, False, True),
            (True, True, True),
            (False, True, True),
            (False, True, False),
        ),
        counts=(3, 2, 1, 1, 1),
        vocabulary_size=12,
    )


@pytest.mark.parametrize("seed", range(5))
def test_counts_and_members_are_those_of_set_operations(seed):
    generator = np.random.default_rng(seed)
    members = [set(generator.choice(300, size=int(generator.integers(0, 200)), replace=False)) for _ in range(5)]
    masks = make_masks(members, 300)
    summary = summarise_overlap_sets([f"set {number}" for number in range(5)], masks)
    expected = {
        pattern: found
        for pattern in product((True, False), repeat=5)
        if any(pattern) and (found := count_by_hand(members, pattern))
    }
    assert dict(zip(summary.patterns, summary.counts, strict=True)) == {p: len(f) for p, f in expected.items()}
    assert list(summary.counts) == sorted(summary.counts, reverse=True)
    assert summary.union == len(set().union(*members))
    for pattern in summary.patterns:
        assert set(find_members(masks, pattern).tolist()) == expected[pattern]


def test_a_token_in_no_set_is_no_combination():
    summary = summarise_overlap_sets(("a", "b"), np.zeros((2, 5), dtype=bool))
    assert (summary.patterns, summary.counts, summary.union, summary.left_out) == ((), (), 0, (0, 0))


def test_the_picture_tells_what_it_leaves_out():
    members = [{code for code in range(64) if code >> bit & 1} for bit in range(6)]
    summary = summarise_overlap_sets([str(bit) for bit in range(6)], make_masks(members, 64))
    assert len(summary.patterns) == 63
    assert summary.left_out == (63 - MOST_COLUMNS, 63 - MOST_COLUMNS)
    traces = {trace.name: trace for trace in overlap_sets_figure(summary).data}
    assert len(traces["In the present ticket"].x) + len(traces["Not in it"].x) == MOST_COLUMNS
    assert len(traces["Columns"].x) == MOST_COLUMNS


def test_agreement_is_jaccard_beside_chance():
    rows = summarise_agreement(NAMES, make_masks(MEMBERS))
    assert [(row.name, row.size, row.shared) for row in rows] == [("α = 0.5", 6, 4), ("Frequent <b>", 4, 1)]
    assert [row.jaccard for row in rows] == [4 / 6, 1 / 7]
    # Two sets of 4 among 12: the expectation over all C(12, 4) second sets, by hand.
    from math import comb

    expected = sum(comb(4, i) * comb(8, 4 - i) / comb(12, 4) * i / (8 - i) for i in range(5))
    assert rows[1].expected == pytest.approx(expected, rel=1e-12)


def test_two_empty_sets_have_no_jaccard():
    (row,) = summarise_agreement(("a", "b"), np.zeros((2, 5), dtype=bool))
    assert (row.jaccard, row.expected) == (None, None)


def test_the_picture_draws_bars_dots_and_sizes():
    figure = overlap_sets_figure(summarise_overlap_sets(NAMES, make_masks(MEMBERS)), chosen=2)
    traces = {trace.name: trace for trace in figure.data}
    inside, outside = traces["In the present ticket"], traces["Not in it"]
    assert (tuple(inside.x), tuple(inside.y), inside.marker.color) == ((0, 2), (3, 1), WINNER)
    assert (tuple(outside.x), tuple(outside.y), outside.marker.color) == ((1, 3, 4), (2, 1, 1), NEUTRAL)
    assert (tuple(traces["Listed below"].x), tuple(traces["Listed below"].y)) == ((2,), (1,))
    columns = traces["Columns"]
    assert tuple(columns.customdata) == (0, 1, 2, 3, 4)
    assert columns.hovertext[0] == "3 tokens: Present ticket and α = 0.5"
    assert columns.hovertext[1] == "2 tokens: only Frequent &lt;b&gt;"
    assert tuple(traces["Size of each set"].x) == (4, 6, 4)
    dots = traces["Dots"]
    filled = {
        (x, y) for x, y, colour in zip(dots.x, dots.y, dots.marker.color, strict=True) if colour in (WINNER, NEUTRAL)
    }
    assert filled == {(0, 0), (0, 1), (1, 2), (2, 0), (2, 1), (2, 2), (3, 1), (3, 2), (4, 1)}
    titles = {axis.title.text for axis in figure.select_xaxes()} | {axis.title.text for axis in figure.select_yaxes()}
    assert {"Tokens in exactly these sets", "Tokens in the set", "Combinations of sets, most tokens first"} <= titles
    assert "Frequent &lt;b&gt;" in figure.layout.yaxis3.ticktext
