"""Every matrix of the model, not the embedding alone: where the winners are, layer by matrix."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.controls.alpha_control import show_alpha_control
from dashboard.controls.empty_ticket import offer_level
from dashboard.controls.metric_row import ShownNumber, show_metric_row
from dashboard.controls.navigation import show_link, show_sidebar
from dashboard.controls.pair_header import find_shown_pair, name_pair, offer_demo
from dashboard.controls.picture import show_picture
from dashboard.controls.ticket_figures import statistic_histogram_figure, summarise_statistics
from dashboard.loaders.scan import PlannedScan, load_kept_scan, plan_scan
from dashboard.loaders.vocabulary import is_fetched, load_vocabulary
from dashboard.report.csv_file import build_csv
from dashboard.views.layers.controls import (
    describe_scan,
    scan_on,
    show_broken_scan,
    show_scan_choice,
    show_scan_control,
)
from dashboard.views.layers.figures import (
    MatrixNumbers,
    find_least_winning_level,
    layer_map_figure,
    summarise_entry,
    summarise_layers,
    summarise_scan,
)
from dashboard.views.layers.tables import build_scan_table
from dashboard.wording import (
    CORRECTION_NAMES,
    MEASURE_NAMES,
    escape_markdown,
    format_code,
    format_count,
    format_noun,
    format_number,
    format_share,
    shorten,
)
from kslottery_core.errors import KSLotteryError
from kslottery_core.ks import format_statistic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dashboard.loaders import PairChoice
    from kslottery_core.scans import Scan, ScanEntry


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


_MOST_ROWS = 14


def show_scan_table(table: pd.DataFrame) -> None:
    """The table, sortable by a click on a column's name, and its download."""
    st.dataframe(
        table,
        hide_index=True,
        height=40 + 35 * min(max(len(table), 1), _MOST_ROWS),
        column_config=_CONFIG,
        key="scan_table",
        placeholder="",
        alt="Every matrix with its winners, D and shift",
    )
    st.download_button(
        "All matrices as CSV",
        data=lambda: build_csv(table),
        file_name="layers.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="scan_csv",
    )


def find_row_labels(choice: PairChoice, entry: ScanEntry) -> tuple[str, ...] | None:
    """The token of each row, (V,), of a matrix that holds one row a token; None for others, and where none is at hand.

    Nothing is fetched for this: the tokens of a hub id stay unnamed.
    """
    if entry.unit != "row" or entry.layer is not None or is_fetched(choice.before or "", choice.before_revision):
        return None
    try:
        vocabulary = load_vocabulary(choice.before or "", choice.before_revision)
    except KSLotteryError:
        return None  # ids alone still say which rows these are
    return vocabulary.labels if vocabulary.size == entry.units else None


def show_unit_table(entry: ScanEntry, least_count: int | None, labels: Sequence[str] | None = None) -> None:
    """The rows (or columns) of one matrix with the largest D; `least_count` is the least k that wins, None if none.

    `labels` (V,) are the tokens that the rows stand for.
    """
    from kslottery_core.ks import compute_p_values

    name, counts = entry.unit.capitalize(), np.array(entry.top_counts, dtype=int)
    table = pd.DataFrame(
        {
            name: entry.top_units,
            **({} if labels is None else {"Token": [labels[unit] for unit in entry.top_units]}),
            "D": counts / entry.width,
            "p": compute_p_values(entry.width)[counts],
            "Wins": counts >= least_count if least_count is not None else np.zeros(len(counts), dtype=bool),
        }
    )
    st.markdown(f"**{name}s with the largest D**")
    st.dataframe(
        table,
        hide_index=True,
        height=min(38 + 35 * max(len(table), 1), 248),
        key="matrix_units",
        column_config={"D": _number(format="%.4f"), "p": _number(format="%.3g")},
        placeholder="",
        alt=f"{name}s of {entry.parameter} with the largest D",
    )


