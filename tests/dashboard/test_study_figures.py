import math
from dataclasses import dataclass

import pytest

from dashboard.palette import SERIES
from dashboard.views.studies.figures import (
    COSTS,
    ParetoSummary,
    StudyPoint,
    describe_ticket_sizes,
    pareto_figure,
    summarise_ticket_sizes,
    ticket_size_figure,
)

BASE = StudyPoint("Base model", "", 3.8, 3.0, 4.6, 0, 5.0)
TICKET = StudyPoint("Ticket", "learning rate 0.01", 60.0, 55.0, 63.0, 512, 40.0)
EMBEDDING = StudyPoint("Embedding", "learning rate 0.005", 58.0, None, None, 262_144, 50.0)
LORA = StudyPoint("LoRA <b>", "learning rate 0.001", 70.0, 68.0, 71.0, 90_000, None)


@pytest.fixture
def summary():
    """By parameters base, ticket and LoRA are not beaten; by time, where LoRA is not known, base and ticket."""
    points = (BASE, TICKET, EMBEDDING, LORA)
    return ParetoSummary("BLEU, whole output", tuple(point.arm for point in points), points, ((0, 1, 3), (0, 1)))


def find_traces(figure, name):
    return [trace for trace in figure.data if trace.name == name]


def test_a_point_stands_at_its_cost_with_its_interval(summary):
    by_parameters, by_time = find_traces(pareto_figure(summary), "Ticket")
    assert by_parameters.x == (math.log10(512),)
    assert by_time.x == (40.0,)
    for trace in (by_parameters, by_time):
        assert trace.y == (60.0,)
        assert (trace.error_y.array, trace.error_y.arrayminus) == ((3.0,), (5.0,))


def test_nothing_trained_has_a_place_of_its_own_on_the_log_axis(summary):
    figure = pareto_figure(summary)
    (place,) = find_traces(figure, "Base model")[0].x
    assert place <= math.log10(512) - 1
    axis = figure.layout.xaxis
    assert dict(zip(axis.tickvals, axis.ticktext, strict=True))[place] == "0"
    assert axis.range[0] < place < axis.range[1]
    assert "1k" in axis.ticktext
    assert "0" not in pareto_figure(ParetoSummary("BLEU", ("Ticket",), (TICKET,), ((0,), (0,)))).layout.xaxis.ticktext


def test_a_study_of_untrained_models_alone_has_a_picture():
    figure = pareto_figure(ParetoSummary("BLEU", ("Base model",), (BASE,), ((0,), (0,))))
    low, high = figure.layout.xaxis.range
    assert low < find_traces(figure, "Base model")[0].x[0] < high


def test_what_nothing_beats_is_ringed_and_joined_in_the_order_of_its_cost(summary):
    by_parameters, by_time = find_traces(pareto_figure(summary), "Best for its cost")
    assert by_parameters.mode == "lines+markers"
    assert by_parameters.y == (3.8, 60.0, 70.0)
    assert list(by_parameters.x) == sorted(by_parameters.x)
    assert by_time.x == (5.0, 40.0)


def test_a_cost_that_was_not_measured_is_left_out_and_counted(summary):
    by_parameters, by_time = find_traces(pareto_figure(summary), "LoRA &lt;b&gt;")
    assert by_parameters.x == (math.log10(90_000),)
    assert by_time.x == (None,)
    assert [summary.count_unmeasured(cost) for cost in COSTS] == [0, 1]


def test_an_arm_has_one_colour_and_one_place_in_the_legend(summary):
    figure = pareto_figure(summary)
    for number, name in enumerate(("Base model", "Ticket", "Embedding")):
        traces = find_traces(figure, name)
        assert {trace.marker.color for trace in traces} == {SERIES[number]}
        assert [trace.showlegend for trace in traces] == [True, False]


def test_an_arm_keeps_its_colour_while_others_have_no_result_yet():
    figure = pareto_figure(ParetoSummary("BLEU", ("Base model", "Full", "Ticket"), (TICKET,), ((0,), (0,))))
    assert find_traces(figure, "Ticket")[0].marker.color == SERIES[2]
    assert not find_traces(figure, "Full")


def test_more_arms_than_colours_are_still_told_apart():
    points = tuple(StudyPoint(f"arm {n}", "", 10.0 + n, None, None, n, 1.0) for n in range(20))
    figure = pareto_figure(ParetoSummary("BLEU", tuple(point.arm for point in points), points, ((), ())))
    looks = {(trace.marker.color, trace.marker.symbol) for trace in figure.data}
    assert len(looks) == 20


