import html
from fractions import Fraction

import numpy as np
import pytest

from dashboard.controls.ticket_figures import (
    statistic_histogram_figure,
    summarise_statistics,
    summarise_ticket_curve,
    ticket_curve_figure,
)
from dashboard.palette import AFTER, BEFORE, WINNER, escape_text
from dashboard.views.compare.figures import find_score_end, score_bar_figure, summarise_scores
from dashboard.views.runs.figures import loss_curve_figure, summarise_loss
from dashboard.views.tokens.figures import row_histogram_figure, summarise_row_histogram, token_cdf_figure
from kslottery_core.ks import compute_cdf_gap
from kslottery_core.progress import ProgressEvent
from kslottery_core.tickets import compute_ticket_curve, compute_ticket_mask
from kslottery_core.tickets.summary import (
    find_least_level,
    summarise_change,
    summarise_neighbours,
    summarise_pair,
    summarise_ticket,
)


def name_traces(figure):
    return [trace.name for trace in figure.data]


def read_axis_titles(figure):
    return figure.layout.xaxis.title.text, figure.layout.yaxis.title.text


def test_statistic_histogram_keeps_every_changed_token_and_splits_at_the_threshold():
    histogram = np.array([5, 0, 3, 4, 2, 1])
    summary = summarise_statistics(histogram, unchanged=4, least_count=3)
    assert summary.others.sum() == 1 + 3
    assert summary.winners.sum() == 4 + 2 + 1
    assert summary.threshold == float(Fraction(3, 5))
    assert summary.threshold in summary.edges


@pytest.mark.parametrize("least_count", [None, 1, 7, 100, 257, 400])
def test_statistic_histogram_has_no_bin_on_both_sides_of_the_threshold(least_count):
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 300, size=1000)
    histogram = np.bincount(counts, minlength=401)
    summary = summarise_statistics(histogram, unchanged=0, least_count=least_count)
    winners = 0 if least_count is None else int((counts >= least_count).sum())
    assert summary.winners.sum() == winners
    assert summary.others.sum() == 1000 - winners
    assert not (summary.winners * summary.others).any()
    assert len(summary.edges) <= 65


def test_statistic_histogram_figure_names_both_groups_and_draws_the_threshold():
    figure = statistic_histogram_figure(summarise_statistics(np.array([5, 0, 3, 4, 2, 1]), 5, 3))
    assert name_traces(figure) == ["Others", "Winners"]
    assert figure.data[1].marker.color == WINNER
    assert figure.layout.shapes[0].x0 == 0.6
    assert "wins from D = 0.6" in figure.layout.annotations[0].text
    assert figure.layout.yaxis.type == "log"
    assert all(read_axis_titles(figure))


def test_statistic_histogram_figure_of_nothing_changed_is_empty_but_drawn():
    figure = statistic_histogram_figure(summarise_statistics(np.array([9, 0, 0]), 9, None))
    assert len(figure.layout.shapes) == 0
    assert sum(len(trace.x) for trace in figure.data) == 0


def test_ticket_curve_figure_steps_where_the_ticket_changes(result):
    curve = compute_ticket_curve(result)
    size = int(compute_ticket_mask(result, 0.05).sum())
    figure = ticket_curve_figure(summarise_ticket_curve(curve, 0.05, size, result.vocabulary_size))
    assert name_traces(figure) == ["Tokens in the ticket", "Present α"]
    steps, mark = figure.data
    assert steps.line.shape == "hv"
    assert list(steps.x[:-1]) == list(curve.significance_levels)
    assert list(steps.y[:-1]) == list(curve.sizes)
    assert tuple(mark.x) == (0.05,)
    assert f"{size} token" in mark.text[0]
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("log", "log")


def test_ticket_curve_figure_of_a_pair_without_change_shows_only_the_mark(result):
    curve = compute_ticket_curve(result)
    empty = type(curve)(np.array([]), np.array([], int), np.array([], int))
    assert name_traces(ticket_curve_figure(summarise_ticket_curve(empty, 0.05, 0, 10))) == ["Present α"]


def test_ticket_curve_is_thinned_without_losing_its_ends(result):
    levels = np.linspace(1e-9, 0.9, 5000)
    curve = type(compute_ticket_curve(result))(levels, np.arange(1, 5001), np.arange(5000, 0, -1))
    summary = summarise_ticket_curve(curve, 0.1, 7, 5000)
    assert len(summary.sizes) <= 2000
    assert (summary.sizes[0], summary.sizes[-1]) == (1, 5000)


