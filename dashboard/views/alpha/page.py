"""The dial: how many tokens win at which alpha, and what that means in parameters."""

from __future__ import annotations

import json

import streamlit as st

from dashboard import loaders, state
from dashboard.controls.alpha_control import show_alpha_control
from dashboard.controls.empty_ticket import find_first_level, show_empty_ticket, show_no_statistic
from dashboard.controls.metric_row import ShownNumber, show_metric_row
from dashboard.controls.navigation import open_page
from dashboard.controls.pair_header import load_shown_comparison, show_pair_line
from dashboard.controls.ticket_changes import show_ticket_changes
from dashboard.loaders import Comparison, SelectedTicket
from dashboard.wording import ORDER_NAMES, escape_markdown, format_count, format_noun, format_share
from kslottery_core.ks import format_statistic
from kslottery_core.tickets.summary import summarise_ticket


def render() -> None:
    """Show the dial, the ticket's size and cost, what moves at its edge, and the ticket itself."""
    st.title("How many tokens win?")
    comparison = load_shown_comparison()
    if comparison is None:
        return
    show_pair_line(comparison)
    if show_no_statistic(comparison):
        return
    show_alpha_control(comparison)
    selection = loaders.load_selection(comparison, state.get_choice().alpha)
    _show_numbers(comparison, selection)
    show_empty_ticket(comparison, selection)
    _show_meaning(comparison)
    st.header("What enters and leaves")
    show_ticket_changes(comparison, selection)
    _show_ticket(comparison, selection)


def _show_numbers(comparison: Comparison, selection: SelectedTicket) -> None:
    result, ticket = comparison.result, selection.ticket
    whole = loaders.load_parameter_count(comparison.pair.before)
    numbers = summarise_ticket(ticket.size, ticket.least_count, result.width, result.vocabulary_size, whole)
    least = numbers.least_statistic
    show_metric_row(
        [
            ShownNumber(
                "Tokens in the ticket",
                format_count(numbers.size),
                f"{format_share(numbers.size, result.vocabulary_size)} of {result.vocabulary_size:,}",
            ),
            ShownNumber(
                "Wins from D",
                "never" if least is None else format_statistic(least),
                "no D suffices" if least is None else f"{ticket.least_count:,} of {result.width:,} coordinates",
            ),
            ShownNumber(
                "Parameters to train",
                format_count(numbers.parameters),
                f"{format_share(numbers.parameters, numbers.embedding_parameters)} of embedding",
            ),
            ShownNumber(
                "Share of the whole model",
                format_share(numbers.parameters, whole),
                "its size is in no file here" if whole is None else f"of {whole:,}",
            ),
        ]
    )


def _show_meaning(comparison: Comparison) -> None:
    from kslottery_core.tickets import describe_method_disagreement

    st.info(
        "**Read α as a dial on D, not as an error rate.** The test assumes two independent samples, but before and "
        "after are the same row, moved: the p-values are not calibrated. A correction is a stricter threshold on "
        "p, nothing more. D does not see which coordinate moved, so look at L2 shift, cosine and mean shift beside it.",
        icon=":material/info:",
    )
    alpha = state.get_choice().alpha
    if alpha.top_k is not None:
        return
    disagreement = describe_method_disagreement(
        comparison.result, alpha.significance_level, alpha.correction, comparison.pair.tokens
    )
    if disagreement:
        st.caption(escape_markdown(disagreement))


def _show_ticket(comparison: Comparison, selection: SelectedTicket) -> None:
    ticket = selection.ticket
    st.header(f"The ticket: {format_noun(ticket.size, 'token')}")
    if not ticket.size:
        larger = "" if find_first_level(selection) is None else "a larger α, or "
        st.caption(
            "A ticket of no tokens cannot be downloaded or tuned: there would be nothing to train. "
            f"Choose {larger}the ticket by its number of tokens."
        )
        return
    table = loaders.load_token_table(comparison)
    table = table[selection.winners[table["token_id"].to_numpy()]]
    shown = table[["token_id", "token", "statistic", "p_value", "l2_shift", "cosine", "mean_shift"]]
    st.dataframe(
        shown.rename(columns=ORDER_NAMES),
        hide_index=True,
        height=min(38 + 35 * len(shown), 320),
        key="ticket_table",
        column_config={
            "D": st.column_config.NumberColumn(format="%.4f"),
            "p": st.column_config.NumberColumn(format="%.3g"),
            "L2 shift": st.column_config.NumberColumn(format="%.4g"),
            "Cosine": st.column_config.NumberColumn(format="%.4f"),
            "Mean shift": st.column_config.NumberColumn(format="%.3g"),
        },
        alt="Tokens of the ticket",
    )
    download, tune = st.columns([1, 3])
    download.download_button(
        "Download the ticket",
        data=json.dumps(ticket.to_json(), ensure_ascii=False, indent=1) + "\n",
        file_name="ticket.json",
        mime="application/json",
        icon=":material/download:",
        on_click="ignore",
        key="ticket_json",
    )
    if tune.button("Tune this ticket", type="primary", icon=":material/play_circle:", key="tune_ticket"):
        st.session_state[state.OPEN_RUN_FORM] = True
        open_page("runs")
