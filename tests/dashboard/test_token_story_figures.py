from fractions import Fraction

import numpy as np
import pytest

from dashboard.palette import AFTER, BEFORE, MARK, SERIES
from dashboard.views.tokens.figures import (
    cdf_difference_figure,
    coordinate_shift_figure,
    describe_coordinate_shifts,
    describe_shared,
    mark_spans,
    occurrences_figure,
    sorted_shift_figure,
    summarise_coordinate_shifts,
    summarise_overlaid_token,
    summarise_place,
)
from dashboard.views.tokens.neighbours_figure import (
    describe_neighbour_changes,
    neighbour_figure,
    summarise_neighbour_changes,
)
from kslottery_core.corpora import Occurrence, TokenOccurrences
from kslottery_core.ks import compute_cdf_gap
from kslottery_core.neighbours import Neighbours
from kslottery_core.tickets import compute_ticket_curve, compute_ticket_mask, select_top_k_ticket

BEFORE_ROW = np.array([0.0, 1.0, 2.0, 3.0])
AFTER_ROW = np.array([0.0, 4.0, 1.0, 3.5])  # shifts 0, +3, -1, +0.5: squares 0, 9, 1, 0.25


def read_axis_titles(figure):
    return figure.layout.xaxis.title.text, figure.layout.yaxis.title.text


def test_shifts_are_sorted_and_the_furthest_coordinates_are_named():
    summary = summarise_coordinate_shifts(BEFORE_ROW, AFTER_ROW, named=2)
    assert summary.shifts.tolist() == [-1.0, 0.0, 0.5, 3.0]
    assert summary.coordinates.tolist() == [2, 0, 3, 1]
    assert [(one.coordinate, one.place, one.before, one.after, one.shift) for one in summary.largest] == [
        (1, 3, 1.0, 4.0, 3.0),
        (2, 0, 2.0, 1.0, -1.0),
    ]
    assert summary.largest_share == pytest.approx(float(Fraction(10) / Fraction(41, 4)), abs=1e-15)
    assert summary.half_count == 1
    assert summary.l2_shift == pytest.approx(np.sqrt(10.25), abs=1e-15)


def test_half_of_an_even_shift_lies_in_half_of_the_coordinates():
    summary = summarise_coordinate_shifts(np.zeros(8), np.array([1.0, -1, 1, -1, 1, -1, 1, -1]))
    assert summary.half_count == 4
    assert [one.coordinate for one in summary.largest] == [0, 1, 2, 3, 4]  # equal shifts: the first ones
    assert summary.largest_share == 5 / 8


def test_a_row_that_stayed_names_no_coordinate():
    summary = summarise_coordinate_shifts(BEFORE_ROW, BEFORE_ROW)
    assert (summary.largest, summary.largest_share, summary.half_count, summary.l2_shift) == ((), None, None, 0.0)
    assert describe_coordinate_shifts(summary) == "No coordinate of this row moved."
    assert len(coordinate_shift_figure(summary).data) == 1


def test_very_small_shifts_still_have_shares():
    summary = summarise_coordinate_shifts(np.zeros(3), np.array([3e-200, 4e-200, 0.0]))
    assert summary.largest_share == 1.0
    assert summary.l2_shift == pytest.approx(5e-200)
    assert summary.half_count == 1


def test_the_shift_figure_shows_every_coordinate_and_marks_the_named_ones():
    figure = coordinate_shift_figure(summarise_coordinate_shifts(BEFORE_ROW, AFTER_ROW, named=2))
    every, named = figure.data
    assert list(every.x) == [1, 2, 3, 4]
    assert list(every.y) == [-1.0, 0.0, 0.5, 3.0]
    assert (list(named.x), list(named.y)) == ([4, 1], [3.0, -1.0])
    assert named.marker.color == MARK
    assert "4 coordinates" in read_axis_titles(figure)[0]
    assert all(read_axis_titles(figure))


def test_the_shift_in_words_names_coordinates_and_shares():
    words = describe_coordinate_shifts(summarise_coordinate_shifts(BEFORE_ROW, AFTER_ROW, named=2))
    assert "1 (+3), 2 (-1)" in words
    assert "97.6 % of the squared L2 shift" in words
    assert "evenly spread it would be 50 %" in words
    assert "Half of it lies in 1 coordinate of 4" in words
    assert "The only coordinate" in describe_coordinate_shifts(summarise_coordinate_shifts([0.0, 1], [0.0, 2]))


