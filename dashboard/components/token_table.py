"""The table of every token: search, filters, and picking rows."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import session
from dashboard.session import SEARCH_MODES, TokenFilter
from dashboard.wording import KIND_NAMES, format_name, format_noun, shorten

COLUMNS = {
    "token_id": "Id",
    "token": "Token",
    "kind": "Kind",
    "winner": "Winner",
    "statistic": "D",
    "count": "k",
    "p_value": "p",
    "l2_shift": "L2 shift",
    "cosine": "Cosine",
    "mean_shift": "Mean shift",
    "changed": "Changed",
}

_TABLE_HEIGHT = 420
_LONGEST_RANGE = 1_000_000
_WIDGETS = {
    "search": "token_search",
    "mode": "token_search_mode",
    "kinds": "token_kinds",
    "winners_only": "token_winners_only",
    "changed_only": "token_changed_only",
}


class TokenFilterError(ValueError):
    """The search cannot be understood; the message is for the person."""


def filter_tokens(table: pd.DataFrame, wanted: TokenFilter) -> pd.DataFrame:
    """The rows of the token table that pass. Raises TokenFilterError for a bad regular expression or id."""
    keep = np.ones(len(table), dtype=bool)
    search = wanted.search
    if search.strip() and wanted.mode == "id":
        keep &= table["token_id"].isin(_read_ids(search)).to_numpy()
    elif search.strip() and wanted.mode == "pattern":
        try:
            pattern = re.compile(search)
        except (re.error, OverflowError, RecursionError) as problem:
            reason = problem.msg if isinstance(problem, re.error) else "it is too large"
            place = f" at character {problem.pos + 1}" if isinstance(problem, re.error) and problem.pos else ""
            raise TokenFilterError(
                f"{shorten(search)!r} is no regular expression: {reason}{place}. To search for the signs themselves, "
                "choose Text."
            ) from None
        keep &= np.fromiter((pattern.search(token) is not None for token in table["token"]), bool, len(table))
    elif search.strip():
        # A space typed by hand means the leading-space sign that labels show.
        needle = search.strip("\n").replace(" ", "␣").casefold()
        keep &= np.fromiter((needle in token.casefold() for token in table["token"]), bool, len(table))
    if wanted.winners_only:
        keep &= table["winner"].to_numpy()
    if wanted.changed_only:
        keep &= table["changed"].to_numpy()
    if wanted.kinds:
        keep &= table["kind"].isin(wanted.kinds).to_numpy()
    return table[keep]


def _read_ids(search: str) -> list[int]:
    ids = []
    for part in re.split(r"[\s,;]+", search.strip()):
        low, dash, high = part.partition("-")
        first, last = session.read_token_id(low), session.read_token_id(high if dash else low)
        if first is None or last is None:
            raise TokenFilterError(
                f"{shorten(part)!r} is no token id; expected numbers such as 13, 278 or a range such as 3-20."
            )
        ids.extend(range(first, min(last, first + _LONGEST_RANGE) + 1))
    return ids


def show_token_filter(table: pd.DataFrame) -> TokenFilter:
    """The search field and the filters; each writes the session's choice, so that the address restores them."""
    wanted = session.get_choice().token_filter
    present = [kind for kind in KIND_NAMES if (table["kind"] == kind).any()]
    wanted = replace(wanted, kinds=tuple(kind for kind in wanted.kinds if kind in present))
    for field_name, key in _WIDGETS.items():
        value = getattr(wanted, field_name)
        st.session_state[key] = list(value) if field_name == "kinds" else value
    search, mode, kinds, switches = st.columns([3, 2, 3, 2], vertical_alignment="bottom")
    search.text_input(
        "Search", key=_WIDGETS["search"], placeholder="the, 13, ^␣[A-Z]", type="search", on_change=_take_filter
    )
    mode.selectbox(
        "Search in",
        list(SEARCH_MODES),
        format_func=SEARCH_MODES.__getitem__,
        key=_WIDGETS["mode"],
        on_change=_take_filter,
    )
    kinds.multiselect(
        "Kinds",
        present,
        format_func=lambda kind: format_name(KIND_NAMES, kind),
        key=_WIDGETS["kinds"],
        placeholder="All kinds",
        on_change=_take_filter,
    )
    with switches:
        st.toggle("Winners only", key=_WIDGETS["winners_only"], on_change=_take_filter)
        st.toggle("Changed only", key=_WIDGETS["changed_only"], on_change=_take_filter)
    return wanted


def _take_filter() -> None:
    values = {field_name: st.session_state[key] for field_name, key in _WIDGETS.items()}
    session.set_token_filter(
        TokenFilter(**{**values, "search": values["search"] or "", "kinds": tuple(values["kinds"])})
    )


def build_display(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the column names and kinds that people read; rows keep their order."""
    shown = table[list(COLUMNS)].rename(columns=COLUMNS)
    shown["Kind"] = [format_name(KIND_NAMES, kind) for kind in table["kind"]]
    return shown


def show_token_table(table: pd.DataFrame, total: int) -> tuple[int, ...]:
    """Show the rows and return the picked token ids: those ticked here, then picked ones that the filter hides."""
    picked = session.get_choice().token_ids
    ids = table["token_id"].to_numpy()
    st.caption(f"{format_noun(len(table), 'token')} of {total:,} shown. Tick rows to see the tokens below.")
    places = {int(token_id): place for place, token_id in enumerate(ids)} if picked else {}
    # The browser keeps ticks by row number, so rows in another order are another table.
    digest = hashlib.sha256(ids.tobytes()).hexdigest()[:12]
    key = f"token_table_{digest}_{session.count_restored()}_{st.session_state.get(_GENERATION, 0)}"
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
        alt="Every token with D, p-value and shifts",
    )
    visible = [int(ids[row]) for row in event.selection.rows if row < len(ids)]
    hidden = [token_id for token_id in picked if token_id not in places]
    ordered = [token_id for token_id in picked if token_id in visible]
    chosen = (*ordered, *(token_id for token_id in visible if token_id not in ordered), *hidden)
    session.set_tokens(chosen)
    return chosen


_GENERATION = "kslottery.token_table_generation"


def clear_picked_tokens() -> None:
    """Untick every row: the table starts anew under another key."""
    session.set_tokens(())
    st.session_state[_GENERATION] = st.session_state.get(_GENERATION, 0) + 1


def _make_column_config() -> dict[str, object]:
    number = st.column_config.NumberColumn
    return {
        "Id": number(format="%d", width=56, help="Token id in the model's vocabulary"),
        "Token": st.column_config.TextColumn(width=110, help="␣ is a space, ↵ a line break, ⇥ a tab"),
        "Kind": st.column_config.TextColumn(width=80),
        "Winner": st.column_config.CheckboxColumn(width=60, help="Whether the token wins at the present α"),
        "D": number(format="%.4f", width=62, help="Largest gap between the two distributions, 0 to 1"),
        "k": number(format="%d", width=50, help="D as a whole number of coordinates: D times the width"),
        "p": number(format="%.3g", width=72, help="Exact p-value; not calibrated: before and after are paired"),
        "L2 shift": number(format="%.4g", width=68, help="Euclidean distance between the row before and after"),
        "Cosine": number(format="%.4f", width=64, help="Cosine of the angle between the row before and after"),
        "Mean shift": number(format="%.3g", width=80, help="Mean of the row after minus mean before"),
        "Changed": st.column_config.CheckboxColumn(width=72, help="Whether any value of the row differs"),
    }
