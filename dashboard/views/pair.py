"""The first page: which two checkpoints are compared, and what the comparison found at a glance."""

from __future__ import annotations

import numpy as np
import streamlit as st

from dashboard import loaders, session
from dashboard.components.empty_ticket import show_empty_ticket
from dashboard.components.navigation import show_link
from dashboard.components.pair_header import load_shown_comparison
from dashboard.components.pair_picker import show_pair_picker
from dashboard.figures import statistic_histogram_figure, summarise_statistics
from dashboard.loaders import Comparison, SelectedTicket
from dashboard.wording import format_count, format_noun, format_number, format_seconds, format_share


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
    selection = loaders.load_selection(comparison, session.get_choice().alpha)
    _show_numbers(comparison, selection)
    _explain_changes(comparison)
    show_empty_ticket(comparison, selection)
    _show_overview(comparison, selection)
    _show_details(comparison)


def _show_numbers(comparison: Comparison, selection: SelectedTicket) -> None:
    result, alpha = comparison.result, session.get_choice().alpha
    largest = float(result.statistics.max())
    # Equal D is broken by the larger L2 shift, as in the table of tokens.
    furthest = int(np.where(result.counts == result.counts.max(), result.l2_shift, -1.0).argmax())
    top = comparison.pair.tokens[furthest] if result.counts[furthest] else None
    numbers = st.columns(4)
    numbers[0].metric(
        "Tokens compared",
        format_count(result.vocabulary_size),
        delta=f"{format_count(result.width)} values a row",
        delta_color="off",
        delta_arrow="off",
        border=True,
    )
    numbers[1].metric(
        "Rows changed",
        format_count(result.changed_count),
        delta=format_share(result.changed_count, result.vocabulary_size),
        delta_color="off",
        delta_arrow="off",
        border=True,
    )
    numbers[2].metric(
        "Largest D",
        format_number(largest),
        delta=None if top is None else f"token {top}",
        delta_color="off",
        delta_arrow="off",
        border=True,
        help="D is the largest gap between the distributions of a row's values before and after: 0 is none, 1 all.",
    )
    numbers[3].metric(
        f"Winning tokens at α = {format_number(alpha.significance_level, 6)}",
        format_count(selection.ticket.size),
        delta=format_share(selection.ticket.size, result.vocabulary_size),
        delta_color="off",
        delta_arrow="off",
        border=True,
    )


def _explain_changes(comparison: Comparison) -> None:
    result, pair = comparison.result, comparison.pair
    changed, total = result.changed_count, result.vocabulary_size
    if changed == 0:
        st.warning(
            "**No row differs.** Both sides hold the same embedding rows, so there is nothing to find. Either the "
            "same checkpoint was given twice, or the tuning left the embeddings alone (as LoRA on the attention "
            "layers does). Choose an after checkpoint whose embeddings were tuned."
        )
    elif changed == total:
        reason = (
            "That is what tied models do: the input embedding is also the output layer, and training the output "
            "moves every row a little."
            if pair.tied
            else "Full fine-tuning with weight decay, another numeric type or a rescaled matrix does that."
        )
        st.info(
            f"**Every row changed.** {reason} A changed row alone says little here; judge by D, and compare with "
            "an after checkpoint where only the embeddings were tuned, with the output layer kept apart."
        )
    elif pair.tied:
        st.info(
            "**This model is tied**: one matrix serves as input embedding and as output layer. Training it moves "
            "every row a little through the output. As in the paper, runs started here tune the input rows only "
            "and keep the output layer as it was."
        )


def _show_overview(comparison: Comparison, selection: SelectedTicket) -> None:
    result = comparison.result
    if result.changed_count == 0:
        return
    st.subheader("How far the tokens moved")
    summary = summarise_statistics(
        result.histogram, result.vocabulary_size - result.changed_count, selection.ticket.least_count
    )
    st.plotly_chart(
        statistic_histogram_figure(summary),
        key="pair_histogram",
        alt="Number of tokens by D, winners in their own colour",
    )
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
                f"**{title}**  \n`{side.source}`  \nTensor `{side.parameter}`  \n"
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
        st.markdown("\n".join(f"- {line}" for line in lines))
