"""Work on a run, show its progress and print how it ended, as `tune`, `evaluate` and `runs resume` do."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from kslottery_core.commands.terminal import TerminalProgress, format_number, format_table
from kslottery_core.errors import RunError

if TYPE_CHECKING:
    from kslottery_core.runs import RunRecord


class Watch(StrEnum):
    follow = "follow"
    detach = "detach"
    foreground = "foreground"


WatchOption = Annotated[
    Watch,
    typer.Option(help="follow: start and show progress; detach: start and return; foreground: run in this process."),
]


def watch_run(record: "RunRecord", watch: Watch) -> None:
    """Work on a queued run, in this process or one of its own, and show it as `watch` asks."""
    from kslottery_core.runs import RunStore
    from kslottery_core.runs.launch import start_worker
    from kslottery_core.tuning.processes import read_processes

    # Processes that torchrun or accelerate launch started are themselves the ones that work on it.
    if watch is Watch.foreground or read_processes().several:
        from kslottery_core.runs.worker import work

        with TerminalProgress() as progress:
            work(record.folder, on_progress=progress)
        _report_end(RunStore().get(record.run_id))
        return
    start_worker(record)
    if watch is Watch.follow:
        follow(record)


def follow(record: "RunRecord") -> None:
    """Show a run's progress until it ends. Ctrl-C ends the display, not the run."""
    from kslottery_core.runs import RunStore, follow_run

    try:
        with TerminalProgress() as progress:
            record = follow_run(
                RunStore(record.folder.parent),
                record.run_id,
                progress,
                on_wait=lambda text: typer.echo(f"queued: {text}", err=True),
            )
    except KeyboardInterrupt:
        typer.echo(
            f"\nThe run continues. Look at it with `kslottery runs show {record.run_id}`, stop it with "
            f"`kslottery runs cancel {record.run_id}`.",
            err=True,
        )
        raise typer.Exit(130) from None
    _report_end(record)


def _report_end(record: "RunRecord") -> None:
    print_run(record)
    if record.status.state not in ("finished", "cancelled"):
        raise RunError(f"run {record.run_id} {record.status.state}: {record.status.message}")


def print_run(record: "RunRecord") -> None:
    """The state, cost and scores of one run, every score with its signature."""
    from kslottery_core.runs import find_resume_step

    status, spec = record.status, record.spec
    typer.echo(f"{record.name}: {status.state}" + (f" ({status.message})" if status.message else ""))
    if record.problem:
        typer.echo(record.problem)
    if spec is not None:
        typer.echo(f"method  {spec.method} on {spec.model}")
    typer.echo(f"folder  {record.folder}")
    step = find_resume_step(record)
    if step is not None and not status.live and status.state != "finished":
        typer.echo(f"resume  `kslottery runs resume {record.run_id}` continues from step {step:,}")
    if status.live and status.phase:
        typer.echo(f"phase   {status.phase}, step {status.step} of {status.total}")
    if record.result is None:
        return
    cost = record.result.get("cost") or {}
    copied = cost.get("copied_parameters")
    trained = f"trained {format_number(cost.get('trained_parameters'), ',')} parameters"
    typer.echo(f"{trained}, copied {copied:,}" if copied else trained)
    peak = cost.get("peak_memory_bytes")
    times = [("tuning", cost.get("tuning_seconds")), ("evaluation", cost.get("evaluation_seconds"))]
    parts = [f"{name} {format_number(seconds, '.1f', ' s')}" for name, seconds in times]
    typer.echo(f"{', '.join(parts)}, peak memory {format_number(peak and peak / 1e6, ',.0f', ' MB')}")
    share = record.result.get("stopped_share")
    if share is not None:
        typer.echo(f"ended   {share:.1%} of the outputs with an end token")
    scores = record.result.get("scores") or []
    if scores:
        typer.echo("")
        rows = [(f"{s['metric']}, {s['extraction']}", f"{s['value']:.2f}", s["signature"]) for s in scores]
        typer.echo(format_table(("score", "value", "signature"), rows))
        made = {(s["sentences"], s["decoding"], s["prompt_hash"], s["test_set_hash"]) for s in scores}
        for sentences, decoding, prompt_hash, test_set_hash in sorted(made):
            typer.echo(f"{sentences} sentences, {decoding}, prompt {prompt_hash}, test set {test_set_hash[:12]}")
    for note in record.result.get("notes") or []:
        typer.echo(f"note: {note}")
