import math

import numpy as np
import pytest

from dashboard.controls.ticket_figures import statistic_histogram_figure, summarise_statistics
from dashboard.palette import MARK
from dashboard.views.checkpoints.figures import (
    WinnerBars,
    growth_figure,
    overlap_figure,
    summarise_growth,
    summarise_overlap,
    summarise_sharing,
    winner_bar_figure,
)
from dashboard.views.layers.figures import (
    find_least_winning_level,
    layer_map_figure,
    summarise_entry,
    summarise_layers,
    summarise_scan,
)
from kslottery_core.ks import compute_p_values
from kslottery_core.scans import ScanEntry, SkippedParameter, describe_parameter
from kslottery_core.tickets import compute_overlap


def make_entry(parameter, counts, *, width=40, changed=None, shift=0.5):
    counts_seen, numbers = np.unique(counts, return_counts=True)
    layer, matrix = describe_parameter(parameter)
    return ScanEntry(
        parameter=parameter,
        layer=layer,
        matrix=matrix,
        unit="row",
        units=len(counts),
        width=width,
        changed=int(np.count_nonzero(counts)) if changed is None else changed,
        counts_seen=tuple(counts_seen.tolist()),
        numbers=tuple(numbers.tolist()),
        median_l2_shift=shift,
        seconds=0.25,
    )


ENTRIES = (
    make_entry("model.embed_tokens.weight", [0, 0, 0, 4, 20]),
    make_entry("model.layers.0.self_attn.q_proj.weight", [30, 30, 2, 2]),
    make_entry("model.layers.0.mlp.up_proj.weight", [1, 2, 3]),
    make_entry("model.layers.1.self_attn.q_proj.weight", [0, 0, 0, 0]),
    make_entry("model.layers.1.mlp.up_proj.weight", [20, 1, 1]),
)
SKIPPED = (SkippedParameter("model.layers.2.mlp.up_proj.weight", 2, "mlp.up_proj", "row", "it holds NaN <b>"),)


@pytest.fixture
def matrices():
    return [summarise_entry(entry, 0.05) for entry in ENTRIES]


def find_trace(figure, name):
    return next(trace for trace in figure.data if trace.name == name)


def test_a_matrix_is_judged_from_its_sparse_histogram(matrices):
    embedding, query = matrices[:2]
    assert (embedding.units, embedding.changed, embedding.winners) == (5, 2, 1)
    assert (query.winners, query.largest_statistic, query.median_statistic) == (2, 0.75, 0.4)
    p_values = compute_p_values(40)
    assert p_values[query.least_count] <= 0.05 < p_values[query.least_count - 1]
    assert query.get_measure("share") == 0.5
    assert [query.get_measure(name) for name in ("largest", "median", "shift")] == [0.75, 0.4, 0.5]


def test_a_correction_is_for_the_tests_of_one_matrix():
    entry = make_entry("model.layers.0.mlp.up_proj.weight", [13] + [0] * 999)
    alone = make_entry("model.layers.0.mlp.up_proj.weight", [13])
    assert summarise_entry(alone, 0.05, "bonferroni").winners == 1
    assert summarise_entry(entry, 0.05, "bonferroni").winners == 0
    assert summarise_entry(entry, 0.05).winners == 1


def test_the_numbers_of_a_scan_add_up(matrices):
    numbers = summarise_scan(matrices)
    assert (numbers.compared, numbers.changed, numbers.units, numbers.winners) == (5, 4, 19, 4)


def test_the_least_alpha_that_wins_is_that_of_the_largest_d(matrices):
    assert find_least_winning_level(matrices) == compute_p_values(40)[30]
    assert find_least_winning_level([matrices[3]]) is None


def test_every_matrix_has_its_layer_and_row_and_the_embedding_stands_apart(matrices):
    summary = summarise_layers(matrices, SKIPPED)
    assert summary.layers == (0, 1, 2)
    assert summary.rows == ("self_attn.q_proj", "mlp.up_proj")
    assert summary.strip == ("model.embed_tokens",)
    states = {cell.parameter: cell.state for cell in summary.cells}
    assert states == {
        "model.embed_tokens.weight": "measured",
        "model.layers.0.self_attn.q_proj.weight": "measured",
        "model.layers.0.mlp.up_proj.weight": "zero",
        "model.layers.1.self_attn.q_proj.weight": "unchanged",
        "model.layers.1.mlp.up_proj.weight": "measured",
        "model.layers.2.mlp.up_proj.weight": "skipped",
    }