def overlay(token_id, before, after, label="x"):
    before, after = np.array(before, dtype=float), np.array(after, dtype=float)
    return summarise_overlaid_token(token_id, label, compute_cdf_gap(before, after), before, after)


def test_an_overlaid_token_holds_the_exact_difference_and_its_gap():
    token = overlay(7, [0, 1, 2], [1, 2, 3])
    assert token.values.tolist() == [0, 1, 2, 3]
    assert token.differences.tolist() == [-1 / 3, -1 / 3, -1 / 3, 0]
    assert (token.gap_value, token.gap) == (0.0, -1 / 3)
    assert token.shifts.tolist() == [1, 1, 1]
    down = overlay(8, [1, 2, 3], [0, 1, 1])
    assert (down.gap_value, down.gap) == (1.0, 2 / 3)
    assert down.shifts.tolist() == [-2, -1, -1]


def test_the_overlay_draws_a_line_and_a_gap_for_each_token():
    tokens = [overlay(7, [0, 1, 2], [1, 2, 3], "<b>"), overlay(8, [1, 2, 3], [0, 1, 1]), overlay(9, [5, 6], [5, 6])]
    figure = cdf_difference_figure(tokens)
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    gaps = [trace for trace in figure.data if trace.mode == "markers"]
    assert [trace.name for trace in lines] == ["&lt;b&gt; (7)", "x (8)", "x (9)"]
    assert [trace.line.color for trace in lines] == list(SERIES[:3])
    assert lines[0].line.shape == "hv"
    assert list(lines[0].y) == [0, -1 / 3, -1 / 3, -1 / 3, 0, 0]
    assert [(trace.x[0], trace.y[0], trace.marker.color) for trace in gaps] == [
        (0.0, -1 / 3, SERIES[0]),
        (1.0, 2 / 3, SERIES[1]),
    ]
    assert {trace.x[0] for trace in lines} == {-0.24}  # every line begins and ends where all of them do
    assert all(read_axis_titles(figure))


def test_a_label_is_never_read_as_a_template():
    token = overlay(7, [0, 1, 2], [1, 2, 3], "%{y}")
    figures = [cdf_difference_figure([token]), sorted_shift_figure([token])]
    for trace in (trace for figure in figures for trace in figure.data):
        assert trace.name == "%{y} (7)"
        assert trace.hovertemplate.endswith("<extra>%{fullData.name}</extra>")
        assert "(7)" not in trace.hovertemplate
    assert figures[0].data[1].customdata[0] == "largest gap D = 0.3333"


def test_the_overlaid_shifts_are_sorted_lines_of_the_same_colours():
    figure = sorted_shift_figure([overlay(7, [0, 1, 2], [3, 2, 1]), overlay(8, [1, 2, 3], [0, 1, 1])])
    assert [list(trace.y) for trace in figure.data] == [[-1, 1, 3], [-2, -1, -1]]
    assert list(figure.data[0].x) == [1, 2, 3]
    assert [trace.line.color for trace in figure.data] == list(SERIES[:2])
    assert "3 coordinates" in read_axis_titles(figure)[0]


def make_neighbours(ids, cosines):
    return Neighbours(0, np.array(ids, dtype=np.int64), np.array(cosines, dtype=float))


@pytest.fixture
def changes():
    before = make_neighbours([4, 5, 6], [0.9, 0.8, 0.7])
    after = make_neighbours([5, 9, 4], [0.95, 0.6, 0.5])
    return summarise_neighbour_changes(before, after, 3, {9: 0.1}, {6: 0.4})


def test_neighbours_of_both_sides_are_held_against_each_other(changes):
    rows = [(one.token_id, one.rank_before, one.rank_after, one.change) for one in changes.neighbours]
    assert rows == [(4, 1, 3, "stayed"), (5, 2, 1, "stayed"), (6, 3, None, "left"), (9, None, 2, "entered")]
    assert [(one.cosine_before, one.cosine_after) for one in changes.neighbours] == [
        (0.9, 0.5),
        (0.8, 0.95),
        (0.7, 0.4),
        (0.1, 0.6),
    ]
    assert describe_neighbour_changes(changes) == (
        "Of the 3 nearest tokens before, 2 are among the 3 nearest after; 1 token entered and 1 left."
    )


