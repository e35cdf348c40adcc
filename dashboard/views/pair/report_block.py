"""The pair and its ticket: what was compared, which tokens win, and how that depends on alpha."""

from __future__ import annotations

from collections.abc import Hashable

import pandas as pd

from dashboard import loaders
from dashboard.controls.ticket_figures import (
    statistic_histogram_figure,
    summarise_result,
    summarise_ticket_curve,
    ticket_curve_figure,
)
from dashboard.loaders import Comparison, SelectedTicket
from dashboard.report.block import DIGITS, Block, Picture, Table
from dashboard.report.context import NO_PAIR, ReportContext, by_level, sign_pair
from dashboard.state.rule import describe_rule, describe_ties
from dashboard.wording import NOT_DEFINED, ORDER_NAMES, format_noun, format_number, format_share, name_source
from kslottery_core.ks import format_statistic
from kslottery_core.tickets.summary import summarise_pair, summarise_ranked_neighbours

PAIR_TITLE = "What was compared"
TICKET_TITLE = "The ticket"
CURVE_TITLE = "Ticket size against α"
THRESHOLD_TITLE = "Where the threshold lies"

CAVEAT = (
    "Read α as a dial on D, not as an error rate: the test assumes two independent samples, but before and after are "
    "the same row, moved, so p is not calibrated."
)
_UNCHANGED = (
    "No row differs between before and after, so no α gives a ticket; choose another after checkpoint on the Pair page."
)
_TOKEN_COLUMNS = ["token_id", "token", "statistic", "p_value", "l2_shift", "cosine"]


def build_pair_block(context: ReportContext) -> Block:
    """Both sides with their fingerprints, and how many rows changed."""
    comparison = context.comparison
    if comparison is None:
        return Block(PAIR_TITLE, problem=NO_PAIR)
    pair, result = comparison.pair, comparison.result
    numbers = summarise_pair(result)
    furthest = numbers.furthest_token_id
    largest = "" if furthest is None else f", of token {pair.tokens[furthest]} ({furthest:,})"
    is_demo = loaders.is_demo(comparison.choice)
    sides = pd.DataFrame(
        [
            {
                "Side": name,
                "Checkpoint": f"the bundled demo, {name.lower()}" if is_demo else name_source(side.source),
                "Tensor": side.parameter,
                "Rows": side.shape[0],
                "Coordinates a row": side.shape[1],
                "Stored as": side.dtype,
                "Fingerprint": fingerprint or "none",
            }
            for name, side, fingerprint in (
                ("Before", pair.before, result.fingerprint_before),
                ("After", pair.after, result.fingerprint_after),
            )
        ]
    )
    return Block(
        PAIR_TITLE,
        paragraphs=(
            f"{format_noun(result.vocabulary_size, 'token')} compared, {result.width:,} coordinates a row; "
            f"{format_noun(result.changed_count, 'row')} changed "
            f"({format_share(result.changed_count, result.vocabulary_size)}).",
            f"The largest D is {format_statistic(numbers.largest_statistic)}{largest}. D is the largest gap between "
            "the distributions of a row's values before and after: 0 where they are the same, 1 where they share "
            "nothing.",
            *(_shorten_sources(note, comparison) for note in (*pair.notes, *result.notes)),
        ),
        tables=(Table(sides, "Both sides of the comparison", lengths={"Fingerprint": 12}),),
        signature=sign_pair(comparison),
    )


def _shorten_sources(note: str, comparison: Comparison) -> str:
    """A note without the folders above a checkpoint: a report is for others, whose disks look different."""
    for side in (comparison.pair.before, comparison.pair.after):
        note = note.replace(side.source, name_source(side.source))
    return note


