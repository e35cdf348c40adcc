"""The tokens of a report: all of them as a map, the picked ones with their distribution functions and histograms."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

import pandas as pd

from dashboard import loaders
from dashboard.loaders import Comparison, SelectedTicket
from dashboard.loaders.texts import load_text, sign_text
from dashboard.loaders.vocabulary import load_pair_counts, name_text
from dashboard.report.block import DIGITS, Block, Picture, Table
from dashboard.report.context import NO_PAIR, ReportContext, shorten_digest, sign_pair
from dashboard.state.rule import describe_rule
from dashboard.views.tokens.figures import row_histogram_figure, summarise_row_histogram, token_cdf_figure
from dashboard.views.tokens.map_figure import summarise_token_map, token_map_figure
from dashboard.wording import FREQUENCY_NAMES, KIND_NAMES, NOT_DEFINED, format_name, format_noun, name_map_axis
from kslottery_core.errors import KSLotteryError
from kslottery_core.ks import format_statistic

MAP_TITLE = "The map of all tokens"
TOKEN_TITLE = "Picked tokens"
_MOST_POINTS = 3_000  # winners drawn one by one: more would make the file slow to look at
_MOST_TOKENS = 6


def build_map_block(context: ReportContext) -> Block:
    """All tokens on the axes of the Tokens page, as shading; winners as points."""
    if context.comparison is None or context.selection is None:
        return Block(MAP_TITLE, problem=NO_PAIR)
    comparison, spec, view = context.comparison, context.text, context.choice.token_map
    frequency = context.choice.token_text.counted
    counts, signature = None, f"{sign_pair(comparison)}, {describe_rule(context.choice.alpha)}"
    if spec is not None and "frequency" in (view.x, view.y):
        try:
            counts = load_pair_counts(comparison, spec, frequency)
            text = f"{name_text(spec)} {shorten_digest(load_text(spec).fingerprint)}"
            signature += f", text {text}, {FREQUENCY_NAMES[frequency].lower()}"
        except KSLotteryError as problem:
            return Block(MAP_TITLE, problem=str(problem))
    table = loaders.load_token_table(comparison)
    winner = context.selection.winners[table["token_id"].to_numpy()]
    summary = summarise_token_map(
        table.assign(winner=winner), counts, x=view.x, y=view.y, log_x=view.log_x, most_points=_MOST_POINTS
    )
    across, up = (name_map_axis(axis, frequency) for axis in (summary.x, summary.y))
    caption = (
        f"{format_noun(summary.drawn, 'token')} drawn; across: {across}, "
        f"up: {up}. The stronger the shade, the more tokens; winners "
        "that are points are not in the shade."
    )
    points, placed = len(summary.winner_ids), summary.winner_count - summary.unplaced_winners
    if points < placed:
        caption += (
            f" Of {placed:,} winners only the {points:,} with the largest D are drawn as points, the others are in the "
            "shade."
        )
    if summary.unplaced:
        caption += (
            f" {format_noun(summary.unplaced, 'token')}, {format_noun(summary.unplaced_winners, 'winner')} among them, "
            f"{'has' if summary.unplaced == 1 else 'have'} no place on these axes and cannot be drawn."
        )
    picture = Picture(
        token_map_figure(summary, frequency),
        alt=f"All tokens by {across} and {up}, winners as points",
        caption=caption,
    )
    return Block(MAP_TITLE, pictures=(picture,), signature=signature)


def identify_map(context: ReportContext) -> Hashable | None:
    """What the map rests on: both sides' files, the rule, the axes, and the text where one of them is a frequency."""
    if context.comparison is None:
        return None
    counted = None
    if context.text is not None and "frequency" in (context.choice.token_map.x, context.choice.token_map.y):
        counted = (context.text, sign_text(context.text), context.choice.token_text.counted)
    return context.comparison.key, context.choice.alpha, context.choice.token_map, counted


def build_token_block(context: ReportContext) -> Block:
    """The tokens picked on the Tokens page; the first six of them with pictures."""
    if context.comparison is None or context.selection is None:
        return Block(TOKEN_TITLE, problem=NO_PAIR)
    comparison = context.comparison
    picked = [token_id for token_id in context.choice.token_ids if token_id < comparison.result.vocabulary_size]
    if not picked:
        return Block(TOKEN_TITLE, problem="No token is picked; tick rows of the table on the Tokens page.")
    pictures: list[Picture] = []
    try:
        for token_id in picked[:_MOST_TOKENS]:
            pictures += _draw_token(comparison, token_id)
    except KSLotteryError as problem:
        return Block(TOKEN_TITLE, problem=str(problem))
    paragraphs = (
        "The distribution functions of the values of a token's row, before and after; the marked gap is D.",
        *(
            [f"The first {_MOST_TOKENS} of {len(picked):,} picked tokens are drawn."]
            if len(picked) > _MOST_TOKENS
            else []
        ),
    )
    rows = _build_table(comparison, context.selection, picked)
    table = Table(rows, format_noun(len(picked), "picked token"), empty=NOT_DEFINED, decimals=DIGITS)
    return Block(TOKEN_TITLE, tuple(paragraphs), tuple(pictures), (table,), sign_pair(comparison))


def identify_tokens(context: ReportContext) -> Hashable | None:
    """What the picked tokens' block rests on: both sides' files, the rule and the picks."""
    if context.comparison is None:
        return None
    return context.comparison.key, context.choice.alpha, context.choice.token_ids


def _draw_token(comparison: Comparison, token_id: int) -> list[Picture]:
    name = f"{comparison.pair.tokens[token_id]} (token {token_id})"
    gap = loaders.load_cdf_gap(comparison, token_id)
    rows = summarise_row_histogram(*loaders.load_token_rows(comparison, token_id))
    statistic = f"D = {format_statistic(gap.statistic)}, {gap.count:,} of {gap.width:,} coordinates"
    cdf = Picture(
        token_cdf_figure(gap),
        alt=f"Distribution functions of {name} before and after, {statistic}",
        caption=f"{name}: {statistic}",
        title=name,
    )
    return [
        cdf,
        replace(
            cdf,
            figure=row_histogram_figure(rows),
            alt=f"Histogram of the values of {name} before and after",
            caption=f"{name}: how many coordinates have which value",
        ),
    ]


def _build_table(comparison: Comparison, selection: SelectedTicket, token_ids: list[int]) -> pd.DataFrame:
    result, pair = comparison.result, comparison.pair
    return pd.DataFrame(
        {
            "Id": token_ids,
            "Token": [pair.tokens[token_id] for token_id in token_ids],
            "Kind": [format_name(KIND_NAMES, pair.token_kinds[token_id]) for token_id in token_ids],
            "In the ticket": selection.winners[token_ids],
            "D": result.statistics[token_ids],
            "p": result.p_values[token_ids],
            "L2 shift": result.l2_shift[token_ids],
            "Cosine": result.cosine[token_ids],
            "Mean shift": result.mean_shift[token_ids],
        }
    )
