"""The first page: which two checkpoints are compared, and what the comparison found at a glance."""

from __future__ import annotations

import streamlit as st

from dashboard import loaders, state
from dashboard.controls.empty_ticket import show_empty_ticket
from dashboard.controls.metric_row import ShownNumber, show_metric_row
from dashboard.controls.navigation import show_link
from dashboard.controls.pair_header import load_shown_comparison
from dashboard.controls.picture import show_picture
from dashboard.controls.ticket_figures import statistic_histogram_figure, summarise_result
from dashboard.loaders import Comparison, SelectedTicket
from dashboard.state.rule import describe_ties
from dashboard.views.pair.findings import show_pair_findings
from dashboard.views.pair.picker import show_pair_picker
from dashboard.wording import (
    escape_markdown,
    format_code,
    format_count,
    format_noun,
    format_number,
    format_seconds,
    format_share,
)
from kslottery_core.tickets.summary import summarise_pair, summarise_ranked_neighbours


def render() -> None:
    """Show the picker, then what the chosen pair is."""
    st.title("Which tokens moved?")
    st.markdown(
        "Two versions of one language model, before and after tuning. For every token, the values of its embedding "
        "row are compared with a Kolmogorov-Smirnov test; the tokens whose distribution moved furthest are the "
        "*winning ticket*."
    )
    show_pair_picker()
    comparison = load_shown_comparison(on_pair_page=True)
    if comparison is None:
        return
    selection = loaders.load_selection(comparison, state.get_choice().alpha)
    _show_numbers(comparison, selection)
    show_pair_findings(comparison)
    show_empty_ticket(comparison, selection)
    _show_overview(comparison, selection)
    _show_details(comparison)


def _show_numbers(comparison: Comparison, selection: SelectedTicket) -> None:
    result, alpha = comparison.result, state.get_choice().alpha
    numbers = summarise_pair(result)
    furthest = numbers.furthest_token_id
    show_metric_row(
        [
            ShownNumber(
                "Tokens compared",
                format_count(result.vocabulary_size),
                f"{format_count(result.width)} coordinates a row",
            ),
            ShownNumber(
                "Rows changed",
                format_count(result.changed_count),
                format_share(result.changed_count, result.vocabulary_size),
            ),
            ShownNumber(
                "Largest D",
                format_number(numbers.largest_statistic),
                None if furthest is None else f"token {comparison.pair.tokens[furthest]}",
                "D is the largest gap between the distributions of a row's values before and after: 0 where they are "
                "the same, 1 where they share nothing.",
            ),
            ShownNumber(
                f"Winning tokens {state.describe_place(alpha)}",
                format_count(selection.ticket.size),
                format_share(selection.ticket.size, result.vocabulary_size),
            ),
        ]
    )


def _show_overview(comparison: Comparison, selection: SelectedTicket) -> None:
    result = comparison.result
    if result.changed_count == 0:
        return
    st.header("How far the tokens moved")
    summary = summarise_result(result, selection.ticket.least_count)
    show_picture(
        statistic_histogram_figure(summary),
        key="pair_histogram",
        alt="Number of tokens by D, winners in their own colour",
    )
    if state.get_choice().alpha.top_k is not None:
        edge = summarise_ranked_neighbours(result.counts, result.l2_shift, selection.winners)
        if edge.tied > edge.taken:
            st.caption(f"{describe_ties(edge, result.width)} The picture shows all of them as winners.")
    if summary.unchanged:
        st.caption(
            f"{format_noun(summary.unchanged, 'token')} whose row did not change at all are left out of the picture."
        )
    links = st.columns(3)
    with links[0]:
        show_link("tokens", "See every token")
    with links[1]:
        show_link("alpha", "Set how many tokens win")
    with links[2]:
        show_link("runs", "Tune the ticket")


def _show_details(comparison: Comparison) -> None:
    pair, result = comparison.pair, comparison.result
    with st.expander("What was compared", expanded=True):
        tied = {
            True: "yes, one matrix serves both",
            False: "no, they are two matrices",
            None: "cannot be told from what was given",
        }[pair.tied]
        sides = st.columns(2)
        for column, title, side in ((sides[0], "Before", pair.before), (sides[1], "After", pair.after)):
            column.markdown(
                f"**{title}**  \n{format_code(side.source)}  \nTensor {format_code(side.parameter)}  \n"
                f"{side.shape[0]:,} rows of {side.shape[1]:,} values, stored as {side.dtype}"
            )
        extra = [
            f"{format_noun(len(rows), 'row')} only in the {name} checkpoint, not compared"
            for rows, name in ((pair.only_before, "before"), (pair.only_after, "after"))
            if len(rows)
        ]
        how = "taken from an earlier comparison of the same files" if comparison.from_cache else "just computed"
        lines = [
            f"Input and output embedding shared (tied): {tied}",
            *extra,
            f"Computed on {result.device.upper() if result.device == 'cpu' else result.device} in "
            f"{format_seconds(result.seconds)} ({how})",
            *pair.notes,
            *result.notes,
        ]
        st.markdown("\n".join(f"- {escape_markdown(line)}" for line in lines))
