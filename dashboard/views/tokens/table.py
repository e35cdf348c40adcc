"""The table of every token, sorted and paged here since browsers are slow with a hundred thousand rows; and picking."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.report.csv_file import build_csv
from dashboard.state import MOST_PICKED, TokenFilter, TokenOrder
from dashboard.views.tokens.filter import clear_token_filter
from dashboard.wording import KIND_NAMES, ORDER_NAMES, SCRIPT_NAMES, format_count, format_name, format_noun

COLUMNS = {
    "token_id": "Id",
    "token": "Token",
    "kind": "Kind",
    "script": "Script",
    "winner": "Winner",
    "frequency": "Frequency",
    "statistic": "D",
    "count": "k",
    "p_value": "p",
    "l2_shift": "L2 shift",
    "cosine": "Cosine",
    "mean_shift": "Mean shift",
    "changed": "Changed",
}
PAGE_ROWS = 5000
"""Rows that the browser is sent at a time; more would make every answer slower, and nobody scrolls further."""

_TABLE_HEIGHT = 420
_GENERATION = "kslottery.token_table_generation"
_DIRECTIONS = {False: "Largest first", True: "Smallest first"}


def sort_tokens(table: pd.DataFrame, order: TokenOrder) -> np.ndarray:
    """Positions of the rows in the wanted order, (rows,); equal values keep the table's order, largest D first.

    Values that are not defined, such as the cosine with a row of zeros, come last both ways.
    """
    if order.column not in table or (order.column == "statistic" and not order.rising):
        return np.arange(len(table))
    values = table[order.column].reset_index(drop=True)
    return values.sort_values(ascending=order.rising, kind="stable", na_position="last").index.to_numpy()


def build_display(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the column names, kinds and scripts that people read; rows keep their order."""
    shown = table[[column for column in COLUMNS if column in table]].rename(columns=COLUMNS)
    for column, names in (("Kind", KIND_NAMES), ("Script", SCRIPT_NAMES)):
        shown[column] = shown[column].cat.rename_categories(lambda name, names=names: format_name(names, name))
    return shown


