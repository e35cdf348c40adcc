"""The table of every token: search and filters, then rows sorted and paged here, and picking.

Browsers are slow with a hundred thousand rows, so they are sent a page at a time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.loaders import Comparison
from dashboard.report.csv_file import build_csv
from dashboard.state import MOST_PICKED, SEARCH_MODES, TokenFilter, TokenOrder
from dashboard.views.tokens.search_loading import TokenSearchError, load_prompt_mask, load_search_mask
from dashboard.wording import (
    FREQUENCY_TITLES,
    KIND_NAMES,
    ORDER_NAMES,
    SCRIPT_NAMES,
    escape_markdown,
    format_code,
    format_count,
    format_name,
    format_noun,
    shorten,
)
from kslottery_core.errors import KSLotteryError

_WIDGETS = {entry: f"token_{entry}" for entry in TokenFilter.__dataclass_fields__} | {"mode": "token_search_mode"}
_LISTS = {"kinds": ("Kinds", KIND_NAMES), "scripts": ("Scripts", SCRIPT_NAMES)}
_SWITCHES = {
    "winners": ("Winners", {"all": "All", "yes": "Winners", "no": "Not winners"}),
    "changed": ("Rows", {"all": "All", "yes": "Changed", "no": "Not changed"}),
    "in_prompt": ("Prompt template", {"all": "All", "yes": "In the template", "no": "Not in the template"}),
}
_ANSWERS = {"all": None, "yes": True, "no": False}
_PATTERN_SIGNS = re.compile(r"^\^|\$$|\[.+\]|\(.+\)|[.)\]][*+?]|\w\*|\\\w|\w\|\w|\{\d+,?\d*\}")
_MODE_LABEL = "Search in"
_BOUNDS = {"least_frequency": "Frequency from", "most_frequency": "Frequency to"}


def filter_tokens(
    table: pd.DataFrame, wanted: TokenFilter, *, found: np.ndarray | None = None, in_prompt: np.ndarray | None = None
) -> pd.DataFrame:
    """The rows of the token table (V rows, with `winner` and where measured `frequency`) that pass, in its order.

    `found` (V,) in the table's order is what the search finds; `in_prompt` (V,) by token id says which tokens are the
    prompt's; None leaves either filter out. Raises TokenSearchError for a range of frequencies that holds no number.
    """
    keep = np.ones(len(table), dtype=bool) if found is None else found.copy()
    for entry, column in (("winners", "winner"), ("changed", "changed")):
        asked = getattr(wanted, entry)
        if asked is not None:
            keep &= table[column].to_numpy() == asked
    if wanted.in_prompt is not None and in_prompt is not None:
        keep &= in_prompt[table["token_id"].to_numpy()] == wanted.in_prompt
    for column, names in (("kind", wanted.kinds), ("script", wanted.scripts)):
        if names:
            column_values = table[column].array
            codes = column_values.categories.get_indexer(list(names))
            keep &= np.isin(column_values.codes, codes[codes >= 0])
    least, most = wanted.least_frequency, wanted.most_frequency
    if least is not None and most is not None and least > most:
        raise TokenSearchError(
            f"The frequencies from {least:,} to {most:,} hold no number: expected the first not above the second. "
            "Change one of the two."
        )
    if "frequency" in table:
        if least is not None:
            keep &= table["frequency"].to_numpy() >= least
        if most is not None:
            keep &= table["frequency"].to_numpy() <= most
    return table if keep.all() else table[keep]


def show_token_filter(comparison: Comparison, table: pd.DataFrame) -> pd.DataFrame:
    """The search field and the filters; returns the tokens that pass them.

    Each entry writes the session's choice, so that the address restores it. Raises KSLotteryError with one sentence
    for an entry that cannot be understood.
    """
    wanted = state.get_choice().token_filter
    present = {
        entry: [name for name in names if name in table[entry.removesuffix("s")].array.categories]
        for entry, (_, names) in _LISTS.items()
    }
    wanted = replace(
        wanted, **{entry: tuple(n for n in getattr(wanted, entry) if n in names) for entry, names in present.items()}
    )
    for entry, key in _WIDGETS.items():
        value = getattr(wanted, entry)
        if entry in _SWITCHES:
            value = next(word for word, answer in _ANSWERS.items() if answer is value)
        st.session_state[key] = list(value) if entry in _LISTS else value
    _show_widgets(present, has_frequency="frequency" in table)
    in_prompt = None if wanted.in_prompt is None else _find_prompt_tokens(comparison)
    found = load_search_mask(comparison, wanted.search, wanted.mode)
    if wanted.mode == "text" and found is not None and not found.any() and _PATTERN_SIGNS.search(wanted.search.strip()):
        st.info(
            f"No token holds the characters {format_code(shorten(wanted.search))}: {SEARCH_MODES['text']} looks for "
            f"these very characters; to search with a pattern, choose {SEARCH_MODES['pattern']} under “{_MODE_LABEL}”."
        )
    return filter_tokens(table, wanted, found=found, in_prompt=in_prompt)


def _show_widgets(present: dict[str, list[str]], *, has_frequency: bool) -> None:
    search, mode, winners, changed, in_prompt = st.columns([3, 2, 1.6, 1.6, 2], vertical_alignment="bottom")
    search.text_input(
        "Search", key=_WIDGETS["search"], placeholder="the, 13, ^␣[A-Z]", type="search", on_change=_take_filter
    )
    mode.selectbox(
        _MODE_LABEL,
        list(SEARCH_MODES),
        format_func=SEARCH_MODES.__getitem__,
        key=_WIDGETS["mode"],
        on_change=_take_filter,
    )
    helps = {"in_prompt": "Tokens of the default prompt template, without those of the sentence in it"}
    for place, entry in ((winners, "winners"), (changed, "changed"), (in_prompt, "in_prompt")):
        label, answers = _SWITCHES[entry]
        place.selectbox(
            label,
            list(answers),
            format_func=answers.__getitem__,
            key=_WIDGETS[entry],
            help=helps.get(entry),
            on_change=_take_filter,
        )
    kinds, scripts, least, most = st.columns([3, 3, 1.5, 1.5], vertical_alignment="bottom")
    for place, (entry, (label, names)) in zip((kinds, scripts), _LISTS.items(), strict=True):
        place.multiselect(
            label,
            present[entry],
            format_func=lambda name, names=names: format_name(names, name),
            key=_WIDGETS[entry],
            placeholder=f"All {label.lower()}",
            on_change=_take_filter,
        )
    for place, (entry, label) in zip((least, most), _BOUNDS.items(), strict=True):
        place.number_input(
            label,
            min_value=0,
            value=None,
            step=1,
            key=_WIDGETS[entry],
            placeholder="any" if has_frequency else "no text",
            disabled=not has_frequency,
            help=_explain_frequency() if has_frequency else "Choose a text that frequencies are counted in",
            on_change=_take_filter,
        )


def _take_filter() -> None:
    values = {entry: st.session_state[key] for entry, key in _WIDGETS.items()}
    values |= {entry: tuple(values[entry] or ()) for entry in _LISTS}
    values |= {entry: _ANSWERS[values[entry]] for entry in _SWITCHES}
    state.choose(token_filter=TokenFilter(**{**values, "search": values["search"] or ""}))


def clear_token_filter() -> None:
    """Search for nothing and let every token pass."""
    state.choose(token_filter=TokenFilter())


def _find_prompt_tokens(comparison: Comparison) -> np.ndarray | None:
    """The tokens of the default template, in the languages of the counted text; says which, or what is missing."""
    from kslottery_core.corpora import DEFAULT_PROMPT, CorpusSpec, name_language

    # Only what the address restores: what stands in the run form would be another filter behind the same link.
    text = state.get_choice().token_text
    languages = {f"{side}_language": getattr(text, side) or getattr(CorpusSpec, side) for side in ("source", "target")}
    try:
        mask = load_prompt_mask(comparison, DEFAULT_PROMPT, **languages)
    except KSLotteryError as problem:
        st.warning(f"Whether a token is in the prompt template is not known: {escape_markdown(str(problem))}")
        return None
    words = format_code(DEFAULT_PROMPT)
    named = " to ".join(escape_markdown(name_language(code)) for code in languages.values())
    st.caption(f"The prompt template is the default one, for translating from {named}: {words}")
    return mask


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
            f"{MOST_PICKED} with the largest D{', those of this page first' if hidden else ''}."
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


def _explain_frequency() -> str:
    return FREQUENCY_TITLES[state.get_choice().token_text.counted]


def _make_column_config() -> dict[str, object]:
    number = st.column_config.NumberColumn
    return {
        "Id": number(format="%d", width=56, help="Token id in the model's vocabulary"),
        "Token": st.column_config.TextColumn(width=110, help="␣ is a space, ↵ a line break, ⇥ a tab"),
        "Kind": st.column_config.TextColumn(width=80),
        "Script": st.column_config.TextColumn(width=70, help="The writing system of the token's letters"),
        "Winner": st.column_config.CheckboxColumn(width=60, help="Whether the token is in the present ticket"),
        "Frequency": number(format="localized", width=76, help=_explain_frequency()),
        "D": number(format="%.4f", width=62, help="Largest gap between the two distributions, 0 to 1"),
        "k": number(format="%d", width=50, help="D as a whole number of coordinates: D times the width"),
        "p": number(format="%.3g", width=72, help="Exact p-value; not calibrated: before and after are paired"),
        "L2 shift": number(format="%.4g", width=68, help="Euclidean distance between the row before and after"),
        "Cosine": number(format="%.4f", width=64, help="Cosine of the angle between the row before and after"),
        "Mean shift": number(format="%.3g", width=80, help="Mean of the row after minus mean before"),
        "Changed": st.column_config.CheckboxColumn(width=72, help="Whether any value of the row differs"),
    }
