"""`runs list`, `runs show`, `runs cancel` and `runs resume`."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from kslottery_core.commands.run_watching import Watch, WatchOption, watch_run
from kslottery_core.commands.terminal import format_number, format_table

if TYPE_CHECKING:
    from kslottery_core.runs import RunRecord

RunArgument = Annotated[str, typer.Argument(help="A run's id, as `runs list` shows it.", metavar="RUN")]

app = typer.Typer(no_args_is_help=True, help="Look at runs, stop them and go on with them.")


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
    """One run: what was asked, how far it is, its scores and what it cost."""
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
    """Go on with a run that was killed, cancelled or failed, from its last checkpoint."""
    from kslottery_core.runs import RunStore, check_inputs, check_resumable, find_resume_step, reopen_run

    store = RunStore()
    record = store.get(run)
    check_inputs(check_resumable(record))
    step = find_resume_step(record)
    record = reopen_run(store, run)
    where = "begins anew, as it had no checkpoint yet" if step is None else f"goes on from step {step:,}"
    typer.echo(f"Run {record.run_id} {where}; it is in {record.folder}")
    watch_run(record, watch)


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
        typer.echo(f"resume  `kslottery runs resume {record.run_id}` goes on from step {step:,}")
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
        typer.echo(f"stopped {share:.1%} of the outputs ended by themselves")
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