def test_two_stacks_of_layers_get_rows_of_their_own():
    names = ("encoder.layers.0.fc1.weight", "decoder.layers.0.fc1.weight", "encoder.layers.1.fc1.weight")
    entries = [summarise_entry(make_entry(name, [3, 4]), 0.05) for name in names]
    same = [type(one)(**{**vars(one), "matrix": "fc1"}) for one in entries]  # as if the names told nothing more
    summary = summarise_layers(same)
    assert len({(cell.layer, cell.row) for cell in summary.cells}) == 3
    assert set(summary.rows) == {"encoder.layers.*.fc1", "decoder.layers.*.fc1"}


def test_the_map_tells_unchanged_zero_and_skipped_apart(matrices):
    figure = layer_map_figure(summarise_layers(matrices, SKIPPED, {"model.layers.2.x.weight": (2, "x")}))
    names = [trace.name for trace in figure.data]
    assert names == [
        "Share of winners",
        "Changed, none wins",
        "Unchanged",
        "Cannot be compared",
        "Not scanned yet",
        "Without a layer",
    ]
    colours = [str(find_trace(figure, name).marker.color) for name in names[1:5]]
    patterns = [find_trace(figure, name).marker.pattern.shape for name in names[1:5]]
    assert len(set(zip(colours, patterns, strict=True))) == 4
    assert figure.layout.coloraxis.cmin == 0
    assert "linear scale" in figure.layout.coloraxis.colorbar.title.text
    assert list(find_trace(figure, "Share of winners").marker.color) == [1 / 5, 1 / 2, 1 / 3]
    assert figure.layout.xaxis.title.text == "Layer"
    assert "self_attn.q_proj" in figure.layout.yaxis.ticktext


def test_a_log_scale_says_so_and_names_true_values(matrices):
    figure = layer_map_figure(summarise_layers(matrices, measure="largest"), log_scale=True)
    bar = figure.layout.coloraxis.colorbar
    assert "log scale" in bar.title.text
    values = find_trace(figure, "Largest D").marker.color
    assert min(values) == pytest.approx(math.log10(3 / 40))
    for place, text in zip(bar.tickvals, bar.ticktext, strict=True):
        assert float(text) == pytest.approx(10**place, rel=0.01)


def test_hovering_a_tile_gives_exact_numbers_and_no_markup_of_the_file(matrices):
    figure = layer_map_figure(summarise_layers(matrices, SKIPPED))
    hover = find_trace(figure, "Share of winners").hovertext[1]
    assert "2 of 4 rows win (50 %)" in hover
    assert "largest D 0.7500, median D 0.4000" in hover
    assert "it holds NaN &lt;b&gt;" in find_trace(figure, "Cannot be compared").hovertext[0]


def test_the_chosen_tile_has_a_frame_and_every_tile_names_its_matrix(matrices):
    chosen = "model.layers.1.mlp.up_proj.weight"
    figure = layer_map_figure(summarise_layers(matrices), chosen=chosen)
    (frame,) = [shape for shape in figure.layout.shapes if shape.line.color == MARK]
    tiles = find_trace(figure, "Share of winners")
    at = list(tiles.customdata).index(chosen)
    assert frame.x0 < tiles.x[at] == 1 < frame.x1
    assert (frame.y0, frame.y1) == pytest.approx((tiles.base[at], tiles.base[at] + tiles.y[at]))


def test_only_layers_that_are_there_are_numbered(matrices):
    assert list(layer_map_figure(summarise_layers(matrices)).layout.xaxis.tickvals) == [0, 1]


@pytest.mark.parametrize("entries", [ENTRIES[:1], ENTRIES[1:2], ()])
def test_a_part_of_a_model_can_be_drawn(entries):
    figure = layer_map_figure(summarise_layers([summarise_entry(entry, 0.05) for entry in entries]))
    assert figure.layout.height >= 150


def test_the_histogram_of_a_matrix_speaks_of_its_rows():
    entry = ENTRIES[1]
    figure = statistic_histogram_figure(summarise_statistics(entry.histogram, 0, 10), "rows")
    assert figure.layout.yaxis.title.text == "Rows (log scale)"
    assert "rows" in figure.data[0].hovertemplate


MASKS = np.array([[1, 1, 1, 0, 0, 0], [1, 1, 0, 1, 0, 0], [1, 0, 0, 0, 1, 0]], dtype=bool)


def test_tokens_are_counted_by_the_number_of_tickets_that_hold_them():
    sharing = summarise_sharing(compute_overlap(MASKS))
    assert sharing.numbers == (1, 3, 1, 1)
    assert (sharing.in_all, sharing.in_some, sharing.in_one) == (1, 1, 3)


