"""`ks` and `ticket`: two checkpoints in, a comparison or a ticket out."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kslottery_core.commands.terminal import TerminalProgress, format_number, format_table
from kslottery_core.errors import TicketError

if TYPE_CHECKING:
    from kslottery_core.checkpoints import EmbeddingPair
    from kslottery_core.ks import KSResult
    from kslottery_core.tickets import Ticket


class Correction(StrEnum):
    none = "none"
    bonferroni = "bonferroni"
    holm = "holm"
    bh = "bh"


class Threshold(StrEnum):
    exact = "exact"
    tau = "tau"


BeforeArgument = Annotated[
    str, typer.Argument(help="Checkpoint before tuning: folder, .safetensors, .bin, .gguf or hub id.", metavar="BEFORE")
]
AfterArgument = Annotated[str, typer.Argument(help="Checkpoint after tuning; adapters too.", metavar="AFTER")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
ParameterOption = Annotated[str | None, typer.Option(help="Name of the matrix, where the file alone cannot tell.")]
BeforeRevisionOption = Annotated[str | None, typer.Option(help="Revision of a hub id.")]
AfterRevisionOption = Annotated[str | None, typer.Option(help="Revision of a hub id.")]
AlphaOption = Annotated[float, typer.Option(help="Significance level, between 0 and 1.")]


def _compare(
    before: str, after: str, device: str, parameter: str | None, revisions: tuple[str | None, str | None]
) -> "tuple[EmbeddingPair, KSResult]":
    from kslottery_core.checkpoints import open_pair
    from kslottery_core.ks import compute_pair_ks

    pair = open_pair(before, after, parameter=parameter, before_revision=revisions[0], after_revision=revisions[1])
    with TerminalProgress() as progress:
        return pair, compute_pair_ks(pair, device, progress)


def ks(
    before: BeforeArgument,
    after: AfterArgument,
    out: Annotated[Path | None, typer.Option(help="Write counts, width and shifts to this .npz file.")] = None,
    device: DeviceOption = "auto",
    alpha: AlphaOption = 0.05,
    top: Annotated[int, typer.Option(min=0, help="How many tokens to list.")] = 20,
    parameter: ParameterOption = None,
    before_revision: BeforeRevisionOption = None,
    after_revision: AfterRevisionOption = None,
) -> None:
    """Compare every token's embedding before and after with a Kolmogorov-Smirnov test."""
    from kslottery_core.ks import check_significance_level, save_ks_result

    check_significance_level(alpha)
    pair, result = _compare(before, after, device, parameter, (before_revision, after_revision))
    if out is not None:
        save_ks_result(result, out)
        typer.echo(f"Wrote {result.vocabulary_size:,} counts of width {result.width} to {out}.")
        return
    _print_summary(pair, result, alpha, top)


def _print_summary(pair: "EmbeddingPair", result: "KSResult", alpha: float, top: int) -> None:
    import numpy as np

    from kslottery_core.tickets import describe_method_disagreement, select_ticket

    ticket = select_ticket(result, alpha)
    share = result.changed_count / result.vocabulary_size
    typer.echo(f"before         {pair.before.source}  ({pair.before.parameter}, {pair.before.dtype})")
    typer.echo(f"after          {pair.after.source}  ({pair.after.parameter}, {pair.after.dtype})")
    typer.echo(f"compared       {result.vocabulary_size:,} tokens of width {result.width:,} on {result.device}")
    typer.echo(f"rows changed   {result.changed_count:,} ({share:.1%})")
    typer.echo(f"largest D      {result.statistics.max():.4f}")
    typer.echo(f"winning        {ticket.size:,} tokens at alpha {alpha:g} (p is uncalibrated: the rows are paired)")
    for note in (*pair.notes, *result.notes, ticket.note, describe_method_disagreement(result, alpha)):
        if note:
            typer.echo(f"note           {note}")
    order = np.lexsort((-result.l2_shift, -result.counts))[:top]
    if not len(order):
        return
    rows = [
        (
            pair.tokens[i],
            str(i),
            str(result.counts[i]),
            f"{result.statistics[i]:.4f}",
            f"{result.p_values[i]:.3g}",
            format_number(float(result.l2_shift[i])),
            format_number(float(result.cosine[i]), ".4f"),
            format_number(float(result.mean_shift[i])),
        )
        for i in order
    ]
    typer.echo("")
    typer.echo(format_table(("token", "id", "k", "D", "p", "L2 shift", "cosine", "mean shift"), rows))


def ticket(
    before: Annotated[str | None, typer.Argument(help="Checkpoint before tuning.", metavar="BEFORE")] = None,
    after: Annotated[str | None, typer.Argument(help="Checkpoint after tuning.", metavar="AFTER")] = None,
    alpha: AlphaOption = 0.05,
    correction: Annotated[Correction, typer.Option(help="Correction for the number of tokens.")] = Correction.none,
    threshold: Annotated[
        Threshold, typer.Option(help="Exact p, or the paper's asymptotic tau(alpha) on D.")
    ] = Threshold.exact,
    top_k: Annotated[int | None, typer.Option(help="Take the k tokens of largest D instead of alpha.")] = None,
    published: Annotated[
        str | None, typer.Option(help="A published LLaMA-7B ticket instead of a pair: ca, es, ..., en-ca@0.5.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write ticket.json here.")] = None,
    device: DeviceOption = "auto",
    parameter: ParameterOption = None,
    before_revision: BeforeRevisionOption = None,
    after_revision: AfterRevisionOption = None,
) -> None:
    """Select the winning tokens of a pair as a ticket."""
    from kslottery_core.ks import check_significance_level
    from kslottery_core.tickets import load_published_ticket, save_ticket, select_ticket, select_top_k_ticket

    if published is not None:
        selected = load_published_ticket(published)
    else:
        if before is None or after is None:
            raise TicketError("ticket: expected two checkpoints, BEFORE and AFTER (or --published NAME), found fewer.")
        check_significance_level(alpha)
        pair, result = _compare(before, after, device, parameter, (before_revision, after_revision))
        if top_k is not None:
            selected = select_top_k_ticket(result, top_k, tokens=pair.tokens)
        else:
            method = "exact" if threshold is Threshold.exact else "asymptotic"
            selected = select_ticket(
                result, alpha, correction=correction.value, p_value_method=method, tokens=pair.tokens
            )
    if out is not None:
        save_ticket(selected, out)
        typer.echo(f"Wrote a ticket of {selected.size:,} token{'s' if selected.size != 1 else ''} to {out}.")
    _print_ticket(selected)


def _print_ticket(ticket: "Ticket") -> None:
    typer.echo(f"{ticket.size:,} of {ticket.vocabulary_size:,} tokens")
    if ticket.note:
        typer.echo(ticket.note)
    labels = ticket.tokens or ("",) * ticket.size
    shown = list(zip(ticket.token_ids, labels, strict=True))[:40]
    for token_id, label in shown:
        typer.echo(f"{token_id:>8}  {label}".rstrip())
    if ticket.size > len(shown):
        typer.echo(f"... and {ticket.size - len(shown):,} more")
