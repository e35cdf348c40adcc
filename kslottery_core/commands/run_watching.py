"""Working on a run and looking on until it ends, as `tune`, `evaluate` and `runs resume` do."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from kslottery_core.commands.terminal import TerminalProgress
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
    """Work on a queued run, in this process or one of its own, and show it as `watch` says."""
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
    """Show a run's progress until it ends. Ctrl-C stops the watching, not the run."""
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
            f"\nThe run goes on. Look at it with `kslottery runs show {record.run_id}`, stop it with "
            f"`kslottery runs cancel {record.run_id}`.",
            err=True,
        )
        raise typer.Exit(130) from None
    _report_end(record)


def _report_end(record: "RunRecord") -> None:
    from kslottery_core.commands.store_commands import print_run

    print_run(record)
    if record.status.state not in ("finished", "cancelled"):
        raise RunError(f"run {record.run_id} {record.status.state}: {record.status.message}")