_number = st.column_config.NumberColumn
_CONFIG = {
    "Matrix": st.column_config.TextColumn(width=250, pinned=True),
    "Layer": _number(format="%d", width=56),
    "Units": _number(format="localized", width=64, help="Rows or columns: how many tests this matrix has"),
    "Width": _number(format="localized", width=60, help="How many values one row or column holds"),
    "Changed": _number(format="localized", width=72, help="Rows or columns with at least one other value"),
    "Winners": _number(format="localized", width=70, help="Rows or columns that win at the present α"),
    "Share": _number(format="%.3g %%", width=64, help="Winners among all rows or columns of this matrix"),
    "Wins from D": _number(format="%.4f", width=88, help="The least D that wins here; it depends on the width"),
    "Largest D": _number(format="%.4f", width=78),
    "Median D": _number(format="%.4f", width=78),
    "Median L2 shift": _number(format="%.4g", width=106, help="Euclidean distance between before and after"),
    "Note": st.column_config.TextColumn(width=220),
}


def render() -> None:
    """Show what a scan would cost or has found; while one is under way the page is drawn again every few seconds."""
    st.title("Do other matrices move?")
    st.markdown(
        "The paper tests the embedding and leaves open whether other layers hold winners too. Here the same test is "
        "made on every matrix of the model, row by row or column by column."
    )
    choice = find_shown_pair(all_weights=True)
    if choice is None:
        return
    st.caption(f"Pair: {name_pair(choice)}")
    show_scan_choice()
    view = state.get_choice().layers
    place = st.empty()  # a spinner without a place of its own keeps the last run's buttons in sight
    try:
        with place.container(), st.spinner("Opening both checkpoints…"):
            plan = plan_scan(choice, view.unit, view.pattern)
    except KSLotteryError as problem:
        place.empty()
        st.error(escape_markdown(str(problem)))
        if view.pattern != "*":
            st.button(
                "Show all matrices", on_click=state.change, args=("layers",), kwargs={"pattern": "*"}, key="scan_all"
            )
        else:
            show_link("pair", "Choose another pair")
            offer_demo()
        return
    place.empty()
    try:
        scan = load_kept_scan(plan)
    except KSLotteryError as problem:
        show_broken_scan(plan, problem)
        return
    bar = show_scan_control(plan, scan)
    if scan is None or not (scan.entries or scan.skipped):
        if bar is None:
            st.info("Nothing has been scanned yet. The heat map of layers and matrices appears here as it is found.")
    else:
        _show_findings(scan, choice)
    _show_details(plan, scan)
    if bar is not None:
        # The scan ends this run of the page by drawing it anew, so what follows a page has to be drawn before it.
        show_sidebar()
        state.write_address()
        scan_on(plan, bar)


def _show_findings(scan: Scan, choice: PairChoice) -> None:
    show_alpha_control()
    alpha = state.get_choice().alpha
    rule = (alpha.significance_level, alpha.correction, alpha.p_value_method)
    matrices = [summarise_entry(entry, *rule) for entry in scan.entries]
    _show_numbers(scan, matrices)
    _explain_alpha(scan, matrices)
    _show_no_winner(matrices)
    show_layer_map(matrices, scan)
    if matrices:
        chosen = choose_matrix(matrices)
        _show_matrix(chosen, next(entry for entry in scan.entries if entry.parameter == chosen.parameter), choice)
    st.header("All matrices")
    show_scan_table(build_scan_table(scan, *rule))


def _show_numbers(scan: Scan, matrices: Sequence[MatrixNumbers]) -> None:
    numbers, unit = summarise_scan(matrices), scan.spec.unit
    level = format_number(state.get_choice().alpha.significance_level, 6)
    words = f"of {len(scan.parameters):,}" + (f", {len(scan.skipped):,} cannot be" if scan.skipped else "")
    show_metric_row(
        [
            ShownNumber("Matrices compared", format_count(numbers.compared), words),
            ShownNumber(
                "Matrices changed", format_count(numbers.changed), format_share(numbers.changed, numbers.compared)
            ),
            ShownNumber(f"{unit.capitalize()}s tested", format_count(numbers.units), "one test each"),
            ShownNumber(
                f"Winners at α = {level}",
                format_count(numbers.winners),
                format_share(numbers.winners, numbers.units),
            ),
        ]
    )


