"""Which tokens several tickets share: the sets to compare, their overlap, and how well they agree."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import loaders, state
from dashboard.controls.checkpoint_picker import is_opening_allowed, name_checkpoints
from dashboard.controls.picture import show_picture
from dashboard.controls.ticket_changes import list_tokens
from dashboard.controls.ticket_shelf import read_ticket_file
from dashboard.loaders import Comparison, SelectedTicket
from dashboard.loaders.series import expand_sources, load_kept_series, load_series_winners
from dashboard.loaders.vocabulary import get_pair_vocabulary
from dashboard.report.csv_file import build_csv
from dashboard.state import MOST_PICKED, OverlapView, describe_rule
from dashboard.state.parameters import MOST_SETS, read_levels
from dashboard.views.tokens.loading import list_row_runs, load_fitting_published
from dashboard.views.tokens.overlap_figure import (
    MOST_COLUMNS,
    OverlapSets,
    find_members,
    overlap_sets_figure,
    summarise_agreement,
    summarise_overlap_sets,
)
from dashboard.views.tokens.table import pick_tokens
from dashboard.wording import escape_markdown, format_level, format_noun, shorten
from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    from kslottery_core.tickets import Ticket

PRESENT = "present"
FREQUENT = "frequent"
_LEVELS, _SETS, _FILES = "overlap_levels", "overlap_sets", "overlap_files"
_WRONG_LEVELS = "kslottery.overlap_wrong_levels"


@dataclass(frozen=True, eq=False)
class TokenSet:
    """A set of a pair's tokens: `key` as the address names it, `name` as a person reads it, `mask` (V,) bool."""

    key: str
    name: str
    mask: np.ndarray


def choose_sets(comparison: Comparison, selection: SelectedTicket, counts: np.ndarray | None) -> list[TokenSet]:
    """Show the fields and return what is chosen: the present ticket first, each name once."""
    view, alpha = state.get_choice().overlap, state.get_choice().alpha
    offered = _list_offered(comparison, selection, counts)
    keys = [key for key in (_suggest(offered) if view.sets is None else view.sets) if key in offered]
    _show_fields(view, offered, keys)
    chosen = [TokenSet(PRESENT, "Present ticket", selection.winners)]
    for level in view.levels:
        rule = replace(alpha, significance_level=level, top_k=None)
        if rule != alpha:
            winners = loaders.load_selection(comparison, rule).winners
            chosen.append(TokenSet(f"alpha:{level}", describe_rule(rule), winners))
    chosen += [offered[key] for key in keys]
    chosen += _read_files(comparison)
    if len(chosen) - 1 > MOST_SETS:
        st.warning(
            f"{len(chosen) - 1:,} sets beside the present ticket are too many for one picture; the first {MOST_SETS} "
            "are shown. Take some out."
        )
    return _name_apart(chosen[: MOST_SETS + 1])


def _suggest(offered: dict[str, TokenSet]) -> tuple[str, ...]:
    return (FREQUENT,) if FREQUENT in offered else ()


def _list_offered(comparison: Comparison, selection: SelectedTicket, counts: np.ndarray | None) -> dict[str, TokenSet]:
    """Every set at hand by key; what cannot be listed is reported in one sentence each."""
    found: list[TokenSet] = []
    size = comparison.pair.vocabulary_size
    if counts is not None:
        found += _find_frequent(counts, selection.ticket.size)
    for find in (_find_runs, _find_checkpoints):
        try:
            found += find(comparison)
        except KSLotteryError as problem:
            st.warning(escape_markdown(str(problem)))
    found += [
        TokenSet(f"published:{name}", _name_published(name, ticket), _make_mask(ticket, size))
        for name, ticket in load_fitting_published(size).items()
    ]
    distinct = list({entry.key: entry for entry in found}.values())
    # Options come back from the browser by what they are called, so no two may be called alike.
    named = _name_apart([replace(entry, name=shorten(entry.name)) for entry in distinct])
    return {entry.key: entry for entry in named}


def _find_frequent(counts: np.ndarray, ticket_size: int) -> list[TokenSet]:
    """As many of the most frequent tokens as the ticket has; none for an empty ticket, or where nothing occurs."""
    from kslottery_core.tickets import select_frequent_ticket

    if not ticket_size or not counts.any():
        return []
    ticket = select_frequent_ticket(counts, ticket_size)
    where = "in training" if state.get_choice().token_text.counted == "training" else "in the text"
    name = f"The {format_noun(ticket.size, 'most frequent token')} {where}"
    return [TokenSet(FREQUENT, name, _make_mask(ticket, len(counts)))]


def _find_runs(comparison: Comparison) -> list[TokenSet]:
    return [
        TokenSet(f"run:{run.run_id}", f"Run: {run.name}", _make_mask(run.ticket, comparison.pair.vocabulary_size))
        for run in list_row_runs(comparison).runs
        if run.ticket is not None and run.ticket.size
    ]


