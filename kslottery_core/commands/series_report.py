"""What `ks` prints of several checkpoints beside one: winners in each, how far they agree, how D grows."""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import typer

from kslottery_core.commands.terminal import format_table

if TYPE_CHECKING:
    from kslottery_core.checkpoints import EmbeddingSeries
    from kslottery_core.ks import KSSeries
    from kslottery_core.tickets import Overlap

MOST_PAIRS = 45
"""Lines of the overlap table: every pair of ten checkpoints."""
MOST_COLUMNS = 8
"""Checkpoints side by side in the table of tokens."""


def describe_threshold(width: int, alpha: float) -> str:
    """The least count that wins by exact p at this width d, beside the paper's tau(alpha) on D."""
    from kslottery_core.ks import compute_least_detectable_count, compute_tau, format_level

    least = compute_least_detectable_count(width, alpha)
    if least is None:
        exact = "no k wins by the exact p"
    else:
        exact = f"k >= {least} of {width:,} (D >= {least / width:.4f}) by the exact p"
    return f"at alpha {format_level(alpha)} {exact}; asymptotic tau = {compute_tau(width, alpha):.4f}"


def print_series(series: "EmbeddingSeries", found: "KSSeries", labels: Sequence[str], alpha: float, top: int) -> None:
    """Print the whole comparison; `labels` name the V rows."""
    from kslottery_core.tickets import compute_overlap, describe_method_disagreement, select_ticket

    before = series.before
    tickets = [select_ticket(result, alpha) for result in found.results]
    overlap = compute_overlap(tickets)
    seen: dict[str | None, int] = {}
    for at, result in enumerate(found.results):  # copies of one checkpoint are one draw, not two
        seen.setdefault(result.fingerprint_after or str(at), at)
    distinct = compute_overlap([tickets[at] for at in seen.values()])
    typer.echo(f"before         {before.source}  ({before.parameter}, {before.dtype})")
    typer.echo(
        f"compared       {len(tickets)} checkpoints, {found.vocabulary_size:,} tokens of width {found.width:,} on "
        f"{found.results[0].device}"
    )
    typer.echo(f"threshold      {describe_threshold(found.width, alpha)} (p is uncalibrated: the rows are paired)")
    for name, number, holders, expected in (
        ("in all", overlap.in_all, "every ticket", distinct.expected_in_all),
        ("in any", overlap.in_any, "at least one ticket", distinct.expected_in_any),
    ):
        noun = "token" if number == 1 else "tokens"
        typer.echo(f"{name:<15}{number:,} {noun} in {holders} ({expected:,.3g} expected by chance)")
    notes = [*series.notes, *found.notes]
    for label, ticket, result in zip(found.labels, tickets, found.results, strict=True):
        told = (ticket.note, describe_method_disagreement(result, alpha, tokens=labels))
        notes += [f"{label}: {note}" for note in told if note]
    for note in notes:
        typer.echo(f"note           {note}")
    typer.echo("")
    typer.echo(_format_checkpoints(found, overlap))
    typer.echo("")
    typer.echo(_format_overlap(found, overlap))
    if top:
        typer.echo("")
        typer.echo(_format_tokens(found, labels, top))


def _format_checkpoints(found: "KSSeries", overlap: "Overlap") -> str:
    rows = [
        (
            label,
            "unknown" if step is None else f"{step:,}",
            f"{result.changed_count:,}",
            f"{result.statistics.max():.4f}",
            f"{size:,}",
            f"{size / found.vocabulary_size:.1%}",
        )
        for label, step, result, size in zip(found.labels, found.steps, found.results, overlap.sizes, strict=True)
    ]
    return format_table(("checkpoint", "step", "rows changed", "largest D", "winners", "share"), rows)


def _format_overlap(found: "KSSeries", overlap: "Overlap") -> str:
    import numpy as np

    from kslottery_core.tickets import compute_expected_jaccard

    moved = int(np.any([result.changed for result in found.results], axis=0).sum())
    pairs = list(combinations(range(len(found.labels)), 2))
    rows = [
        (
            f"{found.labels[one]} and {found.labels[other]}",
            f"{overlap.intersections[one, other]:,}",
            _format_jaccard(overlap.jaccard[one, other]),
            _format_jaccard(overlap.expected_jaccard[one, other]),
            "undefined"
            if not moved
            else "same rows"
            if _are_same(found, one, other)
            else _format_jaccard(compute_expected_jaccard(int(overlap.sizes[one]), int(overlap.sizes[other]), moved)),
            "same rows" if _are_same(found, one, other) else format_power(overlap.log10_chances[one, other]),
        )
        for one, other in pairs[:MOST_PAIRS]
    ]
    header = ("tickets", "tokens in both", "Jaccard", "by chance", "of moved rows", "P(so many by chance)")
    left = len(pairs) - len(rows)
    explained = (
        "By chance: two independent random tickets of the same sizes, out of all rows, or out of the "
        f"{moved:,} rows that any checkpoint moved. Checkpoints share their base and their frequent tokens, so a "
        "small P says no more than that the tickets are not drawn blindly."
    )
    return "\n".join((format_table(header, rows), *([f"... and {left:,} more pairs"] if left else []), explained))


def _are_same(found: "KSSeries", one: int, other: int) -> bool:
    """Whether two checkpoints hold the same rows, so that their agreement is no evidence of anything."""
    first, second = (found.results[at].fingerprint_after for at in (one, other))
    return first is not None and first == second


def _format_tokens(found: "KSSeries", labels: Sequence[str], top: int) -> str:
    import numpy as np

    growth, steps = found.compute_growth(), found.step_range
    if growth is not None and steps is not None:
        order = sorted(range(len(found.steps)), key=lambda at: (found.steps[at] is None, found.steps[at] or 0))
        heading = f"Tokens whose D grows most from step {steps[0]:,} to step {steps[1]:,}"
        if any(found.steps.count(step) > 1 for step in steps):
            heading += " (mean over the checkpoints at that step)"
        measure, column = growth, "growth"
    else:
        order = list(range(len(found.labels)))
        heading = (
            "Tokens of largest mean D (the names tell no two training steps, such as step_100 and step_200, over which "
            "D could grow)"
        )
        measure, column = np.mean([result.counts for result in found.results], axis=0) / found.width, "mean"
    if len(order) > MOST_COLUMNS:
        order = [order[at] for at in np.linspace(0, len(order) - 1, MOST_COLUMNS).round().astype(int)]
    token_ids = np.lexsort((np.arange(len(measure)), -measure))[:top]
    statistics = found.get_statistics(token_ids)
    rows = [
        (
            labels[i],
            str(i),
            *(f"{statistics[at, row]:.4f}" for at in order),
            f"{measure[i]:+.4f}" if growth is not None else f"{measure[i]:.4f}",
        )
        for row, i in enumerate(token_ids)
    ]
    return f"{heading}\n{format_table(('token', 'id', *(found.labels[at] for at in order), column), rows)}"


def _format_jaccard(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.3g}"


def format_power(log10: float) -> str:
    """10 ** log10 in three digits, also where no double holds it: "0.0312", "1", "4.1e-512"."""
    if log10 > -4:
        return f"{10**log10:.3g}"
    exponent = math.floor(log10)
    mantissa, carry = f"{10 ** (log10 - exponent):.1e}".split("e")  # 9.97 is rounded to 1.0e+01
    return f"{mantissa}e{exponent + int(carry)}"
