"""How far each coordinate of one token's row moved."""

from __future__ import annotations

from dashboard import loaders
from dashboard.controls.picture import show_picture
from dashboard.loaders import Comparison
from dashboard.views.tokens.shift_figure import (
    coordinate_shift_figure,
    describe_coordinate_shifts,
    summarise_coordinate_shifts,
)


def show_token_coordinates(comparison: Comparison, token_id: int) -> None:
    """Show the sorted shifts of one token. Raises KSLotteryError when its rows cannot be read."""
    summary = summarise_coordinate_shifts(*loaders.load_token_rows(comparison, token_id))
    show_picture(
        coordinate_shift_figure(summary),
        key=f"token_shift_{token_id}",
        alt=f"Sorted shifts of the coordinates of token {token_id}",
        caption=describe_coordinate_shifts(summary),
    )
