"""`scan`, and the part of `ks` that goes beyond the embedding: any matrices of two checkpoints, by row or by column."""

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kslottery_core.commands.terminal import TerminalProgress, format_number, format_share, format_table

if TYPE_CHECKING:
    import pandas

    from kslottery_core.scans import Scan

LONGEST_TABLE = 60
"""Matrices listed one by one; a longer scan is summarised by kind of matrix, followed by those that moved most."""


MOST_UNITS = 10
"""Rows or columns listed one by one, over all matrices; a scan's folder holds more."""


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
        Path | None, typer.Option(help="Keep the scan in this folder; an interrupted one continues there.")
    ] = None,
    parameter: Annotated[str, typer.Option(help="Which matrices: a name, or a pattern with *.")] = "*",
    unit: Annotated[Unit, typer.Option(help="What one test compares.")] = Unit.row,
    alpha: Annotated[float, typer.Option(help="Significance level, between 0 and 1.")] = 0.05,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    before_revision: Annotated[str | None, typer.Option(help="Revision of a hub id.")] = None,
    after_revision: Annotated[str | None, typer.Option(help="Revision of a hub id.")] = None,
) -> None:
    """Compare every matrix of two models, row by row or column by column; can be interrupted and resumed."""
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

    `out` is a scan folder. Raises KSLotteryError with one sentence, and KeyboardInterrupt after saying how to continue.
    """
    from kslottery_core.ks import check_significance_level, format_level
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
        options = {
            "--parameter": pattern,
            "--unit": unit,
            "--alpha": format_level(alpha),
            "--device": device,
            "--before-revision": before_revision,
            "--after-revision": after_revision,
        }
        typer.echo(_explain_interrupt(before, after, out, options), err=True)
        raise
    _print_scan(done, alpha)
    if out is not None:
        typer.echo(f"\nThe scan is in {out}.")


def _explain_interrupt(before: str, after: str, out: Path | None, options: dict[str, str | None]) -> str:
    from kslottery_core.errors import KSLotteryError
    from kslottery_core.scans import load_scan

    if out is None:
        return "Interrupted; nothing was kept. With --out FOLDER what is done is kept and the scan can continue later."
    try:
        kept = load_scan(out)
    except KSLotteryError:
        return f"Interrupted before anything was written to {out}."
    finished = len(kept.parameters) - len(kept.remaining)
    words = [word for name, value in options.items() if value for word in (name, value)]
    return (
        f"Interrupted; {finished:,} of {len(kept.parameters):,} matrices are done and kept in {out}. To continue: "
        f"kslottery scan {shlex.join([before, after, '--out', str(out), *words])}"
    )


def _print_scan(scan: "Scan", alpha: float) -> None:
    from kslottery_core.ks import format_level
    from kslottery_core.scans import scan_to_table

    table = scan_to_table(scan, alpha)[: len(scan.entries)]  # what was skipped is listed line by line
    units, changed = int(table["units"].sum()), int(table["changed"].sum())
    share = f" ({format_share(changed, units)})" if units else ""
    matrices = f"{len(table):,} matri{'ces' if len(table) != 1 else 'x'}"
    if len(table) < len(scan.parameters):
        matrices = f"{len(table):,} of {len(scan.parameters):,} matrices"
    name = f"{scan.spec.unit}s"
    typer.echo(f"before         {scan.spec.before}")
    typer.echo(f"after          {scan.spec.after}")
    typer.echo(f"compared       {units:,} {name} of {matrices}")
    typer.echo(f"changed        {changed:,} {name}{share}")
    typer.echo(f"largest D      {format_number(table['largest D'].max(), '.4f')}")
    winners = int(table["winners"].sum())
    typer.echo(
        f"winning        {winners:,} {name} at alpha {format_level(alpha)} (p is uncalibrated: the {name} are paired)"
    )
    for note in dict.fromkeys((*scan.notes, *(note for entry in scan.entries for note in entry.notes))):
        typer.echo(f"note           {note}")
    for skipped in scan.skipped[:10]:
        named = skipped.skipped.startswith(skipped.parameter)
        typer.echo(f"skipped        {skipped.skipped if named else f'{skipped.parameter}: {skipped.skipped}'}")
    if len(scan.skipped) > 10:
        typer.echo(f"skipped        and {len(scan.skipped) - 10:,} more matrices")
    if not len(table):
        return
    typer.echo("")
    if len(table) <= LONGEST_TABLE:
        typer.echo(_format_matrices(table, name))
    else:
        typer.echo(_format_kinds(table, name))
        most = table[table["largest D"] > 0].sort_values("largest D", ascending=False, kind="stable")[:20]
        if len(most):
            typer.echo(f"\nthe {len(most)} of {len(table):,} matrices with the largest D")
            typer.echo(_format_matrices(most, name))
    _print_units(scan)


def _print_units(scan: "Scan") -> None:
    """The rows or columns with the largest D in all matrices."""
    from kslottery_core.ks import compute_p_values

    units = [
        (count / entry.width, entry, unit, count)
        for entry in scan.entries
        for unit, count in zip(entry.top_units, entry.top_counts, strict=True)
    ]
    units.sort(key=lambda one: -one[0])
    rows = [
        (
            entry.parameter,
            f"{unit:,}",
            f"{count:,} of {entry.width:,}",
            f"{statistic:.4f}",
            f"{compute_p_values(entry.width)[count]:.3g}",
        )
        for statistic, entry, unit, count in units[:MOST_UNITS]
    ]
    if rows:
        typer.echo(f"\nthe {scan.spec.unit}s with the largest D")
        typer.echo(format_table(("parameter", scan.spec.unit, "k", "D", "p"), rows))


def _format_matrices(table: "pandas.DataFrame", name: str) -> str:
    rows = [
        (
            line["parameter"],
            f"{line['units']:,}",
            f"{line['width']:,}",
            f"{line['changed']:,}",
            f"{line['largest D']:.4f}",
            f"{line['median D']:.4f}",
            format_number(line["median L2 shift"]),
            f"{line['winners']:,}",
            f"{line['winners share']:.1%}",
        )
        for line in table.to_dict("records")
    ]
    header = ("parameter", name, "width", "changed", "largest D", "median D", "median L2 shift", "winners", "share")
    return format_table(header, rows)


def _format_kinds(table: "pandas.DataFrame", name: str) -> str:
    rows = []
    for kind, members in table.groupby("matrix", sort=False):
        units, winners = int(members["units"].sum()), int(members["winners"].sum())
        most = members.loc[members["largest D"].idxmax()]
        has_layer = int(members["layer"].count()) > 0 and most["largest D"] > 0
        rows.append(
            (
                str(kind),
                f"{len(members):,}",
                f"{units:,}",
                f"{int(members['changed'].sum()):,}",
                f"{most['largest D']:.4f}",
                str(most["layer"]) if has_layer else "-",
                f"{winners:,}",
                f"{winners / units:.1%}",
            )
        )
    return format_table(("matrix", "layers", name, "changed", "largest D", "in layer", "winners", "share"), rows)
