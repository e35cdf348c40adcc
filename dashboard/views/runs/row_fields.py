"""The part of the run form that chooses rows: one way, its few entries, and what it gives before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import loaders, state
from dashboard.controls.fields import KEEP, read_text
from dashboard.controls.text_fields import mark_problem
from dashboard.controls.ticket_shelf import UPLOADED, show_ticket_shelf
from dashboard.loaders import Comparison
from dashboard.views.runs.row_choice import (
    COMBINES,
    EXPLANATIONS,
    FROM_ALPHA,
    FROM_FILE,
    FROM_FREQUENT,
    FROM_LIST,
    FROM_MATCHED,
    FROM_PUBLISHED,
    FROM_RANDOM,
    FROM_TOP,
    choose_ticket,
    get_source,
    list_sources,
    load_base_vocabulary,
    needs_download,
)
from dashboard.wording import (
    escape_markdown,
    format_code,
    format_level,
    format_noun,
    format_number,
    format_share,
    format_token,
)
from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    from kslottery_core.tickets import Ticket

_SHOWN_TOKENS = 24


def show_row_source(comparison: Comparison | None) -> None:
    """Ask how rows are chosen, and show which ones that gives."""
    st.session_state["run_ticket_source"] = get_source(comparison)
    with st.container(border=True):
        widths = [1, 1] if get_source(comparison) == FROM_PUBLISHED else [2, 1, 1]  # its names are long
        choose, *entries = st.columns(widths, vertical_alignment="bottom")
        source = choose.selectbox(
            "Ticket: which rows",
            list_sources(comparison),
            key="run_ticket_source",
            help="The ticket is the method's own choice. The others are what to compare it with: equally many rows, "
            "frequent or random, show what is due to these tokens and what to their number or frequency.",
            **KEEP,
        )
        if source in EXPLANATIONS:
            st.caption(EXPLANATIONS[source])
        _show_entries(source, entries[0], entries[-1])
        if source in COMBINES:
            show_ticket_shelf(comparison)
        _show_preview(source, comparison)


def _show_entries(source: str, first: st.delta_generator.DeltaGenerator, second: st.delta_generator.DeltaGenerator):
    if source == FROM_TOP:
        first.number_input("Number of tokens", min_value=1, value=20, step=1, key="run_top", **KEEP)
    elif source in (FROM_FREQUENT, FROM_RANDOM):
        key = "run_frequent" if source == FROM_FREQUENT else "run_random"
        first.number_input("Number of tokens", min_value=1, value=None, step=1, key=key, **KEEP)
    if source in (FROM_RANDOM, FROM_MATCHED):
        (second if source == FROM_RANDOM else first).number_input(
            "Seed of the choice",
            min_value=0,
            value=None,
            step=1,
            key="run_row_seed",
            help="The same seed draws the same tokens again; several seeds show how much is chance.",
            **KEEP,
        )
    if source == FROM_PUBLISHED:
        names = _name_published()
        if st.session_state.get("run_published") not in names:
            st.session_state["run_published"] = next(iter(names))
        first.selectbox("Published for", list(names), format_func=names.__getitem__, key="run_published", **KEEP)
    elif source == FROM_LIST:
        st.text_area("Tokens of the list", key="run_list", height=80, placeholder='13, 29871, 5-9, the, "7"', **KEEP)
    elif source == FROM_FILE:
        st.file_uploader("Ticket or list (JSON or text)", type=["json", "txt"], key="run_ticket_file")


def _name_published() -> dict[str, str]:
    from kslottery_core.corpora import name_language
    from kslottery_core.tickets import load_published_tickets

    names = {}
    for name, ticket in load_published_tickets().items():
        language = name_language(name.split("@")[0].removeprefix("en-"))
        which = " (en-ca)" if name.startswith("en-") else ""
        names[name] = (
            f"{language}{which}, α {format_level(ticket.significance_level)}: {format_noun(ticket.size, 'token')}"
        )
    return names


def _show_preview(source: str, comparison: Comparison | None) -> None:
    """What the choice gives: how many, the first ones, what it shares with the ticket, how it was chosen."""
    if source == FROM_FILE and st.session_state.get("run_ticket_file") is None:
        return
    if source == FROM_LIST and not read_text("run_list"):
        return
    model, revision = read_text("run_model"), read_text("run_revision") or None
    needs_no_vocabulary = (FROM_ALPHA, FROM_TOP, FROM_PUBLISHED, *(() if st.session_state.get(UPLOADED) else COMBINES))
    if source not in needs_no_vocabulary and needs_download(comparison):
        st.caption(f"To show these tokens, the vocabulary of {format_code(model)} has to be fetched from the hub.")
        st.button(
            "Fetch it and show the tokens",
            icon=":material/download:",
            key="fetch_vocabulary",
            on_click=state.allow_download,
            args=(("vocabulary", model, revision),),
        )
        return
    try:
        ticket = choose_ticket(comparison)
    except KSLotteryError as problem:
        st.caption(mark_problem(problem))
        return
    _show_size(source, ticket, comparison)
    if ticket.size:
        more = ticket.size - _SHOWN_TOKENS
        st.markdown(
            " ".join(format_token(label) for label in _name_tokens(ticket, comparison)[:_SHOWN_TOKENS])
            + (f" and {more:,} more" if more > 0 else "")
        )
    if ticket.note and source != FROM_ALPHA:
        st.caption(escape_markdown(ticket.note))
    if ticket.size:
        _warn_of_misfit(ticket, comparison)


def _name_tokens(ticket: Ticket, comparison: Comparison | None) -> tuple[str, ...]:
    """Labels of the ticket's tokens; ids where neither the ticket nor a pair of the same vocabulary knows them."""
    if ticket.tokens:
        return ticket.tokens
    if comparison is not None and comparison.pair.vocabulary_size == ticket.vocabulary_size:
        return tuple(comparison.pair.tokens[token_id] for token_id in ticket.token_ids)
    return tuple(f"id {token_id}" for token_id in ticket.token_ids)


