"""Colours with a meaning of their own are for nothing else, and the others are seen on light and dark grounds."""

import numpy as np
import pytest

from dashboard.palette import AFTER, BEFORE, MARK, NEUTRAL, SERIES, WINNER, choose_series_line
from dashboard.views.checkpoints.figures import growth_figure, summarise_growth
from dashboard.views.compare.figures import score_bar_figure, summarise_scores
from dashboard.views.runs.figures import loss_curve_figure, summarise_loss
from dashboard.views.studies import progress as grid
from dashboard.views.tokens.figures import (
    MOST_OVERLAID,
    OverlaidToken,
    cdf_difference_figure,
    sorted_shift_figure,
)
from kslottery_core.progress import ProgressEvent

FIXED = {BEFORE, AFTER, WINNER, NEUTRAL, MARK}
LIGHT, DARK = "#FFFFFF", "#0E1117"  # Streamlit's grounds


def compute_luminance(colour):
    """Relative luminance as WCAG 2.2 defines it."""
    parts = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def make_token(token_id):
    zeros = np.zeros(2)
    return OverlaidToken(token_id, "x", np.array([0.0, 1.0]), zeros, 0.0, 0.5, zeros)


def read_colours(figure):
    colours = set()
    for trace in figure.data:
        for part in ("line", "marker"):
            found = trace[part].color if part in trace else None
            colours.update(found if isinstance(found, tuple | list) else [found])
    return {colour.upper() for colour in colours if colour}


@pytest.mark.parametrize("draw", [cdf_difference_figure, sorted_shift_figure])
def test_overlaid_tokens_have_looks_of_their_own_and_no_colour_with_a_meaning(draw):
    figure = draw([make_token(token_id) for token_id in range(MOST_OVERLAID)])
    assert not read_colours(figure) & FIXED
    lines = [trace.line for trace in figure.data if trace.mode == "lines"]
    assert len({(line.color, line.dash) for line in lines}) == MOST_OVERLAID


@pytest.mark.parametrize("colour", SERIES)
def test_a_series_colour_is_seen_on_both_grounds(colour):
    own = compute_luminance(colour)
    for ground in (LIGHT, DARK):
        low, high = sorted((own, compute_luminance(ground)))
        assert (high + 0.05) / (low + 0.05) > 2


def test_twelve_lines_of_a_series_are_told_apart():
    assert len({tuple(choose_series_line(place).items()) for place in range(12)}) == 12


def test_growing_tokens_are_told_apart_without_a_colour_with_a_meaning():
    lines = summarise_growth(
        ["a", "b"], [1, 2], ["", ""], [str(n) for n in range(12)], np.full((2, 12), 0.5), [None] * 2
    )
    figure = growth_figure(lines)
    assert not read_colours(figure) & FIXED
    assert len({(trace.line.color, trace.marker.symbol) for trace in figure.data}) == 12


def test_ways_of_tuning_and_losses_are_not_drawn_as_before():
    rows = [(method, method, 10.0, "s") for method in ("full", "embedding", "lora", "prefix")]
    assert not read_colours(score_bar_figure(summarise_scores("BLEU", rows))) & FIXED
    losses = [ProgressEvent("tune", step, 2, loss=1.0) for step in (1, 2)]
    assert BEFORE not in read_colours(loss_curve_figure(summarise_loss(losses)))


def test_a_running_cell_of_a_study_is_not_drawn_as_before():
    assert BEFORE not in grid._COLOURS.values()
    assert len(set(grid._COLOURS.values())) == len(grid._COLOURS)