def _find_checkpoints(comparison: Comparison) -> list[TokenSet]:
    """Tickets of the checkpoints that the Checkpoints page compared with this before model."""
    choice, alpha = comparison.choice, state.get_choice().alpha
    sources = expand_sources(state.get_choice().checkpoints.sources)
    if len(sources) < 2 or not is_opening_allowed(choice, sources):
        return []
    series = load_kept_series(choice, sources)
    if series is None or series.found.vocabulary_size != comparison.pair.vocabulary_size:
        return []
    names = name_checkpoints(sources, ())
    winners = load_series_winners(series, alpha)
    return [
        TokenSet(f"checkpoint:{source}", f"Checkpoint: {name}", mask)
        for source, name, mask in zip(sources, names, winners, strict=True)
    ]


def _name_published(name: str, ticket: Ticket) -> str:
    level = ticket.significance_level
    return f"Published: {name.partition('@')[0]}" + ("" if level is None else f", α = {format_level(level)}")


def _make_mask(ticket: Ticket, vocabulary_size: int) -> np.ndarray:
    mask = np.zeros(vocabulary_size, dtype=bool)
    mask[list(ticket.token_ids)] = True
    return mask


def _show_fields(view: OverlapView, offered: dict[str, TokenSet], keys: list[str]) -> None:
    levels, sets = st.columns([1, 2])
    if _LEVELS not in st.session_state:  # the page was left since: what was typed wrong is forgotten
        st.session_state.pop(_WRONG_LEVELS, None)
    if _WRONG_LEVELS not in st.session_state:
        st.session_state[_LEVELS] = ", ".join(map(format_level, view.levels))
    levels.text_input(
        "Tickets at other levels of α",
        key=_LEVELS,
        placeholder="0.01, 0.5",
        help="Numbers with commas between them; the correction is that of the present rule. Empty for none.",
        on_change=_take_levels,
    )
    for problem in st.session_state.get(_WRONG_LEVELS, ()):
        levels.error(escape_markdown(problem))
    st.session_state[_SETS] = keys
    sets.multiselect(
        "Other sets",
        list(offered),
        format_func=lambda key: f"{offered[key].name} ({format_noun(int(offered[key].mask.sum()), 'token')})",
        key=_SETS,
        placeholder="Choose sets" if offered else "None at hand",
        help="The most frequent tokens need a text above. Tickets of runs and published ones are offered where they "
        "are for this vocabulary, checkpoints after the Checkpoints page has compared them.",
        on_change=_take_sets,
    )
    with st.expander("Add ticket files", key="overlap_add_files", icon=":material/upload_file:"):
        st.file_uploader(
            "Ticket files or lists of tokens (JSON or text)",
            type=["json", "txt"],
            key=_FILES,
            accept_multiple_files=True,
            help="A file is not in the address of the page: whoever opens the link adds it again.",
        )


def _take_levels() -> None:
    """Levels that can be used become the choice; a wrong one is reported, and what was typed stays."""
    levels, problems = read_levels(st.session_state[_LEVELS] or "")
    if problems:
        st.session_state[_WRONG_LEVELS] = tuple(problems)
        return
    st.session_state.pop(_WRONG_LEVELS, None)
    state.change("overlap", levels=levels)


def _take_sets() -> None:
    state.change("overlap", sets=tuple(st.session_state[_SETS]))


def _read_files(comparison: Comparison) -> list[TokenSet]:
    size, found = comparison.pair.vocabulary_size, []
    for upload in st.session_state.get(_FILES) or []:
        name = shorten(upload.name)
        try:
            ticket = read_ticket_file(upload, lambda: get_pair_vocabulary(comparison))
        except KSLotteryError as problem:
            st.error(escape_markdown(str(problem)))
            continue
        if ticket.vocabulary_size != size:
            st.warning(
                f"{escape_markdown(name)} is for a vocabulary of {ticket.vocabulary_size:,} tokens, this pair has "
                f"{size:,}, so its ids mean other tokens; it is left out."
            )
            continue
        found.append(TokenSet(f"file:{upload.name}", f"File: {name}", _make_mask(ticket, size)))
    keys = _tell_apart(entry.key for entry in found)
    return [replace(entry, key=key) for entry, key in zip(found, keys, strict=True)]


def _name_apart(sets: list[TokenSet]) -> list[TokenSet]:
    """Two runs may have one name; two options, or two rows of the picture, may not."""
    names = _tell_apart(entry.name for entry in sets)
    return [replace(entry, name=name) for entry, name in zip(sets, names, strict=True)]


def _tell_apart(names: Iterable[str]) -> list[str]:
    """The names in their order, those that were there before with a number that makes them another."""
    told: dict[str, None] = {}
    for name in names:
        number, distinct = 1, name
        while distinct in told:
            number += 1
            distinct = f"{name} ({number})"
        told[distinct] = None
    return list(told)


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