def _explain_alpha(scan: Scan, matrices: Sequence[MatrixNumbers]) -> None:
    alpha, unit = state.get_choice().alpha, scan.spec.unit
    tests = sum(numbers.units for numbers in matrices)
    corrected = (
        f"No correction for the {tests:,} tests is applied"
        if alpha.correction == "none"
        else f"{CORRECTION_NAMES[alpha.correction]} is applied within each matrix, not over all {tests:,} tests"
    )
    st.caption(
        f"p is not calibrated (before and after are the same {unit}, moved), so read α as a dial on D. {corrected}. "
        "Matrices differ in width, and a wider one wins from a smaller D: look at the largest D and L2 shift as well."
    )


def _show_no_winner(matrices: Sequence[MatrixNumbers]) -> None:
    numbers = summarise_scan(matrices)
    if numbers.winners or not matrices:
        return
    if not numbers.changed:
        st.warning(
            "**No matrix differs** among those compared so far: both sides hold the same values. Choose another after "
            "checkpoint, or go on scanning."
        )
        return
    largest = max(matrices, key=lambda entry: entry.largest_statistic)
    st.info(
        f"**Nothing wins at this α.** The largest D of any matrix is {format_statistic(largest.largest_statistic)}, in "
        f"{format_code(largest.parameter)}."
    )
    with st.container(horizontal=True):
        offer_level(find_least_winning_level(matrices), "raise_scan_alpha")
        if state.get_choice().layers.measure == "share":
            st.button(
                "Colour by the largest D",
                icon=":material/palette:",
                key="colour_by_largest",
                on_click=state.change,
                args=("layers",),
                kwargs={"measure": "largest"},
            )


def _show_matrix(numbers: MatrixNumbers, entry: ScanEntry, choice: PairChoice) -> None:
    units = f"{entry.unit}s"
    with st.container(border=True):
        st.markdown(f"### {format_code(numbers.parameter)}")
        shown = (
            ("Winners", f"{numbers.winners:,} of {numbers.units:,}", f"{units.capitalize()} that win at this α"),
            ("Changed", format_count(numbers.changed), f"{units.capitalize()} with at least one other value"),
            ("Largest D", format_statistic(numbers.largest_statistic), None),
            ("Median D", format_statistic(numbers.median_statistic), f"Over all {units}, unchanged ones too"),
            ("Median L2 shift", format_number(numbers.median_l2_shift, 4), "Euclidean distance, over all of them"),
            (f"Values a {entry.unit}", format_count(numbers.width), "The width decides from which D on one wins"),
        )
        for column, (label, value, explanation) in zip(st.columns(len(shown)), shown, strict=True):
            column.metric(label, value, help=explanation)
        for note in entry.notes:
            st.caption(escape_markdown(note))
        if not numbers.changed:
            st.caption(f"All {format_noun(numbers.units, entry.unit)} are the same before and after.")
            return
        histogram = summarise_statistics(entry.histogram, numbers.units - numbers.changed, numbers.least_count)
        show_picture(
            statistic_histogram_figure(histogram, units),
            key="matrix_histogram",
            alt=f"{units.capitalize()} of {numbers.parameter} by D, with the threshold of D",
        )
        show_unit_table(entry, numbers.least_count, find_row_labels(choice, entry))
        if histogram.unchanged:
            unchanged = format_noun(histogram.unchanged, entry.unit)
            st.caption(f"{unchanged} that did not change at all are left out of the picture.")


def _show_details(plan: PlannedScan, scan: Scan | None) -> None:
    pair = plan.pair
    with st.expander("What is compared"):
        sides = st.columns(2)
        for column, title, side in ((sides[0], "Before", pair.before), (sides[1], "After", pair.after)):
            column.markdown(f"**{title}**  \n{format_code(side.source)}  \n{len(side.names):,} matrices")
        lines = [*([describe_scan(scan)] if scan is not None else []), *pair.notes]
        lines += [note for note in (scan.notes if scan is not None else ()) if note not in lines]
        st.markdown("\n".join(f"- {escape_markdown(line)}" for line in lines))