def show_token_table(table: pd.DataFrame, total: int) -> tuple[int, ...]:
    """Show the rows, a page of them at a time, and return the picked token ids: ticked ones, then those not shown.

    `total` is V, of which `table` holds what passes the filters.
    """
    order = state.get_choice().token_order
    pages = max(1, -(-len(table) // PAGE_ROWS))
    page = min(order.page, pages)
    _show_order(table, order, page, pages, total)
    if not len(table):
        st.info("No token passes the search and the filters. Clear the search or open the filters.")
        return state.get_choice().token_ids
    rows = sort_tokens(table, order)[(page - 1) * PAGE_ROWS : page * PAGE_ROWS]
    return _show_rows(table.iloc[rows], rows, order)


def _show_order(table: pd.DataFrame, order: TokenOrder, page: int, pages: int, total: int) -> None:
    words, column, direction, number = st.columns([4, 1.6, 1.6, 1.2], vertical_alignment="bottom")
    shown = f"{format_noun(len(table), 'token')} of {total:,}"
    if pages > 1:
        first, last = (page - 1) * PAGE_ROWS + 1, min(page * PAGE_ROWS, len(table))
        shown += (
            f", {first:,} to {last:,} of them on this page. Sort by orders all of them; a click on a column's head "
            "orders this page only"
        )
    with words:
        st.caption(f"{shown}. Tick rows to see the tokens below." if len(table) else f"{shown}.")
        if state.get_choice().token_filter != TokenFilter():
            st.button(
                "Clear the filters",
                icon=":material/filter_alt_off:",
                key="token_clear_filter",
                type="tertiary",
                on_click=clear_token_filter,
            )
    st.session_state["token_sort"], st.session_state["token_direction"] = order.column, order.rising
    st.session_state["token_page"] = page
    column.selectbox(
        "Sort by",
        [name for name in ORDER_NAMES if name in table or name == order.column],
        format_func=ORDER_NAMES.__getitem__,
        key="token_sort",
        on_change=_take_order,
    )
    direction.selectbox(
        "Direction",
        list(_DIRECTIONS),
        format_func=_DIRECTIONS.__getitem__,
        key="token_direction",
        on_change=_take_order,
    )
    number.number_input(
        "Page",
        min_value=1,
        max_value=pages,
        step=1,
        key="token_page",
        disabled=pages == 1,
        help=f"Of {pages:,}, {PAGE_ROWS:,} tokens each",
        on_change=_take_page,
    )


def _take_order() -> None:
    kept = st.session_state
    state.change("token_order", column=kept["token_sort"], rising=kept["token_direction"], page=1)


def _take_page() -> None:
    state.change("token_order", page=st.session_state["token_page"] or 1)


def _show_rows(table: pd.DataFrame, ranks: np.ndarray, order: TokenOrder) -> tuple[int, ...]:
    """Show one page; `ranks` (rows,) are its tokens' places by D, largest first. Returns what is picked."""
    picked = state.get_choice().token_ids
    ids = table["token_id"].to_numpy()
    places = {int(token_id): place for place, token_id in enumerate(ids)} if picked else {}
    # The browser keeps ticks by row number, so rows in another order are another table.
    digest = hashlib.sha256(ids.tobytes()).hexdigest()[:12]
    key = f"token_table_{digest}_{state.count_restored()}_{st.session_state.get(_GENERATION, 0)}"
    event = st.dataframe(
        build_display(table),
        key=key,
        height=_TABLE_HEIGHT,
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        selection_default={"selection": {"rows": [places[token_id] for token_id in picked if token_id in places]}},
        lazy=False,
        column_config=_make_column_config(),
        alt=f"Tokens with D, p-value and shifts, sorted by {ORDER_NAMES[order.column]}",
    )
    ticked = [row for row in event.selection.rows if row < len(ids)]
    hidden = [token_id for token_id in picked if token_id not in places]
    total = len(ticked) + len(hidden)
    if total > MOST_PICKED:
        ticked = sorted(ticked, key=ranks.__getitem__)[:MOST_PICKED]
    chosen = (*_keep_order(picked, [int(ids[row]) for row in ticked]), *hidden)[:MOST_PICKED]
    if total > MOST_PICKED:
        elsewhere = f", {format_count(len(hidden))} of them elsewhere" if hidden else ""
        st.info(
            f"{format_noun(total, 'token')} are ticked{elsewhere}; no more than {MOST_PICKED} are picked together: the "
            f"{MOST_PICKED} of largest D{', those of this page first' if hidden else ''}."
        )
    state.choose(token_ids=chosen)
    return chosen


def _keep_order(picked: Sequence[int], visible: Sequence[int]) -> list[int]:
    """The visible ticked ids: those picked before in their order, then the others."""
    present = set(visible)
    return list(dict.fromkeys([*(token_id for token_id in picked if token_id in present), *visible]))


def clear_picked_tokens() -> None:
    """Untick every row."""
    pick_tokens(())


def pick_tokens(token_ids: Sequence[int]) -> None:
    """Choose tokens elsewhere than in the table; its ticks follow, since it starts anew under another key."""
    state.choose(token_ids=token_ids)
    st.session_state[_GENERATION] = st.session_state.get(_GENERATION, 0) + 1


def show_token_downloads(table: pd.DataFrame, shown: pd.DataFrame) -> None:
    """Buttons that save every token, and where a filter is on, those that pass it, in the table's order."""
    parts = [(table, "All tokens as CSV", "tokens.csv", "tokens_csv")]
    if 0 < len(shown) < len(table):
        parts.append((shown, "Filtered tokens as CSV", "tokens-filtered.csv", "tokens_filtered_csv"))
    order = state.get_choice().token_order
    with st.container(horizontal=True):
        for rows, label, file_name, key in parts:
            st.download_button(
                label,
                data=lambda rows=rows: build_csv(build_display(rows.iloc[sort_tokens(rows, order)])),
                file_name=file_name,
                mime="text/csv",
                icon=":material/download:",
                on_click="ignore",
                key=key,
            )


def _make_column_config() -> dict[str, object]:
    number = st.column_config.NumberColumn
    return {
        "Id": number(format="%d", width=56, help="Token id in the model's vocabulary"),
        "Token": st.column_config.TextColumn(width=110, help="␣ is a space, ↵ a line break, ⇥ a tab"),
        "Kind": st.column_config.TextColumn(width=80),
        "Script": st.column_config.TextColumn(width=70, help="The writing system of the token's letters"),
        "Winner": st.column_config.CheckboxColumn(width=60, help="Whether the token is in the present ticket"),
        "Frequency": number(
            format="localized", width=76, help="Occurrences in the text that frequencies are counted in"
        ),
        "D": number(format="%.4f", width=62, help="Largest gap between the two distributions, 0 to 1"),
        "k": number(format="%d", width=50, help="D as a whole number of coordinates: D times the width"),
        "p": number(format="%.3g", width=72, help="Exact p-value; not calibrated: before and after are paired"),
        "L2 shift": number(format="%.4g", width=68, help="Euclidean distance between the row before and after"),
        "Cosine": number(format="%.4f", width=64, help="Cosine of the angle between the row before and after"),
        "Mean shift": number(format="%.3g", width=80, help="Mean of the row after minus mean before"),
        "Changed": st.column_config.CheckboxColumn(width=72, help="Whether any value of the row differs"),
    }
