"""`runs list`, `runs show`, `runs cancel` and `runs resume`."""

import time
from typing import Annotated

import typer

from kslottery_core.commands.run_watching import Watch, WatchOption, print_run, watch_run
from kslottery_core.commands.terminal import format_table

RunArgument = Annotated[str, typer.Argument(help="A run's id, as `runs list` shows it.", metavar="RUN")]

app = typer.Typer(no_args_is_help=True, help="List, show, stop and resume runs.")


@app.command("list")
def list_runs() -> None:
    """Every run, newest first."""
    from kslottery_core.runs import RunStore

    store = RunStore()
    records = store.list()
    if not records:
        typer.echo(f"No runs yet in {store.root}.")
        return
    rows = []
    for record in records:
        status = record.status
        progress = f"{status.phase} {status.step}/{status.total}" if status.live and status.phase else ""
        created = time.strftime("%Y-%m-%d %H:%M", time.localtime(status.created))
        rows.append((record.run_id, created, status.state, progress, record.name))
    typer.echo(format_table(("run", "created", "state", "progress", "name"), rows))
    for record in records:
        if record.problem:
            typer.echo(f"{record.run_id}: {record.problem}", err=True)


@app.command()
def show(run: RunArgument) -> None:
    """Show one run: what was asked, how far it is, its scores and its cost."""
    from kslottery_core.runs import RunStore

    record = RunStore().get(run)
    print_run(record)
    if record.status.state in ("failed", "died"):
        typer.echo("\nEnd of its log:")
        typer.echo(record.read_log_tail(20))


@app.command()
def cancel(run: RunArgument) -> None:
    """Ask a run to stop; what it has done so far is kept."""
    from kslottery_core.runs import RunStore, cancel_run

    typer.echo(cancel_run(RunStore().get(run), wait=True))


@app.command()
def resume(run: RunArgument, watch: WatchOption = Watch.follow) -> None:
    """Continue a run that was killed, cancelled or failed, from its last checkpoint."""
    from kslottery_core.runs import RunStore, check_inputs, check_resumable, find_resume_step, reopen_run

    store = RunStore()
    record = store.get(run)
    check_inputs(check_resumable(record))
    step = find_resume_step(record)
    record = reopen_run(store, run)
    if not record.status.live:
        typer.echo(f"Run {record.run_id} had its whole result already; only its last status was missing.")
        print_run(record)
        return
    where = (
        "starts from the beginning, as it has no checkpoint yet" if step is None else f"continues from step {step:,}"
    )
    typer.echo(f"Run {record.run_id} {where}; it is in {record.folder}")
    watch_run(record, watch)