def test_an_overlap_keeps_observed_and_expected_apart_and_undefined_empty():
    empty = np.zeros((1, 6), dtype=bool)
    summary = summarise_overlap(("a", "b", "c", "d", "e"), compute_overlap(np.concatenate([MASKS, empty, empty])))
    assert summary.observed[0][1] == 0.5
    assert summary.expected[0][1] == pytest.approx(compute_overlap(MASKS).expected_jaccard[0, 1])
    assert summary.observed[3][4] is None
    assert summary.shared[0][1] == 2


def test_the_overlap_figure_shows_both_maps_on_one_scale():
    labels = ("one <b>", "two", "three")
    figure = overlap_figure(summarise_overlap(labels, compute_overlap(MASKS)))
    maps = [trace for trace in figure.data if trace.type == "heatmap"]
    assert [trace.name for trace in maps] == ["Observed", "Expected by chance"]
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, 1)
    assert maps[0].z[0][1] == 0.5
    assert np.isnan(maps[0].z[1][1])
    assert "one &lt;b&gt;" in maps[0].customdata[0][1]
    assert "Jaccard 0.5" in maps[0].customdata[0][1]
    assert "expected by chance" in maps[0].customdata[0][1]
    numbers = [trace for trace in figure.data if trace.name == "Numbers"]
    assert "0.50" in numbers[0].text


def test_winner_bars_keep_two_checkpoints_of_one_name_apart():
    figure = winner_bar_figure(WinnerBars(("same", "same"), (3, 5), (0.1, None), 100))
    assert list(figure.data[0].y) == [3, 5]
    assert list(figure.data[0].x) == [0, 1]
    assert "wins from D = 0.1000" in figure.data[0].customdata[0]
    assert "no D suffices" in figure.data[0].customdata[1]


STATISTICS = np.array([[0.1, 0.0], [0.3, 0.2], [0.2, 0.1]])


def test_growth_orders_the_checkpoints_of_a_training_by_step():
    lines = summarise_growth(("s200", "s50", "s100"), (200, 50, 100), "aaa", ("the", "a"), STATISTICS, (0.2,) * 3)
    assert lines.has_steps
    assert lines.trainings == ((1, 2, 0),)
    assert lines.training_names == ("s*",)
    figure = growth_figure(lines)
    assert [trace.name for trace in figure.data] == ["the", "a", "Wins from"]
    assert list(figure.data[0].x) == [0, 50, 100, 200]
    assert list(figure.data[0].y) == [0.0, 0.3, 0.2, 0.1]
    assert list(figure.data[2].y) == [0.2, 0.2, 0.2]


def test_a_label_in_the_growth_is_never_read_as_a_template():
    lines = summarise_growth(("s50", "s100"), (50, 100), "aa", ("%{y}", "a"), STATISTICS[:2], (None, None))
    trace = growth_figure(lines).data[0]
    assert trace.name == "%{y}"
    assert trace.hovertemplate == "%{customdata}: D = %{y:.4f}<extra>%{fullData.name}</extra>"


def test_growth_on_a_log_axis_begins_at_the_first_step():
    lines = summarise_growth(("a", "b", "c"), (50, 100, 200), "xyz", ("the", "a"), STATISTICS, (0.2,) * 3)
    figure = growth_figure(lines, log_steps=True)
    assert figure.layout.xaxis.type == "log"
    assert list(figure.data[0].x) == [50, 100, 200]
    assert "log scale" in figure.layout.xaxis.title.text
    assert lines.trainings == ((0, 1, 2),)  # names that have nothing in common are still one training


def test_seeds_at_one_step_are_trainings_of_their_own():
    lines = summarise_growth(("s1", "s2", "s1b"), (100, 100, 200), "aba", ("the", "a"), STATISTICS, (0.2,) * 3)
    assert lines.trainings == ((0, 2), (1,))
    figure = growth_figure(lines)
    shown = [trace for trace in figure.data if trace.name == "the"]
    assert [trace.showlegend for trace in shown] == [True, False]
    assert len({trace.line.dash for trace in shown}) == 2


def test_growth_without_steps_draws_no_lines():
    lines = summarise_growth(("a", "b", "c"), (100, None, 100), "xyz", ("the", "a"), STATISTICS, (None,) * 3)
    figure = growth_figure(lines, log_steps=True)
    assert not lines.has_steps
    assert {trace.mode for trace in figure.data} == {"markers"}
    assert list(figure.layout.xaxis.ticktext) == ["a", "b", "c"]


def test_a_checkpoint_without_a_step_is_left_out_of_the_lines():
    lines = summarise_growth(("a", "b", "c"), (100, None, 200), "xyz", ("the", "a"), STATISTICS, (0.1, 0.2, 0.3))
    assert (lines.labels, lines.places, lines.thresholds) == (("a", "c"), (100, 200), (0.1, 0.3))
    assert lines.statistics == ((0.1, 0.2), (0.0, 0.1))
    assert lines.trainings == ((0, 1),)
