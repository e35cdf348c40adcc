"""Where one token stands: its ranks, the tickets that hold it, the runs that trained its row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.controls.navigation import open_page
from dashboard.controls.ticket_shelf import read_ticket_file
from dashboard.loaders import Comparison, SelectedTicket
from dashboard.loaders.vocabulary import get_pair_vocabulary
from dashboard.state import LARGEST_SIGNIFICANCE_LEVEL, LEAST_SIGNIFICANCE_LEVEL, describe_rule
from dashboard.views.tokens.figures import describe_shared, summarise_place
from dashboard.views.tokens.loading import RowRun, RowRuns, list_row_runs, load_fitting_published
from dashboard.wording import (
    METHOD_NAMES,
    STATE_NAMES,
    escape_markdown,
    format_level,
    format_name,
    format_noun,
    shorten,
)
from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    from kslottery_core.tickets import Ticket

_MOST_LINKS = 8


@dataclass(frozen=True, eq=False)
class KnownTickets:
    """Tickets for the pair's vocabulary: (what it is, its name, the ticket); and the runs that changed its rows."""

    tickets: tuple[tuple[str, str, Ticket], ...]
    runs: RowRuns


def find_tickets(comparison: Comparison, selection: SelectedTicket) -> KnownTickets:
    """Gather the tickets at hand and ask for files of more. Raises KSLotteryError for an unreadable folder of runs."""
    size = comparison.pair.vocabulary_size
    found = [("Present ticket", describe_rule(state.get_choice().alpha), selection.ticket)]
    found += [("Published", name, ticket) for name, ticket in load_fitting_published(size).items()]
    runs = list_row_runs(comparison)
    found += [("Run", run.name, run.ticket) for run in runs.runs if run.ticket is not None]
    uploads = st.file_uploader(
        "Look into ticket files too (JSON or text)",
        type=["json", "txt"],
        key="story_ticket_files",
        accept_multiple_files=True,
        help="Tickets that were downloaded here, or lists of tokens. They are looked into while this part is open.",
    )
    for upload in uploads or []:
        try:
            ticket = read_ticket_file(upload, lambda: get_pair_vocabulary(comparison))
        except KSLotteryError as problem:
            st.error(escape_markdown(str(problem)))
            continue
        if ticket.vocabulary_size == size:
            found.append(("File", shorten(upload.name), ticket))
        else:
            st.warning(
                f"{escape_markdown(shorten(upload.name))} is for a vocabulary of {ticket.vocabulary_size:,} tokens, "
                f"this pair has {size:,}; its ids mean other tokens."
            )
    return KnownTickets(tuple(found), runs)


def show_token_tickets(comparison: Comparison, selection: SelectedTicket, known: KnownTickets, token_id: int) -> None:
    """Show the token's ranks, the tickets with and without it, and ways to the runs that trained its row."""
    _show_place(comparison, selection, token_id)
    table = build_ticket_table(known, token_id)
    holding = int(table["Holds it"].sum())
    st.markdown(f"**In {holding:,} of {format_noun(len(table), 'ticket')}** for this vocabulary")
    st.dataframe(
        table,
        hide_index=True,
        key=f"token_tickets_{token_id}",
        column_config={"Tokens": st.column_config.NumberColumn(format="localized", help="Size of the ticket")},
        alt=f"Tickets and whether they hold token {token_id}",
    )
    _show_runs([run for run in known.runs.runs if run.trains(token_id)], known.runs.unknown, token_id)


def _show_place(comparison: Comparison, selection: SelectedTicket, token_id: int) -> None:
    result = comparison.result
    place = summarise_place(result, selection.curve, token_id, LEAST_SIGNIFICANCE_LEVEL, LARGEST_SIGNIFICANCE_LEVEL)
    total = result.vocabulary_size
    by_d, by_shift, level, size = st.columns(4)
    for column, label, rank, shared in (
        (by_d, "Rank by D", place.statistic_rank, place.statistic_shared),
        (by_shift, "Rank by L2 shift", place.shift_rank, place.shift_shared),
    ):
        column.metric(label, f"{rank:,} of {total:,}", describe_shared(shared), delta_color="off", delta_arrow="off")
    level.metric(
        "Wins from α",
        "at none" if place.least_level is None else format_level(place.least_level),
        help="The least α at which the token is in the ticket, with the present correction, rounded up so that typing "
        "it has its effect.",
    )
    size.metric(
        "Among the largest D from",
        "no number" if place.least_size is None else format_noun(place.least_size, "token"),
        help="How many tokens with the largest D have to be taken for this one to be among them.",
    )


def build_ticket_table(known: KnownTickets, token_id: int) -> pd.DataFrame:
    """One row a ticket; those that hold the token come first, otherwise in the order in which they were found."""
    rows = [
        {"Ticket": name, "From": kind, "Tokens": ticket.size, "Holds it": token_id in ticket.token_ids}
        for kind, name, ticket in known.tickets
    ]
    return pd.DataFrame(sorted(rows, key=lambda row: not row["Holds it"]))


def build_run_table(runs: Sequence[RowRun]) -> pd.DataFrame:
    """One row a run."""
    same = {True: "Yes", False: "No", None: "Not known"}
    return pd.DataFrame(
        [
            {
                "Run": run.name,
                "Method": format_name(METHOD_NAMES, run.method),
                "State": format_name(STATE_NAMES, run.state),
                "Rows": "all" if run.ticket is None else f"{run.ticket.size:,}",
                "From this before model": same[run.same_model],
            }
            for run in runs
        ]
    )


def _show_runs(runs: Sequence[RowRun], unknown: int, token_id: int) -> None:
    unsaid = (
        f" {format_noun(unknown, 'more run')} cannot be told: the model it started from is not on this computer."
        if unknown
        else ""
    )
    if not runs:
        st.caption(f"No run with this vocabulary trained or copied the token's row.{unsaid}")
        return
    st.markdown(f"**{format_noun(len(runs), 'run')}** trained or copied the token's row{':' if runs else ''}")
    st.dataframe(
        build_run_table(runs),
        hide_index=True,
        key=f"token_runs_{token_id}",
        column_config={
            "From this before model": st.column_config.TextColumn(
                help="Whether the run started from the very rows of the before side: not known until it has ended."
            )
        },
        alt=f"Runs that trained the row of token {token_id}",
    )
    if unsaid:
        st.caption(unsaid.strip())
    chosen = None
    with st.container(horizontal=True):
        for run in runs[:_MOST_LINKS]:
            if st.button(
                f"Open {escape_markdown(shorten(run.name, 40))}",
                key=f"open_run_{token_id}_{run.run_id}",
                icon=":material/arrow_forward:",
                type="tertiary",
            ):
                chosen = run
    if chosen is not None:
        state.choose(run_id=chosen.run_id)
        open_page("runs")
