"""The heat map of a scan with its settings, and the choice of one matrix by a click or by name."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import state
from dashboard.controls.picture import show_picture
from dashboard.views.layers.figures import layer_map_figure, summarise_layers
from dashboard.views.layers.scan_figure import MatrixNumbers
from dashboard.wording import MEASURE_NAMES, format_code, shorten

if TYPE_CHECKING:
    from kslottery_core.scans import Scan


def show_layer_map(matrices: Sequence[MatrixNumbers], scan: Scan) -> None:
    """One tile a matrix; a click on a tile chooses it."""
    from kslottery_core.scans import describe_parameter

    view = state.get_choice().layers
    st.session_state["scan_measure"], st.session_state["scan_log"] = view.measure, view.log_scale
    heading, measure, scale = st.columns([3, 2, 1.2], vertical_alignment="bottom")
    heading.header("Layer by matrix")
    measure.selectbox(
        "Colours show",
        list(MEASURE_NAMES),
        format_func=MEASURE_NAMES.__getitem__,
        key="scan_measure",
        on_change=lambda: state.change("layers", measure=st.session_state["scan_measure"]),
    )
    scale.toggle(
        "Log colours",
        key="scan_log",
        on_change=lambda: state.change("layers", log_scale=st.session_state["scan_log"]),
        help="Tells small values apart. Tiles without colour are explained above the picture.",
    )
    summary = summarise_layers(
        matrices,
        scan.skipped,
        {name: describe_parameter(name) for name in scan.remaining},
        measure=view.measure,
        unit=scan.spec.unit,
    )
    chosen = find_chosen(matrices).parameter if matrices else None
    # The browser keeps the clicked tile by its number: other tiles are another picture.
    tiles = "\n".join(f"{cell.parameter} {cell.state}" for cell in summary.cells)
    digest = hashlib.sha256(tiles.encode()).hexdigest()[:12]
    key = f"layer_map_{digest}"
    show_picture(
        layer_map_figure(summary, log_scale=view.log_scale, chosen=chosen),
        key=key,
        on_select=lambda: _take_click(key),
        selection_mode="points",
        config={"displayModeBar": False},
        alt=f"{MEASURE_NAMES[view.measure]} of each matrix by layer",
    )


def _take_click(key: str) -> None:
    points = st.session_state[key]["selection"]["points"]
    names = [point["customdata"] for point in points if point.get("customdata")]
    if names:
        name = names[0]
        state.change("layers", parameter=name if isinstance(name, str) else name[0])


def find_chosen(matrices: Sequence[MatrixNumbers]) -> MatrixNumbers:
    """The matrix that was picked; else the one with the largest share of winners, then with the largest D."""
    wanted = state.get_choice().layers.parameter
    for numbers in matrices:
        if numbers.parameter == wanted:
            return numbers
    return max(matrices, key=lambda numbers: (numbers.winners / numbers.units, numbers.largest_statistic))


def choose_matrix(matrices: Sequence[MatrixNumbers]) -> MatrixNumbers:
    """Show the list of matrices by name; returns the chosen one."""
    wanted, chosen = state.get_choice().layers.parameter, find_chosen(matrices)
    if wanted is not None and chosen.parameter != wanted:
        st.caption(f"No matrix compared here is called {format_code(shorten(wanted))}.")
    st.session_state["scan_matrix"] = chosen.parameter
    st.selectbox(
        "One matrix in full (or click a tile)",
        [numbers.parameter for numbers in matrices],
        key="scan_matrix",
        on_change=lambda: state.change("layers", parameter=st.session_state["scan_matrix"]),
    )
    return chosen
