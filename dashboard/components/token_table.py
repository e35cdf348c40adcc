"""The table of every token: search, filters, and picking rows."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import session
from dashboard.wording import KIND_NAMES, format_name, format_noun

SEARCH_MODES = ("Text", "Token id", "Regular expression")

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


@dataclass(frozen=True)
class TokenFilter:
    """What the person wants to see of the table."""

    search: str = ""
    mode: str = SEARCH_MODES[0]
    winners_only: bool = False
    changed_only: bool = False
    kinds: tuple[str, ...] = ()


class TokenFilterError(ValueError):
    """The search cannot be understood; the message is for the person."""


def filter_tokens(table: pd.DataFrame, wanted: TokenFilter) -> pd.DataFrame:
    """The rows of the token table that pass. Raises TokenFilterError for a bad regular expression or id."""
    keep = np.ones(len(table), dtype=bool)
    search = wanted.search
    if search.strip() and wanted.mode == "Token id":
        keep &= table["token_id"].isin(_read_ids(search)).to_numpy()
    elif search.strip() and wanted.mode == "Regular expression":
        try:
            pattern = re.compile(search)
        except re.error as problem:
            place = "" if problem.pos is None else f" at character {problem.pos + 1}"
            raise TokenFilterError(
                f"{search!r} is no regular expression: {problem.msg}{place}. To search for the signs themselves, "
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
        if not (low.isdecimal() and (not dash or high.isdecimal())):
            raise TokenFilterError(
                f"{part!r} is no token id; expected numbers such as 13, 278 or a range such as 3-20."
            )
        ids.extend(range(int(low), min(int(high), int(low) + 1_000_000) + 1) if dash else [int(low)])
    return ids


def show_token_filter(table: pd.DataFrame) -> TokenFilter:
    """The search field and the filters."""
    search, mode, kinds, switches = st.columns([3, 2, 3, 2], vertical_alignment="bottom")
    text = search.text_input(
        "Search", key="token_search", placeholder="the, 13, ^␣[A-Z]", type="search", persist_state="session"
    )
    chosen_mode = mode.selectbox("Search in", SEARCH_MODES, key="token_search_mode", persist_state="session")
    present = [kind for kind in KIND_NAMES if (table["kind"] == kind).any()]
    chosen_kinds = kinds.multiselect(
        "Kinds",
        present,
        format_func=lambda kind: format_name(KIND_NAMES, kind),
        key="token_kinds",
        placeholder="All kinds",
        persist_state="session",
    )
    with switches:
        winners_only = st.toggle("Winners only", key="token_winners_only", persist_state="session")
        changed_only = st.toggle("Changed only", key="token_changed_only", persist_state="session")
    return TokenFilter(text or "", chosen_mode, winners_only, changed_only, tuple(chosen_kinds))


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