def test_token_cdf_figure_marks_the_largest_gap():
    figure = token_cdf_figure(compute_cdf_gap(np.array([0.0, 1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0, 5.0])))
    assert name_traces(figure) == ["Before", "After", "Gap D = 0.5"]
    before, after, gap = figure.data
    assert (before.line.color, after.line.color, gap.line.color) == (BEFORE, AFTER, WINNER)
    assert before.line.shape == after.line.shape == "hv"
    assert tuple(gap.x) == (1.0, 1.0)
    assert tuple(gap.y) == (0.5, 0.0)
    assert (before.y[0], before.y[-1], after.y[0], after.y[-1]) == (0.0, 1.0, 0.0, 1.0)
    assert all(read_axis_titles(figure))


def test_token_cdf_figure_of_an_unchanged_row_marks_no_gap():
    row = np.array([0.5, -1.0, 2.0])
    assert name_traces(token_cdf_figure(compute_cdf_gap(row, row))) == ["Before", "After"]


def test_row_histogram_counts_every_coordinate_of_both_rows_in_the_same_bins():
    summary = summarise_row_histogram(np.array([0.0, 0.1, 0.9]), np.array([2.0, 2.1, 0.0]))
    assert summary.before.sum() == summary.after.sum() == 3
    figure = row_histogram_figure(summary)
    assert name_traces(figure) == ["Before", "After"]
    assert tuple(figure.data[0].x) == tuple(figure.data[1].x)


def test_row_histogram_of_a_constant_row_is_drawn():
    row_histogram_figure(summarise_row_histogram(np.zeros(4), np.zeros(4)))


def test_loss_curve_takes_only_reported_training_losses():
    events = [
        ProgressEvent("load", 1, 1),
        ProgressEvent("tune", 1, 10, loss=4.0),
        ProgressEvent("tune", 2, 10),
        ProgressEvent("tune", 3, 10, loss=2.0),
        ProgressEvent("generate", 1, 5),
    ]
    summary = summarise_loss(events, keep=0.5)
    assert (summary.steps, summary.losses, summary.total_steps) == ((1, 3), (4.0, 2.0), 10)
    assert summary.smoothed == pytest.approx((4.0, (0.5 * 0.5 * 4 + 0.5 * 2) / 0.75))
    figure = loss_curve_figure(summary)
    assert name_traces(figure) == ["Loss", "Running mean"]
    assert all(read_axis_titles(figure))


def test_score_bars_are_ranked_and_equal_names_stay_apart():
    rows = [("base", "base", 5.0, "s1"), ("ticket", "ticket", 30.0, "s2"), ("ticket", "ticket", 20.0, "s3")]
    summary = summarise_scores("BLEU, whole output", rows)
    assert summary.labels == ("ticket", "ticket (2)", "base")
    figure = score_bar_figure(summary)
    assert tuple(figure.data[0].x) == (30.0, 20.0, 5.0)
    assert figure.data[0].marker.color[0] == WINNER
    assert tuple(figure.data[0].customdata) == ("s2", "s3", "s1")
    assert "BLEU" in read_axis_titles(figure)[0]


@pytest.mark.parametrize(("values", "end"), [((), 5), ((1.0, 3.0), 5), ((10.0, 18.0), 19.8), ((100.0, 0.0), 110)])
def test_the_axis_of_scores_leaves_room_for_the_number_behind_the_longest_bar(values, end):
    assert find_score_end(values) == pytest.approx(end)


def test_score_bars_take_the_axis_they_are_given_and_as_much_height_as_they_have_bars():
    rows = [(f"run {number}", "ticket", 10.0 + number, "s") for number in range(8)]
    one, eight = summarise_scores("BLEU", rows[:1]), summarise_scores("BLEU", rows)
    assert score_bar_figure(one, axis_end=50).layout.xaxis.range == (0, 50)
    assert score_bar_figure(one).layout.xaxis.range == (0, 11)
    heights = []
    for summary in (one, eight):
        layout = score_bar_figure(summary).layout
        heights.append((layout.height - layout.margin.t - layout.margin.b) / len(summary.labels))
    assert heights[0] == heights[1] < 50


