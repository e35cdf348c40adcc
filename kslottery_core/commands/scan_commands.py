"""`scan`, and the part of `ks` that goes beyond the embedding: any matrices of two checkpoints, by row or by column."""

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kslottery_core.commands.terminal import TerminalProgress, format_number, format_table

if TYPE_CHECKING:
    from kslottery_core.scans import Scan, ScanEntry

LONGEST_TABLE = 60
"""Matrices listed one by one; a longer scan is summed up by kind of matrix, with the most moved ones below."""


class Unit(StrEnum):
    row = "row"
    column = "column"


def scan(
    before: Annotated[
        str,
        typer.Argument(help="Checkpoint before tuning: folder, .safetensors, .bin, .gguf or hub id.", metavar="BEFORE"),
    ],
    after: Annotated[str, typer.Argument(help="Checkpoint after tuning; LoRA adapters too.", metavar="AFTER")],
    out: Annotated[
        Path | None, typer.Option(help="Keep the scan in this folder; an interrupted one goes on there.")
    ] = None,
    parameter: Annotated[str, typer.Option(help="Which matrices: a name, or a pattern with *.")] = "*",
    unit: Annotated[Unit, typer.Option(help="What one test compares.")] = Unit.row,
    alpha: Annotated[float, typer.Option(help="Significance level, between 0 and 1.")] = 0.05,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    before_revision: Annotated[str | None, typer.Option(help="Revision of a hub id.")] = None,
    after_revision: Annotated[str | None, typer.Option(help="Revision of a hub id.")] = None,
) -> None:
    """Compare every matrix of two models, row by row or column by column; can be interrupted and taken up again."""
    run_scan_command(
        before,
        after,
        pattern=parameter,
        unit=unit.value,
        alpha=alpha,
        out=out,
        device=device,
        before_revision=before_revision,
        after_revision=after_revision,
    )


def run_scan_command(
    before: str,
    after: str,
    *,
    pattern: str | None,
    unit: str = "row",
    alpha: float = 0.05,
    out: Path | None = None,
    device: str = "auto",
    before_revision: str | None = None,
    after_revision: str | None = None,
) -> None:
    """Scan the matrices whose names match `pattern` and print the table; `None` means the input embedding alone.

    `out` is a scan folder. Raises KSLotteryError with one sentence, and KeyboardInterrupt after saying how to go on.
    """
    from kslottery_core.ks import check_significance_level
    from kslottery_core.scans import scan_parameters

    check_significance_level(alpha)
    if pattern is None:
        from kslottery_core.checkpoints import open_embedding

        pattern = open_embedding(before, revision=before_revision).parameter
    try:
        with TerminalProgress() as progress:
            done = scan_parameters(
                before,
                after,
                out,
                pattern=pattern,
                unit=unit,
                device=device,
                before_revision=before_revision,
                after_revision=after_revision,
                progress=progress,
            )
    except KeyboardInterrupt:
        typer.echo(_explain_interrupt(before, after, pattern, unit, out, before_revision, after_revision), err=True)
        raise
    _print_scan(done, alpha)
    if out is not None:
        typer.echo(f"\nThe scan is in {out}.")


def _explain_interrupt(
    before: str,
    after: str,
    pattern: str,
    unit: str,
    out: Path | None,
    before_revision: str | None,
    after_revision: str | None,
) -> str:
    from kslottery_core.errors import KSLotteryError
    from kslottery_core.scans import load_scan

    if out is None:
        return "Interrupted; nothing was kept. With --out FOLDER what is done stays and the scan can go on later."
    try:
        kept = load_scan(out)
    except KSLotteryError:
        return f"Interrupted before anything was written to {out}."
    finished = len(kept.parameters) - len(kept.remaining)
    options = [("--parameter", pattern), ("--unit", unit), ("--out", str(out))]
    options += [("--before-revision", before_revision or ""), ("--after-revision", after_revision or "")]
    words = [before, after, *(word for name, value in options if value for word in (name, value))]
    return (
        f"Interrupted; {finished:,} of {len(kept.parameters):,} matrices are done and kept in {out}. To go on: "
        f"python -m kslottery_core scan {shlex.join(words)}"
    )


def _print_scan(scan: "Scan", alpha: float) -> None:
    entries = scan.entries
    units = sum(entry.units for entry in entries)
    changed = sum(entry.changed for entry in entries)
    winners = sum(entry.count_winners(alpha) for entry in entries)
    share = f" ({changed / units:.1%})" if units else ""
    name = f"{scan.spec.unit}s"
    typer.echo(f"before         {scan.spec.before}")
    typer.echo(f"after          {scan.spec.after}")
    typer.echo(f"compared       {units:,} {name} of {len(entries):,} matri{'ces' if len(entries) != 1 else 'x'}")
    typer.echo(f"changed        {changed:,} {name}{share}")
    largest = max((entry.largest_statistic for entry in entries), default=None)
    typer.echo(f"largest D      {format_number(largest, '.4f')}")
    typer.echo(f"winning        {winners:,} {name} at alpha {alpha:g} (p is uncalibrated: the {name} are paired)")
    for note in dict.fromkeys((*scan.notes, *(note for entry in entries for note in entry.notes))):
        typer.echo(f"note           {note}")
    for skipped in scan.skipped[:10]:
        typer.echo(f"skipped        {skipped.parameter}: {skipped.skipped}")
    if len(scan.skipped) > 10:
        typer.echo(f"skipped        and {len(scan.skipped) - 10:,} more matrices")
    if not entries:
        return
    typer.echo("")
    if len(entries) <= LONGEST_TABLE:
        typer.echo(_format_entries(entries, name, alpha))
        return
    typer.echo(_format_kinds(entries, name, alpha))
    most = sorted((entry for entry in entries if entry.largest_count), key=lambda entry: -entry.largest_statistic)[:20]
    if most:
        typer.echo(f"\nthe {len(most)} of {len(entries):,} matrices with the largest D")
        typer.echo(_format_entries(most, name, alpha))


def _format_entries(entries: "tuple[ScanEntry, ...] | list[ScanEntry]", name: str, alpha: float) -> str:
    rows = []
    for entry in entries:
        winners = entry.count_winners(alpha)
        rows.append(
            (
                entry.parameter,
                f"{entry.units:,}",
                f"{entry.width:,}",
                f"{entry.changed:,}",
                f"{entry.largest_statistic:.4f}",
                f"{entry.median_statistic:.4f}",
                format_number(entry.median_l2_shift),
                f"{winners:,}",
                f"{winners / entry.units:.1%}",
            )
        )
    header = ("parameter", name, "width", "changed", "largest D", "median D", "median L2 shift", "winners", "share")
    return format_table(header, rows)


def _format_kinds(entries: "tuple[ScanEntry, ...]", name: str, alpha: float) -> str:
    kinds: dict[str, list[ScanEntry]] = {}
    for entry in entries:
        kinds.setdefault(entry.matrix, []).append(entry)
    rows = []
    for kind, members in kinds.items():
        units = sum(entry.units for entry in members)
        winners = sum(entry.count_winners(alpha) for entry in members)
        most = max(members, key=lambda entry: entry.largest_statistic)
        rows.append(
            (
                kind,
                f"{len(members):,}",
                f"{units:,}",
                f"{sum(entry.changed for entry in members):,}",
                f"{most.largest_statistic:.4f}",
                "-" if most.layer is None or not most.largest_count else str(most.layer),
                f"{winners:,}",
                f"{winners / units:.1%}",
            )
        )
    return format_table(("matrix", "layers", name, "changed", "largest D", "in layer", "winners", "share"), rows)
