"""The neighbours of one token before and after: a picture, a table, and picking one of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.controls.picture import show_picture
from dashboard.loaders import Comparison
from dashboard.views.tokens.loading import NEIGHBOUR_COUNT, NeighbourPair, load_neighbours
from dashboard.views.tokens.neighbours_figure import (
    CHANGE_NAMES,
    NeighbourChanges,
    describe_neighbour_changes,
    neighbour_figure,
    summarise_neighbour_changes,
)
from dashboard.views.tokens.table import pick_tokens
from dashboard.wording import format_noun, format_token
from kslottery_core.progress import OnProgress, ProgressEvent

_REDRAW_SECONDS = 0.2


def find_neighbours(comparison: Comparison, token_ids: Sequence[int]) -> dict[int, NeighbourPair]:
    """The neighbours of all shown tokens, found in one pass over each side with progress shown.

    Raises KSLotteryError.
    """
    place = st.empty()
    try:
        return load_neighbours(comparison, token_ids, _make_progress(comparison.pair.vocabulary_size))
    finally:
        place.empty()


def _make_progress(vocabulary_size: int) -> OnProgress:
    """A bar for rows read; any click ends the work at the next report, and what the click asks for is drawn."""
    bar = st.empty()
    last_drawn = time.monotonic()

    def show(event: ProgressEvent) -> None:
        nonlocal last_drawn
        now = time.monotonic()
        if event.step >= event.total:
            bar.empty()
        elif now - last_drawn > _REDRAW_SECONDS:
            last_drawn = now
            side = "before" if event.step <= vocabulary_size else "after"
            bar.progress(
                event.step / event.total,
                text=f"Looking for the nearest rows: {event.step:,} of {event.total:,} read, now those {side}",
            )

    return show


def show_token_neighbours(comparison: Comparison, found: Mapping[int, NeighbourPair], token_id: int) -> None:
    """Show who is nearest to one token on both sides."""
    pair = found[token_id]
    summary = summarise_neighbour_changes(pair.before, pair.after, NEIGHBOUR_COUNT, pair.other_before, pair.other_after)
    if not summary.neighbours:
        st.caption(describe_neighbour_changes(summary))
        return
    show_picture(
        neighbour_figure(summary, comparison.pair.tokens),
        key=f"token_neighbours_{token_id}",
        alt=f"The {NEIGHBOUR_COUNT} nearest tokens of token {token_id} by cosine, before and after",
        caption=describe_neighbour_changes(summary),
    )
    _show_picks(comparison, summary, token_id)
    with st.expander("The numbers of these neighbours"):
        st.dataframe(
            build_neighbour_table(summary, comparison.pair.tokens),
            hide_index=True,
            key=f"token_neighbour_table_{token_id}",
            placeholder=f"beyond {NEIGHBOUR_COUNT}",
            column_config={
                name: st.column_config.NumberColumn(format="%.4f", help="Cosine of the angle between the two rows")
                for name in ("Cosine before", "Cosine after")
            },
            alt=f"Neighbours of token {token_id} with rank and cosine",
        )


def _show_picks(comparison: Comparison, summary: NeighbourChanges, token_id: int) -> None:
    picked = state.get_choice().token_ids
    offered = [neighbour.token_id for neighbour in summary.neighbours if neighbour.token_id not in picked]
    if not offered:
        st.caption(f"All {format_noun(len(summary.neighbours), 'neighbour')} are picked.")
        return
    key = f"token_neighbour_pick_{token_id}"
    st.pills(
        "Click a neighbour to pick it too",
        offered,
        format_func=lambda other: format_token(comparison.pair.tokens[other]),
        key=key,
        wrap=True,
        on_change=_pick,
        args=(key,),
    )


def _pick(key: str) -> None:
    chosen = st.session_state[key]
    if chosen is not None:
        pick_tokens((*state.get_choice().token_ids, chosen))
        st.session_state[key] = None


def build_neighbour_table(summary: NeighbourChanges, labels: Sequence[str]) -> pd.DataFrame:
    """One row a neighbour; a rank is empty where it is not among the nearest of that side."""
    table = pd.DataFrame(
        [
            {
                "Token": labels[neighbour.token_id],
                "Id": neighbour.token_id,
                "Rank before": neighbour.rank_before,
                "Rank after": neighbour.rank_after,
                "Cosine before": neighbour.cosine_before,
                "Cosine after": neighbour.cosine_after,
                "Change": CHANGE_NAMES[neighbour.change],
            }
            for neighbour in summary.neighbours
        ]
    )
    return table.astype({"Rank before": "Int64", "Rank after": "Int64"})
