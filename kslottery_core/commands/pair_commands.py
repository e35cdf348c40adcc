"""`ks`: checkpoints in, a comparison out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kslottery_core.commands.scan_commands import Unit, run_scan_command
from kslottery_core.commands.series_report import describe_threshold, print_series
from kslottery_core.commands.terminal import TerminalProgress, format_number, format_share, format_table
from kslottery_core.errors import CheckpointError, KSInputError

if TYPE_CHECKING:
    from kslottery_core.checkpoints import EmbeddingPair, EmbeddingSeries
    from kslottery_core.ks import KSResult


BeforeArgument = Annotated[
    str, typer.Argument(help="Checkpoint before tuning: folder, .safetensors, .bin, .gguf or hub id.", metavar="BEFORE")
]
AfterArgument = Annotated[
    list[str],
    typer.Argument(
        help="Checkpoint after tuning, adapters too; or several of them: seeds, languages, steps of one training.",
        metavar="AFTER...",
    ),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
ParameterOption = Annotated[str | None, typer.Option(help="Name of the matrix, where the file alone cannot tell.")]
BeforeRevisionOption = Annotated[str | None, typer.Option(help="Revision of a hub id.")]
AfterRevisionOption = Annotated[str | None, typer.Option(help="Revision of a hub id.")]
AfterRevisionsOption = Annotated[
    list[str] | None, typer.Option(help="Revision of a hub id; with several AFTER once for each.")
]
AlphaOption = Annotated[float, typer.Option(help="Significance level, between 0 and 1.")]


def ks(
    before: BeforeArgument,
    after: AfterArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write counts, width and shifts to this .npz file; with a pattern or --unit, a scan to this folder."
        ),
    ] = None,
    device: DeviceOption = "auto",
    alpha: AlphaOption = 0.05,
    top: Annotated[int, typer.Option(min=0, help="How many tokens to list.")] = 20,
    parameter: Annotated[
        str | None, typer.Option(help="Name of another matrix than the embedding, or a pattern such as '*.mlp.*'.")
    ] = None,
    unit: Annotated[
        Unit | None,
        typer.Option(help="What one test compares, in any matrix and for LoRA adapters; rows when not given."),
    ] = None,
    before_revision: BeforeRevisionOption = None,
    after_revision: AfterRevisionsOption = None,
) -> None:
    """Compare every token's embedding before and after with a Kolmogorov-Smirnov test.

    With several AFTER: winners in each, how far they agree beside chance, and the tokens whose D grows most.
    """
    from kslottery_core.checkpoints import open_series
    from kslottery_core.ks import (
        check_significance_level,
        compute_pair_ks,
        compute_series_ks,
        save_ks_result,
        save_ks_series,
    )

    check_significance_level(alpha)
    revisions = tuple(after_revision or ())
    is_pattern = parameter is not None and any(sign in parameter for sign in "*?[")
    if is_pattern or unit is Unit.column or (unit is Unit.row and len(after) == 1):
        _scan(before, after, out, device, alpha, parameter, unit or Unit.row, before_revision, revisions)
        return
    series = open_series(before, after, parameter=parameter, before_revision=before_revision, after_revisions=revisions)
    labels = label_rows(series, parameter, before_revision)
    if len(after) == 1:
        (pair,) = series.pairs
        with TerminalProgress() as progress:
            result = compute_pair_ks(pair, device, progress)
        if out is None:
            _print_summary(pair, result, labels, alpha, top)
            return
        save_ks_result(result, out)
        typer.echo(f"Wrote {result.vocabulary_size:,} counts of width {result.width} to {out}.")
        return
    with TerminalProgress() as progress:
        found = compute_series_ks(
            series.before, series.afters, device, progress, labels=series.labels, steps=series.steps
        )
    if out is None:
        print_series(series, found, labels, alpha, top)
        return
    save_ks_series(found, out)
    typer.echo(
        f"Wrote {found.vocabulary_size:,} counts of width {found.width} for each of {len(after)} checkpoints to {out}."
    )


def _scan(
    before: str,
    afters: list[str],
    out: Path | None,
    device: str,
    alpha: float,
    pattern: str | None,
    unit: Unit,
    before_revision: str | None,
    after_revisions: tuple[str, ...],
) -> None:
    if len(afters) > 1 or len(after_revisions) > 1:
        raise KSInputError(
            f"ks: a pattern of parameters or --unit column compares one AFTER at a time, found {len(afters)} of them "
            f"and {len(after_revisions)} revisions; give one AFTER, or compare several by rows of one named matrix."
        )
    run_scan_command(
        before,
        afters[0],
        pattern=pattern,
        unit=unit.value,
        alpha=alpha,
        out=out,
        device=device,
        before_revision=before_revision,
        after_revision=after_revisions[0] if after_revisions else None,
    )


def label_rows(
    compared: "EmbeddingPair | EmbeddingSeries", parameter: str | None, before_revision: str | None
) -> tuple[str, ...]:
    """Token strings where a matrix has one row a token, as the output head too; other rows go by their number."""
    from kslottery_core.checkpoints import label_tokens, open_embedding

    if parameter is None:
        return compared.tokens
    try:
        embedding = open_embedding(compared.before.source, revision=before_revision)
    except CheckpointError:  # a file that alone cannot tell which matrix is the embedding
        return compared.tokens
    if embedding.shape[0] == compared.before.shape[0]:
        return compared.tokens
    return label_tokens(None, frozenset(), compared.vocabulary_size)[0]


def _print_summary(pair: "EmbeddingPair", result: "KSResult", labels: tuple[str, ...], alpha: float, top: int) -> None:
    import numpy as np

    from kslottery_core.ks import format_level, format_statistic
    from kslottery_core.tickets import describe_method_disagreement, select_ticket

    ticket = select_ticket(result, alpha)
    name = "rows" if labels[0] == "<row 0>" else "tokens"
    typer.echo(f"before         {pair.before.source}  ({pair.before.parameter}, {pair.before.dtype})")
    typer.echo(f"after          {pair.after.source}  ({pair.after.parameter}, {pair.after.dtype})")
    typer.echo(f"compared       {result.vocabulary_size:,} {name} of width {result.width:,} on {result.device}")
    typer.echo(
        f"rows changed   {result.changed_count:,} ({format_share(result.changed_count, result.vocabulary_size)})"
    )
    typer.echo(f"largest D      {format_statistic(result.statistics.max())}")
    typer.echo(
        f"winning        {ticket.size:,} {name} at alpha {format_level(alpha)} (p is uncalibrated: the rows are paired)"
    )
    typer.echo(f"threshold      {describe_threshold(result.width, alpha)}")
    disagreement = describe_method_disagreement(result, alpha, tokens=labels)
    for note in (*pair.notes, *result.notes, ticket.note, disagreement):
        if note:
            typer.echo(f"note           {note}")
    order = np.lexsort((-result.l2_shift, -result.counts))[:top]
    if not len(order):
        return
    rows = [
        (
            labels[i],
            str(i),
            str(result.counts[i]),
            format_statistic(result.statistics[i]),
            f"{result.p_values[i]:.3g}",
            format_number(float(result.l2_shift[i])),
            format_number(float(result.cosine[i]), ".4f"),
            format_number(float(result.mean_shift[i])),
        )
        for i in order
    ]
    typer.echo("")
    typer.echo(format_table((name.removesuffix("s"), "id", "k", "D", "p", "L2 shift", "cosine", "mean shift"), rows))
