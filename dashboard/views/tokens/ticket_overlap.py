"""Which tokens several tickets share: a picture of every combination, its tokens, and how much of it is chance."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.controls.picture import show_picture
from dashboard.controls.ticket_changes import list_tokens
from dashboard.loaders import Comparison, SelectedTicket
from dashboard.report.csv_file import build_csv
from dashboard.state import MOST_PICKED
from dashboard.views.tokens.overlap_choice import TokenSet, choose_sets
from dashboard.views.tokens.overlap_sets_figure import (
    MOST_COLUMNS,
    OverlapSets,
    find_members,
    overlap_sets_figure,
    summarise_agreement,
    summarise_overlap_sets,
)
from dashboard.views.tokens.table import pick_tokens
from dashboard.wording import format_noun

_MOST_OPTIONS = 200


def show_ticket_overlap(comparison: Comparison, selection: SelectedTicket, counts: np.ndarray | None) -> None:
    """Show the sets and what they share; `counts` (V,) are the tokens' occurrences in the chosen text, or None."""
    st.header("Which tokens do several tickets share?")
    st.session_state["overlap_shown"] = state.get_choice().overlap.shown
    st.toggle(
        "Hold the present ticket against others",
        key="overlap_shown",
        help="Tickets at other levels of α, of runs, files, checkpoints, published ones, and the most frequent tokens",
        on_change=lambda: state.change("overlap", shown=st.session_state["overlap_shown"]),
    )
    if not state.get_choice().overlap.shown:
        return
    sets = choose_sets(comparison, selection, counts)
    if len(sets) == 1:
        st.info("Type a level of α or choose a set to hold the present ticket against.")
        return
    names, masks = [entry.name for entry in sets], np.stack([entry.mask for entry in sets])
    summary = summarise_overlap_sets(names, masks)
    if not summary.union:
        st.info("None of these sets holds a token. Raise α, or choose another set.")
        return
    chosen = _find_chosen(summary, sets)
    _show_sets(summary, sets, chosen)
    _show_members(comparison, summary, sets, masks, chosen)
    _show_agreement(names, masks)
    _show_download(comparison, sets, masks)


def _find_chosen(summary: OverlapSets, sets: Sequence[TokenSet]) -> int | None:
    """The place of the combination that the person chose; None without one, or when it holds no token now."""
    members = state.get_choice().overlap.members
    pattern = tuple(entry.key in members for entry in sets)
    return summary.patterns.index(pattern) if pattern in summary.patterns else None


def _show_sets(summary: OverlapSets, sets: Sequence[TokenSet], chosen: int | None) -> None:
    # The browser keeps what was clicked by the place of its bar, so other bars are another picture.
    digest = hashlib.sha256(repr((summary, [entry.key for entry in sets])).encode()).hexdigest()[:12]
    key = f"ticket_overlap_{digest}"
    show_picture(
        overlap_sets_figure(summary, chosen),
        key=key,
        alt=f"How many of {summary.union:,} tokens each combination of {len(sets)} sets holds",
        on_select=partial(_take_click, key, summary, sets),
        selection_mode="points",
    )
    combinations, tokens = summary.left_out
    rest = (
        f" The {MOST_COLUMNS} with most tokens are drawn; {format_noun(combinations, 'combination')} more "
        f"{'holds' if combinations == 1 else 'hold'} {format_noun(tokens, 'token')} and can be chosen below."
        if combinations
        else ""
    )
    st.caption(
        "Each column is one combination of sets: filled dots say which sets hold its tokens, and no other set here "
        f"does; the bar says how many tokens these are. {summary.union:,} of {summary.vocabulary_size:,} tokens are in "
        f"at least one set.{rest}"
    )


def _take_click(key: str, summary: OverlapSets, sets: Sequence[TokenSet]) -> None:
    points = st.session_state[key]["selection"]["points"]
    place = points[0].get("customdata") if points else None
    place = place[0] if isinstance(place, list | tuple) and place else place
    if isinstance(place, int | float) and 0 <= place < len(summary.patterns):
        _choose(sets, summary.patterns[int(place)])


