"""`kslottery` and `python -m kslottery_core`: one command line. Errors are one sentence and status 2."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from kslottery_core.commands import (
    bench_commands,
    certify_commands,
    corpus_commands,
    export_command,
    pair_commands,
    run_commands,
    scan_commands,
    store_commands,
    study_commands,
    ticket_commands,
)
from kslottery_core.errors import KSLotteryError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Which few token embeddings of a language model matter: compare, select a ticket, tune it, score it.",
)
app.command()(pair_commands.ks)
app.command()(ticket_commands.ticket)
app.command()(corpus_commands.corpus)
app.command()(scan_commands.scan)
app.command()(run_commands.tune)
app.command()(run_commands.evaluate)
app.command()(certify_commands.certify)
app.command()(export_command.export)
app.add_typer(store_commands.app, name="runs")
app.add_typer(study_commands.app, name="study")
app.add_typer(bench_commands.app, name="bench")

demo_app = typer.Typer(no_args_is_help=True, help="The bundled demo.")
app.add_typer(demo_app, name="demo")


@demo_app.command("build")
def build_demo_command(
    out: Annotated[Path, typer.Argument(help="Folder to write the demo into.", metavar="OUT")],
    quick: Annotated[bool, typer.Option(help="A toy size, to see that everything works.")] = False,
) -> None:
    """Make the demo anew: text, tokenizer, base model, embedding-tuned model, ticket and finished runs."""
    from kslottery_core.commands.terminal import TerminalProgress
    from kslottery_core.demo import build_demo

    with TerminalProgress() as progress:
        build_demo(out, quick=quick, on_progress=progress)
    typer.echo(f"Wrote the demo to {out}.")


def main() -> None:
    """The command line, in the first of several processes that a launcher such as torchrun started; the others follow.

    A KSLotteryError is printed as its sentence, with exit status 2.
    """
    from kslottery_core.runs.together import dismiss_followers, follow, follows

    if follows():
        sys.exit(follow())
    try:
        _run()
    finally:
        dismiss_followers()


def _run() -> None:
    try:
        status = app(standalone_mode=False)
    except KSLotteryError as problem:
        sys.stderr.write(f"Error: {problem}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # a reader such as `head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as problem:
        # typer's own errors: of which library they are depends on its version, but all can put themselves into words.
        if not hasattr(problem, "format_message"):
            if type(problem).__name__ == "Abort":
                sys.exit(130)
            raise
        message = problem.format_message()
        is_help = "Usage:" in message or not message
        sys.stderr.write(f"{message}\n" if is_help else f"Error: {' '.join(message.split())} See --help.\n")
        sys.exit(getattr(problem, "exit_code", 2))
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