def test_the_neighbour_figure_joins_those_that_stayed(changes):
    labels = [f"t{number}" for number in range(10)]
    labels[9] = "<i>"
    figure = neighbour_figure(changes, labels)
    stayed, entered, left = figure.data
    assert [trace.name for trace in figure.data] == ["Stayed (2)", "Entered (1)", "Left (1)"]
    assert list(stayed.x) == [0, 1, None, 0, 1, None]
    assert list(stayed.y) == [1, 3, None, 2, 1, None]
    assert (list(entered.x), list(entered.y), entered.line.color) == ([1, None], [2, None], AFTER)
    assert (list(left.x), list(left.y), left.line.color) == ([0, None], [3, None], BEFORE)
    assert entered.text[0].split() == ["&lt;i&gt;", "0.600"]
    assert stayed.text[0].split() == ["0.900", "t4"]
    assert len({stayed.marker.symbol, entered.marker.symbol, left.marker.symbol}) == 3
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]  # the nearest stands on top
    assert all(read_axis_titles(figure))


def test_the_same_neighbours_and_none_are_told():
    same = make_neighbours([4, 5], [0.9, 0.8])
    assert "The same 2 tokens are nearest" in describe_neighbour_changes(summarise_neighbour_changes(same, same, 10))
    none = make_neighbours([], [])
    assert "points nowhere" in describe_neighbour_changes(summarise_neighbour_changes(none, none, 10))


def test_the_place_of_a_token_agrees_with_the_tickets(result):
    for correction in ("none", "bonferroni", "holm", "bh"):
        curve = compute_ticket_curve(result, correction)
        for token_id in range(result.vocabulary_size):
            place = summarise_place(result, curve, token_id, 1e-12, 0.999)
            if place.least_level is not None:
                assert compute_ticket_mask(result, place.least_level, correction)[token_id]
                if place.least_level > 1e-12:
                    lower = place.least_level * (1 - 1e-3)
                    assert not compute_ticket_mask(result, lower, correction)[token_id]
            if place.least_size is None:
                assert result.counts[token_id] == 0
            else:
                assert token_id in select_top_k_ticket(result, place.least_size).token_ids
                if place.least_size > 1:
                    assert token_id not in select_top_k_ticket(result, place.least_size - 1).token_ids


def test_ranks_count_from_one_and_tell_who_shares_them(result):
    curve = compute_ticket_curve(result)
    places = [summarise_place(result, curve, token_id, 1e-12, 0.999) for token_id in range(64)]
    assert places[3].shift_rank == 1
    for token_id, place in enumerate(places):
        larger = sum(count > result.counts[token_id] for count in result.counts)
        equal = sum(count == result.counts[token_id] for count in result.counts)
        assert (place.statistic_rank, place.statistic_shared) == (larger + 1, equal - 1)
    assert (places[40].shift_rank, places[40].shift_shared) == (11, 53)
    assert describe_shared(0) is None
    assert describe_shared(1) == "shared with 1 other"
    assert describe_shared(1053) == "shared with 1,053 others"


def test_marked_sentences_are_escaped_and_marked_once():
    shown = Occurrence(12, "source", "a <b> & c", ((2, 5), (4, 5), (8, 9)))
    assert mark_spans(shown) == "a <mark>&lt;b&gt;</mark> &amp; <mark>c</mark>"
    assert mark_spans(Occurrence(1, "source", "cat", ((0, 0),))) == "<mark>␣</mark>cat"
    assert mark_spans(Occurrence(1, "source", "cat", ())) == "cat"


def test_the_list_of_sentences_says_line_and_side():
    shown = (Occurrence(1234, "source", "the cat", ((0, 3),)), Occurrence(None, "target", "el gat", ()))
    html = occurrences_figure(TokenOccurrences(5, 1, 2, 9, shown), {"source": "en", "target": "<ca>"})
    assert "line 1,234, en" in html
    assert '<span class="ksl-where">&lt;ca&gt;</span>' in html
    assert html.count("<li>") == 2
