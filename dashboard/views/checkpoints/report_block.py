"""Several after checkpoints in a report: only what was compared before, no checkpoint is compared for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dashboard.loaders.series import (
    SeriesComparison,
    SeriesSelection,
    expand_sources,
    list_series_downloads,
    load_kept_series,
    load_series_selection,
)
from dashboard.report.block import Block, Picture, Table
from dashboard.report.context import NO_PAIR, ReportContext, by_level, shorten_digest
from dashboard.state.rule import describe_rule
from dashboard.views.checkpoints.figures import (
    WinnerBars,
    growth_figure,
    overlap_figure,
    summarise_growth,
    summarise_overlap,
    summarise_sharing,
    winner_bar_figure,
)
from dashboard.views.checkpoints.tables import build_checkpoint_table, build_overlap_table
from dashboard.wording import format_count, format_noun, format_number, name_source
from kslottery_core.errors import KSLotteryError

CHECKPOINT_TITLE = "Do the same tokens win again?"
_LINES = 6


def build_checkpoint_block(context: ReportContext) -> Block:
    """Winners in each checkpoint of the Checkpoints page, how far they agree, and how D grows."""
    choice = context.choice.pair if context.choice.pair.before else context.pair
    if choice is None:
        return Block(CHECKPOINT_TITLE, problem=NO_PAIR)
    sources = expand_sources(context.choice.checkpoints.sources)
    if len(sources) < 2:
        return Block(CHECKPOINT_TITLE, problem="No series is open; name two checkpoints on the Checkpoints page.")
    if list_series_downloads(choice, sources) and not context.may_open(
        (choice.before, choice.before_revision, sources)
    ):
        return Block(CHECKPOINT_TITLE, problem="Not all checkpoints are here; the Checkpoints page asks to fetch them.")
    try:
        comparison = load_kept_series(choice, sources)
    except KSLotteryError as problem:
        return Block(CHECKPOINT_TITLE, problem=str(problem))
    if comparison is None:
        return Block(CHECKPOINT_TITLE, problem="This series has not been compared; open the Checkpoints page to do it.")
    opened = comparison.opened
    known = zip(sources, opened.labels, opened.steps, strict=True)
    names = [context.checkpoint_names.get(source, (label, step)) for source, label, step in known]
    return _build_found(context, comparison, tuple(label for label, _ in names), tuple(step for _, step in names))


def _build_found(
    context: ReportContext, comparison: SeriesComparison, labels: tuple[str, ...], steps: tuple[int | None, ...]
) -> Block:
    selection = load_series_selection(comparison, context.choice.alpha)
    overlap, sharing = selection.overlap, summarise_sharing(selection.overlap)
    first = comparison.found.results[0]
    checkpoints = build_checkpoint_table(comparison, selection, labels, steps).rename(columns={"Share": "Share (%)"})
    bars = WinnerBars(labels, tuple(overlap.sizes.tolist()), selection.thresholds, overlap.vocabulary_size)
    pictures = [
        Picture(
            winner_bar_figure(bars),
            alt="Number of winning tokens of each checkpoint",
            caption="Winning tokens of each checkpoint",
        ),
        Picture(
            overlap_figure(summarise_overlap(labels, overlap)),
            alt="Jaccard of each two checkpoints, observed beside expected by chance",
            caption="Jaccard: tokens that win in both, as a share of those that win in either. 1 is the same ticket.",
        ),
        _draw_growth(context, comparison, selection, labels, steps),
    ]
    return Block(
        CHECKPOINT_TITLE,
        paragraphs=(
            f"{format_count(sharing.in_all)} of {format_noun(overlap.vocabulary_size, 'token')} win in all "
            f"{len(labels)} checkpoints; {format_number(overlap.expected_in_all)} would if tickets of these sizes were "
            f"drawn blindly. {format_count(sharing.in_one)} win in one only.",
            "p is not calibrated, so read α as a dial on D. Checkpoints share their base and its frequent tokens, so "
            "agreeing more than by chance is no surprise by itself.",
        ),
        pictures=tuple(pictures),
        tables=(
            Table(
                checkpoints.assign(Checkpoint=checkpoints["Checkpoint"].map(name_source)),
                "Checkpoints",
                empty="",
                decimals={"Wins from D": 4, "Largest D": 4},
            ),
            Table(build_overlap_table(selection, labels), "Each two checkpoints", empty=""),
        ),
        signature=f"before {shorten_digest(first.fingerprint_before)}, after "
        + ", ".join(shorten_digest(result.fingerprint_after) for result in comparison.found.results)
        + f", {describe_rule(by_level(context.choice.alpha))}",
    )


def _draw_growth(
    context: ReportContext,
    comparison: SeriesComparison,
    selection: SeriesSelection,
    labels: tuple[str, ...],
    steps: tuple[int | None, ...],
) -> Picture:
    """D of the picked tokens, or of those that grow most; the same as on the page."""
    found = comparison.found
    growth = replace(found, steps=steps).compute_growth()
    picked = [token_id for token_id in context.choice.token_ids if token_id < found.vocabulary_size]
    order = np.max([result.statistics for result in found.results], axis=0) if growth is None else growth
    followed = picked or np.argsort(-order, kind="stable")[:_LINES].tolist()
    words = (
        "picked tokens"
        if picked
        else f"the {_LINES} tokens " + ("with the largest D" if growth is None else "that grow most")
    )
    lines = summarise_growth(
        labels,
        steps,
        comparison.groups,
        [comparison.opened.tokens[token_id] for token_id in followed],
        found.get_statistics(followed),
        selection.thresholds,
    )
    return Picture(
        growth_figure(lines, log_steps=context.choice.checkpoints.log_steps),
        alt=f"D of {words} in each checkpoint, with the D from which a token wins",
        caption=f"D of {words} in each checkpoint",
    )