def _choose(sets: Sequence[TokenSet], pattern: Sequence[bool] | None) -> None:
    held = () if pattern is None else pattern
    state.change("overlap", members=tuple(entry.key for entry, is_in in zip(sets, held, strict=False) if is_in))


def _show_members(
    comparison: Comparison, summary: OverlapSets, sets: Sequence[TokenSet], masks: np.ndarray, chosen: int | None
) -> None:
    """The tokens of one combination, by name, and a way to pick them."""
    options = list(range(len(summary.patterns)))[:_MOST_OPTIONS]
    if chosen is not None and chosen not in options:
        options.append(chosen)
    st.session_state["overlap_members"] = chosen
    st.selectbox(
        "Tokens of a combination",
        options,
        index=None,
        format_func=lambda place: (
            f"{format_noun(summary.counts[place], 'token')}: {summary.name_pattern(summary.patterns[place])}"
        ),
        key="overlap_members",
        placeholder="Choose a combination here, or click its bar",
        on_change=lambda: _choose(
            sets,
            None if (place := st.session_state["overlap_members"]) is None else summary.patterns[place],
        ),
    )
    if chosen is None:
        return
    members = find_members(masks, summary.patterns[chosen])
    token_ids = members[np.argsort(-comparison.result.counts[members], kind="stable")].tolist()
    tokens, button = st.columns([5, 1.6], vertical_alignment="center")
    tokens.markdown(list_tokens(comparison.pair.tokens, token_ids))
    taken = token_ids[:MOST_PICKED]
    picked = state.get_choice().token_ids
    button.button(
        f"Pick the first {MOST_PICKED}" if len(token_ids) > MOST_PICKED else "Pick these tokens",
        icon=":material/check:",
        key="overlap_pick",
        help="Adds them to the picked tokens, whose stories are shown above",
        disabled=set(taken) <= set(picked),
        on_click=lambda: pick_tokens(tuple(dict.fromkeys([*taken, *picked]))[:MOST_PICKED]),
    )


def _show_agreement(names: Sequence[str], masks: np.ndarray) -> None:
    st.markdown("**Each set beside the present ticket**")
    rows = summarise_agreement(names, masks)
    number = st.column_config.NumberColumn
    st.dataframe(
        pd.DataFrame(
            {
                "Set": [row.name for row in rows],
                "Tokens": [row.size for row in rows],
                "In both": [row.shared for row in rows],
                "Jaccard": pd.array([row.jaccard for row in rows], dtype="Float64"),
                "By chance": pd.array([row.expected for row in rows], dtype="Float64"),
            }
        ),
        key="overlap_agreement",
        hide_index=True,
        placeholder="",
        column_config={
            "Tokens": number(format="localized"),
            "In both": number(format="localized"),
            "Jaccard": number(format="%.4g", help="Tokens in both, as a share of those in either; 1 is the same set"),
            "By chance": number(format="%.4g", help="Expected Jaccard of two sets of these sizes drawn blindly"),
        },
        alt="Agreement of each set with the present ticket, beside what chance would give",
    )
    st.caption(
        "By chance: two sets of these sizes drawn blindly from all tokens. Tickets at two levels of α of one pair hold "
        "each other, and frequent tokens win more often whatever was tuned, so agreeing more than that is no surprise."
    )


def _show_download(comparison: Comparison, sets: Sequence[TokenSet], masks: np.ndarray) -> None:
    st.download_button(
        "Tokens of all sets as CSV",
        data=lambda: build_csv(build_member_table(comparison.pair.tokens, [entry.name for entry in sets], masks)),
        file_name="ticket-overlap.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="overlap_csv",
    )


def build_member_table(tokens: Sequence[str], names: Sequence[str], masks: np.ndarray) -> pd.DataFrame:
    """One row for each token that is in a set, one column for each set; `masks` (S, V) bool."""
    token_ids = np.flatnonzero(masks.any(axis=0))
    table = pd.DataFrame({"Id": token_ids, "Token": [tokens[token_id] for token_id in token_ids]})
    for name, mask in zip(names, masks, strict=True):
        table[f"In: {name}"] = mask[token_ids]
    return table