def build_ticket_block(context: ReportContext) -> Block:
    """The present rule and the tokens it chooses, with D and p."""
    if context.comparison is None or context.selection is None:
        return Block(TICKET_TITLE, problem=NO_PAIR)
    comparison, ticket = context.comparison, context.selection.ticket
    result = comparison.result
    paragraphs = [
        f"By the rule “{describe_rule(context.choice.alpha)}”, {format_noun(ticket.size, 'token')} of "
        f"{result.vocabulary_size:,} {'wins' if ticket.size == 1 else 'win'} "
        f"({format_share(ticket.size, result.vocabulary_size)})."
    ]
    ties = _describe_split_ties(context, comparison, context.selection)
    if ties:
        paragraphs[0] += f" {ties}"
    elif ticket.least_count is not None and ticket.size:
        paragraphs[0] += (
            f" A token wins from D = {format_statistic(ticket.least_count / result.width)} on, which is "
            f"{ticket.least_count:,} of {result.width:,} coordinates."
        )
    if ticket.note:
        paragraphs.append(ticket.note)
    paragraphs.append(CAVEAT)
    table = loaders.load_token_table(comparison)
    winners = table[context.selection.winners[table["token_id"].to_numpy()]]
    shown = winners[_TOKEN_COLUMNS].rename(columns=ORDER_NAMES)
    return Block(
        TICKET_TITLE,
        paragraphs=tuple(paragraphs),
        tables=(Table(shown, "Tokens of the ticket, the largest D first", empty=NOT_DEFINED, decimals=DIGITS),)
        if ticket.size
        else (),
        signature=_sign(context, comparison),
    )


def identify_ticket(context: ReportContext) -> Hashable | None:
    """What the blocks of the pair's ticket rest on: the files of both sides and the rule."""
    return None if context.comparison is None else (context.comparison.key, context.choice.alpha)


def build_curve_block(context: ReportContext) -> Block:
    """How many tokens win at every alpha."""
    found = _find_changed(context)
    if isinstance(found, str):
        return Block(CURVE_TITLE, problem=found)
    comparison, selection = found
    alpha = context.choice.alpha
    # By a number of tokens the ticket is no point of this curve: what alpha itself would give is.
    size = selection.ticket.size
    if alpha.top_k is not None:
        size = loaders.load_selection(comparison, by_level(alpha)).ticket.size
    curve = summarise_ticket_curve(selection.curve, alpha.significance_level, size, comparison.result.vocabulary_size)
    picture = Picture(
        ticket_curve_figure(curve),
        alt=f"Number of winning tokens against alpha; {format_noun(size, 'token')} at alpha "
        f"{format_number(alpha.significance_level, 6)}",
        caption="Each step is a token, or several of equal D, that enters the ticket. " + CAVEAT,
        signature=f"{sign_pair(comparison)}, {describe_rule(by_level(alpha))}",
    )
    return Block(CURVE_TITLE, pictures=(picture,), signature=_sign(context, comparison))


def build_threshold_block(context: ReportContext) -> Block:
    """How D is spread over the tokens, and from which D on they win."""
    found = _find_changed(context)
    if isinstance(found, str):
        return Block(THRESHOLD_TITLE, problem=found)
    comparison, selection = found
    histogram = summarise_result(comparison.result, selection.ticket.least_count)
    left_out = (
        f" {format_noun(histogram.unchanged, 'token')} whose row did not change at all are left out."
        if histogram.unchanged
        else ""
    )
    ties = _describe_split_ties(context, comparison, selection)
    edge = "those right of the dashed line are the ticket."
    if ties:
        edge = f"the ticket lies right of the dashed line. {ties} The picture shows all of them as winners."
    picture = Picture(
        statistic_histogram_figure(histogram),
        alt=f"Tokens by D, winners in their own colour; {format_noun(selection.ticket.size, 'token')} win",
        caption=f"How many tokens moved how far; {edge}{left_out}",
    )
    return Block(THRESHOLD_TITLE, pictures=(picture,), signature=_sign(context, comparison))


def _describe_split_ties(context: ReportContext, comparison: Comparison, selection: SelectedTicket) -> str:
    """Where a ticket of so many tokens ends among tokens of equal D: what was done about them; else nothing."""
    if context.choice.alpha.top_k is None:
        return ""
    result = comparison.result
    edge = summarise_ranked_neighbours(result.counts, result.l2_shift, selection.winners)
    return describe_ties(edge, result.width) if edge.tied > edge.taken else ""


def _find_changed(context: ReportContext) -> tuple[Comparison, SelectedTicket] | str:
    if context.comparison is None or context.selection is None:
        return NO_PAIR
    if not context.comparison.result.changed_count:
        return _UNCHANGED
    return context.comparison, context.selection


def _sign(context: ReportContext, comparison: Comparison) -> str:
    return f"{sign_pair(comparison)}, {describe_rule(context.choice.alpha)}"