def test_axes_say_what_they_show_and_hovers_hide_no_markup(summary):
    figure = pareto_figure(summary)
    assert figure.layout.xaxis.title.text == "Trained parameters (log scale)"
    assert figure.layout.xaxis2.title.text == "Time, with that of choosing the rows (s)"
    assert figure.layout.yaxis.title.text == "BLEU, whole output (0 to 100)"
    (hover,) = find_traces(figure, "LoRA &lt;b&gt;")[0].customdata
    assert "LoRA &lt;b&gt;" in hover
    assert "70.0 (68.0 to 71.0)" in hover
    assert "time: not measured" in hover


@dataclass(frozen=True)
class Point:
    """What a ticket's size is read from, as `kslottery_core.studies` gives it."""

    language: str
    seed: int
    learning_rate: float
    steps: int
    size: int
    changed_rows: int = 100
    largest_distance: float = 0.25


GRID = [
    Point("en-ca", seed, rate, steps, size)
    for seed, rate, steps, size in (
        (1, 1e-3, 100, 0),
        (2, 1e-3, 100, 0),
        (1, 1e-3, 300, 2),
        (2, 1e-3, 300, 5),
        (1, 1e-2, 100, 10),
        (1, 1e-2, 300, 1200),
    )
]


def test_seeds_of_one_training_share_a_cell_and_languages_do_not():
    sizes = summarise_ticket_sizes([*GRID, Point("en-es", 1, 1e-3, 100, 77)], "en-ca", 0.05)
    assert sizes.learning_rates == (1e-3, 1e-2)
    assert sizes.steps == (100, 300)
    assert [cell.sizes for cell in sizes.cells] == [(0, 0), (2, 5), (10,), (1200,)]
    assert sizes.cells[1].mean == 3.5


def test_the_map_has_every_number_in_its_cell():
    figure = ticket_size_figure(summarise_ticket_sizes(GRID, "en-ca", 0.05))
    heat, numbers = figure.data
    assert heat.type == "heatmap"
    written = {(x, y): text for x, y, text in zip(numbers.x, numbers.y, numbers.text, strict=True)}
    assert written == {(0, 0): "0", (1, 0): "3.5<br>2 to 5", (0, 1): "10", (1, 1): "1,200"}
    assert (heat.z[0][0], heat.z[1][1]) == (0.0, 1.0)
    assert list(figure.layout.xaxis.ticktext) == ["100", "300"]
    assert list(figure.layout.yaxis.ticktext) == ["0.001", "0.01"]
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("Training steps", "Learning rate")


def test_numbers_are_dark_on_light_cells_and_light_on_dark_ones():
    _, numbers = ticket_size_figure(summarise_ticket_sizes(GRID, "en-ca", 0.05)).data
    colours = dict(zip(numbers.text, numbers.textfont.color, strict=True))
    assert (colours["0"], colours["1,200"]) == ("#FFFFFF", "#111111")


def test_a_missing_cell_of_the_map_stays_empty():
    heat, numbers = ticket_size_figure(summarise_ticket_sizes(GRID[:5], "en-ca", 0.05)).data
    assert heat.z[1][1] is None
    assert len(numbers.text) == 3


@pytest.mark.parametrize(
    ("kept", "title", "places"),
    [
        (lambda point: point.steps == 300, "Learning rate (log scale)", (1e-3, 1e-2)),
        (lambda point: point.learning_rate == 1e-3, "Training steps", (100, 300)),
    ],
)
def test_where_one_axis_varies_a_line_shows_the_seeds_range(kept, title, places):
    figure = ticket_size_figure(summarise_ticket_sizes(filter(kept, GRID), "en-ca", 0.05))
    (line,) = figure.data
    assert line.x == places
    assert 3.5 in line.y
    assert line.error_y.array[line.y.index(3.5)] == 1.5
    assert figure.layout.xaxis.title.text == title


def test_empty_tickets_everywhere_have_a_picture():
    empty = [Point("en-ca", 1, rate, steps, 0) for rate in (1e-3, 1e-2) for steps in (10, 20)]
    heat, numbers = ticket_size_figure(summarise_ticket_sizes(empty, "en-ca", 0.05)).data
    assert set(numbers.text) == {"0"}
    assert {value for row in heat.z for value in row} == {0.0}
    ticket_size_figure(summarise_ticket_sizes(empty[:2], "en-ca", 0.05))


def test_one_sentence_says_from_where_to_where_the_size_goes():
    sizes = summarise_ticket_sizes(GRID, "en-ca", 0.05)
    assert describe_ticket_sizes(sizes).startswith(
        "At α = 0.05 the ticket has 0 tokens after 100 steps at learning rate 0.001 and 1,200 tokens after 300 steps "
        "at learning rate 0.01:"
    )
    same = summarise_ticket_sizes([GRID[0]], "en-ca", 0.5)
    assert "every training here gives a ticket of 0 tokens" in describe_ticket_sizes(same)


def test_one_training_alone_has_nothing_to_vary():
    assert not summarise_ticket_sizes(GRID[:2], "en-ca", 0.05).varies
    assert summarise_ticket_sizes(GRID[:3], "en-ca", 0.05).varies
