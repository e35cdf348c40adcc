"""`bench`: ours beside its peers on this machine, in one run."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kslottery_core.commands.terminal import format_number, format_table
from kslottery_core.errors import KSInputError
from kslottery_core.records import make_scratch_path

if TYPE_CHECKING:
    from kslottery_core.benchmarks import KSBenchmark
    from kslottery_core.benchmarks.ks_paths import KSTiming

app = typer.Typer(no_args_is_help=True, help="Benchmarks, run by hand: ours beside its peers.")
OutOption = Annotated[Path | None, typer.Option(help="Also write the figures to this .json file.")]


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

    _check_place(out)
    if scaling:
        _run_scaling(dtype, device, repeats, out)
        return
    settings = KSBenchmarkSettings(rows, width, dtype, device, repeats, peer_rows)
    typer.echo(f"{rows:,} rows of {width:,} coordinates, {dtype}, every row changed", err=True)
    benchmark = benchmark_ks(settings, lambda timing: typer.echo(f"  {timing.name}: {timing.seconds:.3g} s", err=True))
    _print_machine(benchmark.machine)
    typer.echo(_format_timings(benchmark))
    typer.echo(f"Ours and the limit: the best of {repeats} calls after one unmeasured; peers: one call.")
    for timing in benchmark.timings:
        if timing.note:
            typer.echo(f"{timing.name}: {timing.note}.")
    _write(benchmark.to_json(), out)


@app.command()
def tuning(
    rows: Annotated[int, typer.Option(min=1, help="V, the rows of the embedding.")] = 32_000,
    width: Annotated[int, typer.Option(min=1, help="d, the coordinates of a row.")] = 4_096,
    batch_size: Annotated[int, typer.Option(min=1, help="B, texts in a step.")] = 8,
    length: Annotated[int, typer.Option(min=1, help="T, tokens of a text.")] = 512,
    ticket_size: Annotated[int, typer.Option(min=1, help="k, tokens of the ticket.")] = 18,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    repeats: Annotated[int, typer.Option(min=1, help="Measured steps of each way; the best counts.")] = 5,
    out: OutOption = None,
) -> None:
    """The embedding layer's forward and backward: our ticket, PEFT's TrainableTokens, the whole matrix trained."""
    from kslottery_core.benchmarks import TuningBenchmarkSettings, benchmark_tuning

    _check_place(out)
    settings = TuningBenchmarkSettings(
        rows, width, batch_size, length, ticket_size, dtype=dtype, device=device, repeats=repeats
    )
    typer.echo(f"{rows:,} rows of {width:,}, {batch_size} x {length} tokens, a ticket of {ticket_size}", err=True)
    benchmark = benchmark_tuning(
        settings, lambda timing: typer.echo(f"  {timing.name}: {timing.seconds:.3g} s", err=True)
    )
    _print_machine(benchmark.machine)
    lines = [
        [
            timing.name,
            f"{timing.seconds:.3g}",
            f"{benchmark.compute_ratio(timing):,.3g}",
            format_number(timing.peak_bytes and timing.peak_bytes / 2**20, ",.0f", " MB"),
            f"{' x '.join(map(str, timing.largest_shape))} ({timing.largest_bytes / 2**20:,.0f} MB)",
            f"{timing.trained_parameters:,}",
            f"{timing.gradient_error:.1g}",
        ]
        for timing in benchmark.timings
    ]
    header = ("Way", "Seconds", "Times PEFT", "Peak memory", "Largest temporary", "Trained", "Gradient error")
    typer.echo(format_table(header, lines))
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


def _check_place(out: Path | None) -> None:
    """Find out before minutes of measuring that the figures cannot be written; nothing is left there."""
    if out is None:
        return
    scratch = make_scratch_path(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch.touch()
        scratch.unlink()
    except OSError as problem:
        raise KSInputError(f"{out}: the figures cannot be written there ({problem}); choose another --out.") from None


def _write(content: dict, out: Path | None) -> None:
    if out is None:
        return
    try:
        asked = {"command": shlex.join(["python", "-m", "kslottery_core", *sys.argv[1:]])}
        out.write_text(json.dumps(asked | content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as problem:
        raise KSInputError(f"{out}: the figures cannot be written there ({problem}); choose another --out.") from None
    typer.echo(f"Wrote the figures to {out}.")