def test_names_in_a_figure_are_text_and_no_html():
    name = '<a href="https://evil.example">best</a> <b>run</b> & co'
    figure = score_bar_figure(summarise_scores("<i>BLEU</i>", [(name, "ticket", 30.0, "<b>sig</b>")]))
    bars = figure.data[0]
    for text in (bars.y[0], bars.customdata[0], bars.name, figure.layout.xaxis.title.text):
        assert "<" not in text
    assert html.unescape(bars.y[0]) == name


def test_runs_named_after_numbers_keep_their_names_on_the_axis():
    figure = score_bar_figure(summarise_scores("BLEU", [("2024", "base", 1.0, "s"), ("7", "base", 2.0, "s")]))
    assert figure.layout.yaxis.type == "category"


def test_a_level_that_underflowed_to_zero_is_on_the_curve(result):
    curve = type(compute_ticket_curve(result))(np.array([0.0, 1e-9, 0.2]), np.array([3, 5, 9]), np.array([30, 20, 10]))
    summary = summarise_ticket_curve(curve, 0.05, 5, 64)
    assert list(summary.sizes) == [3, 5, 9]
    steps = ticket_curve_figure(summary).data[0]
    assert min(steps.x) > 0
    assert list(steps.y) == [3, 5, 9, 9]


def test_a_curve_of_one_underflowed_level_is_drawn_over_the_whole_axis(result):
    curve = type(compute_ticket_curve(result))(np.array([0.0]), np.array([4]), np.array([30]))
    figure = ticket_curve_figure(summarise_ticket_curve(curve, 0.05, 4, 64))
    steps, mark = figure.data
    assert np.log10(min(steps.x)) < figure.layout.xaxis.range[0]
    assert (list(steps.y), list(mark.y)) == ([4, 4], [4])


def test_the_furthest_token_is_the_one_with_the_larger_shift_among_equal_d(result):
    numbers = summarise_pair(result)
    assert numbers.largest_statistic == result.statistics.max()
    tied = np.flatnonzero(result.counts == result.counts.max())
    assert numbers.furthest_token_id == max(tied, key=lambda token_id: result.l2_shift[token_id])


def test_a_ticket_costs_its_rows():
    numbers = summarise_ticket(size=3, least_count=8, width=32, vocabulary_size=64, model_parameters=None)
    assert (numbers.parameters, numbers.embedding_parameters) == (96, 2048)
    assert numbers.least_statistic == 0.25
    assert numbers.model_parameters is None
    assert summarise_ticket(0, None, 32, 64, 9000).least_statistic is None


def test_neighbours_are_the_steps_on_both_sides_of_alpha(result):
    curve = compute_ticket_curve(result)
    counts = result.counts
    for place, level in enumerate(curve.significance_levels):
        neighbours = summarise_neighbours(curve, counts, float(level))
        above = [] if place == 0 else np.flatnonzero(counts >= curve.least_counts[place - 1]).tolist()
        within = np.flatnonzero(counts >= curve.least_counts[place]).tolist()
        assert neighbours.last_level == level
        assert sorted(neighbours.leaving) == sorted(set(within) - set(above))
        is_last = place + 1 == len(curve.sizes)
        assert neighbours.next_level == (None if is_last else curve.significance_levels[place + 1])
    first = summarise_neighbours(curve, counts, float(curve.significance_levels[0]) / 2)
    assert (first.last_level, first.leaving) == (None, ())
    assert len(first.entering) == curve.sizes[0]


def test_a_change_names_who_entered_and_who_left_by_d():
    counts = np.array([5, 9, 0, 7])
    change = summarise_change(counts, np.array([False, False, True, False]), np.array([True, True, False, False]))
    assert (change.entered, change.left) == ((1, 0), (2,))


def test_the_least_level_gives_a_ticket(result):
    curve = compute_ticket_curve(result)
    level = find_least_level(curve, 1e-12, 0.999)
    assert curve.get_size(level) >= 1
    assert curve.get_size(float(curve.significance_levels[0]) * 0.99) == 0
    underflowed = type(curve)(np.array([0.0]), np.array([4]), np.array([30]))
    assert find_least_level(underflowed, 1e-12, 0.999) == 1e-12
    assert find_least_level(type(curve)(np.array([]), np.array([]), np.array([])), 1e-12, 0.999) is None


def test_escaped_text_is_shown_as_it_is():
    text = "<a href=\"x\">%{y}</a> & 'b'"
    assert escape_text(text) == "&lt;a href=\"x\"&gt;%{y}&lt;/a&gt; &amp; 'b'"
    assert html.unescape(escape_text(text)) == text
