"""Tickets that are at hand to be put together: the present one, those of earlier runs, and files."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard import loaders, state
from dashboard.controls.fields import KEEP
from dashboard.loaders import AlphaChoice, Comparison
from dashboard.loaders.vocabulary import Vocabulary
from dashboard.wording import format_level, format_noun, shorten
from kslottery_core.errors import KSLotteryError, RunError, TicketError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kslottery_core.tickets import Ticket

AT_ALPHA = "present ticket"
CHOSEN, UPLOADED = "run_combined", "run_combined_files"


def list_tickets(comparison: Comparison | None) -> dict[str, tuple[str, Ticket]]:
    """A name and the ticket itself by key: the one at the present alpha first, then those of runs, newest first.

    Runs with the same rows stand there once, and empty tickets not at all.
    """
    found: dict[str, tuple[str, Ticket]] = {}
    if comparison is not None:
        ticket = loaders.load_selection(comparison, state.get_choice().alpha).ticket
        if ticket.size:
            found[AT_ALPHA] = (_name_present(state.get_choice().alpha), ticket)
    try:
        records = loaders.load_run_store().list()
    except KSLotteryError:
        records = ()  # the page itself says what is wrong with the folder of runs
    seen = {_identify(ticket) for _, ticket in found.values()}
    for record in records:
        ticket = None if record.spec is None else record.spec.ticket
        if ticket is None or not ticket.size or _identify(ticket) in seen:
            continue
        seen.add(_identify(ticket))
        found[record.run_id] = (f"that of the run {record.name}", ticket)
    times = Counter(name for name, _ in found.values())
    return {key: (name if times[name] == 1 else f"{name}, {key}", ticket) for key, (name, ticket) in found.items()}


def _name_present(alpha: AlphaChoice) -> str:
    if alpha.top_k is not None:
        return state.describe_rule(alpha)
    return f"the ticket at α {format_level(alpha.significance_level)}"


def _identify(ticket: Ticket) -> tuple[object, ...]:
    return ticket.token_ids, ticket.vocabulary_size, ticket.width


def _label(name: str, ticket: Ticket) -> str:
    return f"{shorten(name[:1].upper() + name[1:], 60)} ({format_noun(ticket.size, 'token')})"


def show_ticket_shelf(comparison: Comparison | None) -> None:
    """Ask which tickets are put together."""
    at_hand = list_tickets(comparison)
    chosen = st.session_state.get(CHOSEN)
    if chosen is None:
        chosen = [key for key in (AT_ALPHA,) if key in at_hand]
    st.session_state[CHOSEN] = [key for key in chosen if key in at_hand]  # a run may have been deleted
    st.multiselect(
        "Tickets",
        list(at_hand),
        format_func=lambda key: _label(*at_hand[key]),
        key=CHOSEN,
        placeholder="Choose tickets of earlier runs" if at_hand else "No run has a ticket yet: add files",
        **KEEP,
    )
    st.file_uploader(
        "More tickets or lists from files (JSON or text)",
        type=["json", "txt"],
        key=UPLOADED,
        accept_multiple_files=True,
    )


def combine_tickets(
    comparison: Comparison | None, combine: Callable[..., Ticket], load: Callable[[Any], Ticket]
) -> Ticket:
    """The chosen tickets and the files, put together by `combine`; `load` reads a file. Raises KSLotteryError."""
    at_hand = list_tickets(comparison)
    keys = st.session_state.get(CHOSEN) or []
    parts = [at_hand[key] for key in keys if key in at_hand]
    parts += [(shorten(upload.name), load(upload)) for upload in st.session_state.get(UPLOADED) or []]
    if len(parts) < 2:
        found = "one" if parts else "none"
        raise RunError(f"At least two tickets are needed, found {found}; choose tickets of runs or add files.")
    empty = next((name for name, ticket in parts if not ticket.size), None)
    if empty is not None:
        raise TicketError(f"{empty}: this ticket is empty; leave it out.")
    return combine([ticket for _, ticket in parts], [name for name, _ in parts])


def read_ticket_file(upload: Any, load_vocabulary: Callable[[], Vocabulary]) -> Ticket:
    """The ticket in an uploaded file, or the one that its list of tokens makes. Raises KSLotteryError."""
    from kslottery_core.tickets import Ticket

    try:
        text = upload.getvalue().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RunError(
            f"{upload.name} is not valid UTF-8; choose a ticket that was downloaded here, or a list."
        ) from None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, dict):
        return Ticket.from_json(content, upload.name)
    if content is None and text.lstrip().startswith("{"):
        raise RunError(f"{upload.name} is no JSON file; choose a ticket that was downloaded here, or a list of tokens.")
    vocabulary = load_vocabulary()
    ticket = read_list(text, vocabulary, f"named in {shorten(upload.name)}")
    return replace(ticket, width=vocabulary.width)


def read_list(text: str, vocabulary: Vocabulary, where: str) -> Ticket:
    """The ticket of a typed list of tokens; `where` goes into its note. Raises KSLotteryError."""
    from kslottery_core.tickets import create_list_ticket, parse_token_list

    ticket = create_list_ticket(
        parse_token_list(text, vocabulary.size, vocabulary.labels), vocabulary.size, vocabulary.labels
    )
    return replace(ticket, note=f"{format_noun(ticket.size, 'token')} {where}.")