def _show_size(source: str, ticket: Ticket, comparison: Comparison | None) -> None:
    alpha = state.get_choice().alpha
    if source == FROM_ALPHA:
        place = escape_markdown(state.describe_place(alpha))
        st.caption(
            f"{format_noun(ticket.size, 'token')} {place}."
            if ticket.size
            else f"No token wins {place}: raise α, or take the tokens with the largest D."
        )
        return
    size = f"**{format_noun(ticket.size, 'token')}**, {format_share(ticket.size, ticket.vocabulary_size)} of "
    size += f"{ticket.vocabulary_size:,}."
    st.markdown(size + _describe_overlap(ticket, comparison, escape_markdown(state.describe_place(alpha))))


def _describe_overlap(ticket: Ticket, comparison: Comparison | None, place: str) -> str:
    from kslottery_core.tickets import compute_overlap

    if comparison is None:
        return ""
    at_alpha = loaders.load_selection(comparison, state.get_choice().alpha).ticket
    if not at_alpha.size:
        return f" The ticket {place} is empty."
    if at_alpha.vocabulary_size != ticket.vocabulary_size:
        return " The open pair has another vocabulary, so the two tickets cannot be compared."
    overlap = compute_overlap([at_alpha, ticket])
    if ticket.rule == "matched":  # they were drawn outside it, so chance is no measure here
        return f" None of them is in the ticket {place} ({format_noun(at_alpha.size, 'token')}), by intent."
    shared = "None" if not overlap.in_all else f"{overlap.in_all:,}"
    return (
        f" {shared} of them {'is' if overlap.in_all < 2 else 'are'} also in the ticket {place} "
        f"({format_noun(at_alpha.size, 'token')}); by chance it would be {format_number(overlap.expected_in_all, 2)}."
    )


def _warn_of_misfit(ticket: Ticket, comparison: Comparison | None) -> None:
    """Say at once that a ticket belongs to another model; whether it does is asked again at Start."""
    from kslottery_core.tickets import check_ticket_fits

    if not read_text("run_model") or needs_download(comparison):
        return
    try:
        vocabulary = load_base_vocabulary()
        check_ticket_fits(ticket, vocabulary.size, vocabulary.width)
    except KSLotteryError as problem:
        st.caption(mark_problem(problem))
