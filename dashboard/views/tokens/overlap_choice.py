"""The sets of tokens that can be held against the present ticket, and the fields that choose among them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from dashboard import loaders, state
from dashboard.controls.checkpoint_picker import is_opening_allowed, name_checkpoints
from dashboard.controls.ticket_shelf import read_ticket_file
from dashboard.loaders import Comparison, SelectedTicket
from dashboard.loaders.series import expand_sources, load_kept_series, load_series_winners
from dashboard.loaders.vocabulary import get_pair_vocabulary
from dashboard.state import OverlapView, describe_rule
from dashboard.state.token_address import MOST_SETS, read_levels
from dashboard.views.tokens.tickets_loading import list_row_runs, load_fitting_published
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
    """Every set at hand by key; what cannot be listed is told in one sentence each."""
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
    name = f"The {format_noun(ticket.size, 'most frequent token')}"
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
    """Levels that can be used become the choice; a wrong one is told, and what was typed stays."""
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
