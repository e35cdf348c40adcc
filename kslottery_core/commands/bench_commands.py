"""`bench`: ours beside its peers on this machine, in one run."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kslottery_core.commands.terminal import format_number, format_table
from kslottery_core.errors import KSInputError

if TYPE_CHECKING:
    from kslottery_core.benchmarks import KSBenchmark
    from kslottery_core.benchmarks.ks_paths import KSTiming

app = typer.Typer(no_args_is_help=True, help="Benchmarks, run by hand: ours beside its peers.")
OutOption = Annotated[Path | None, typer.Option(help="Also write the figures to this .json file.")]


@app.callback()
def _callback() -> None:
    """Keeps `ks` a subcommand while it is the only one."""


@app.command()
def ks(
    rows: Annotated[int, typer.Option(min=1, help="V, the number of rows.")] = 32_000,
    width: Annotated[int, typer.Option(min=1, help="d, the coordinates of a row.")] = 4_096,
    dtype: Annotated[str, typer.Option(help="bfloat16, float16, float32 or float64.")] = "bfloat16",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    repeats: Annotated[int, typer.Option(min=1, help="Measured calls of each of our paths; the best counts.")] = 3,
    peer_rows: Annotated[int | None, typer.Option(min=1, help="Give slow peers only so many rows.")] = None,
    scaling: Annotated[bool, typer.Option(help="Measure how time grows with V and d instead.")] = False,
    out: OutOption = None,
) -> None:
    """KS counts: our paths, SciPy, torch and alibi-detect (where installed) on the same random matrices."""
    from kslottery_core.benchmarks import KSBenchmarkSettings, benchmark_ks

    if scaling:
        _run_scaling(dtype, device, repeats, out)
        return
    settings = KSBenchmarkSettings(rows, width, dtype, device, repeats, peer_rows)
    typer.echo(f"{rows:,} rows of {width:,} coordinates, {dtype}, every row changed", err=True)
    benchmark = benchmark_ks(settings, lambda timing: typer.echo(f"  {timing.name}: {timing.seconds:.3g} s", err=True))
    _print_machine(benchmark.machine)
    typer.echo(_format_timings(benchmark))
    for timing in benchmark.timings:
        if timing.note:
            typer.echo(f"{timing.name}: {timing.note}.")
    _write(benchmark.to_json(), out)


def _format_timings(benchmark: "KSBenchmark") -> str:
    lines = []
    for timing in benchmark.timings:
        ratio = benchmark.compute_ratio(timing)
        lines.append(
            [
                timing.name,
                timing.device,
                _format_seconds(timing, benchmark.settings.rows),
                "not measured" if ratio is None else f"{ratio:,.3g}",
                "" if timing.rows_equal is None else f"{timing.rows_equal:,} of {timing.rows_compared:,}",
                "" if timing.rows_equal is None else format_number(timing.p_error, ".1g"),
                "not measured" if timing.peak_bytes is None else f"{timing.peak_bytes / 2**20:,.0f} MB",
            ]
        )
    header = ("Path", "Device", "Seconds", "Times faster", "Counts equal", "Largest p error", "Peak memory")
    return format_table(header, lines)


def _format_seconds(timing: "KSTiming", rows: int) -> str:
    # More than three digits would claim more than a shared machine can repeat.
    text = f"{timing.seconds:.3g}"
    return text if timing.rows_measured == rows else f"{text} (from {timing.rows_measured:,} rows)"


def _run_scaling(dtype: str, device: str, repeats: int, out: Path | None) -> None:
    from kslottery_core.benchmarks import benchmark_scaling

    benchmark = benchmark_scaling(
        dtype,
        device,
        repeats,
        lambda point: typer.echo(f"  {point.path}: V={point.rows:,} d={point.width:,} {point.seconds:.3g} s", err=True),
    )
    _print_machine(benchmark.machine)
    lines = [
        [
            point.path,
            f"{point.rows:,}",
            f"{point.width:,}",
            f"{point.seconds:.3g}",
            f"{point.seconds / point.rows / point.width * 1e9:.3g}",
        ]
        for point in benchmark.points
    ]
    typer.echo(format_table(("Path", "V", "d", "Seconds", "Nanoseconds a coordinate"), lines))
    for name, exponent in benchmark.exponents.items():
        size = "V" if name.endswith("V") else "d log d"
        typer.echo(f"{name}: seconds grow as ({size})^{exponent:.2f}")
    _write(benchmark.to_json(), out)


def _print_machine(machine: dict) -> None:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    device = machine["device"] or "no CUDA device: its figures are not measured here"
    typer.echo(f"{machine['processor']}, {machine['cores']} cores; {device}; Python {machine['python']}, {versions}")


def _write(content: dict, out: Path | None) -> None:
    if out is None:
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as problem:
        raise KSInputError(f"{out}: the figures cannot be written there ({problem}); choose another --out.") from None
    typer.echo(f"Wrote the figures to {out}.")
