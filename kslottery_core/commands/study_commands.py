"""`study`: a grid of runs on one fair bench, from its description to its table."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kslottery_core.commands.study_report import print_comparisons, print_study
from kslottery_core.commands.terminal import format_table
from kslottery_core.errors import StudyError

if TYPE_CHECKING:
    from kslottery_core.studies import StudyArm

app = typer.Typer(
    no_args_is_help=True, help="Compare ways of tuning: a grid of runs, and one table of what came of it."
)

StudyArgument = Annotated[str, typer.Argument(help="A study's id, as `study list` shows it.", metavar="STUDY")]

EXAMPLE = {
    "name": "KS rows and others",
    "model": "data/demo/before",
    "arms": [
        {"label": "base", "method": "base"},
        {"label": "embedding", "method": "embedding", "learning_rates": [0.005]},
        {"label": "KS rows", "method": "ticket", "rows": {"rule": "ks", "significance_level": 0.05}},
        {"label": "frequent rows", "method": "ticket", "rows": {"rule": "frequent", "counted": "training"}},
        {"label": "KS rows copied", "method": "transfer", "rows": {"rule": "ks", "significance_level": 0.05}},
        {"label": "LoRA rank 8", "method": "lora", "learning_rates": [0.001, 0.003], "lora": {"rank": 8}},
    ],
    "texts": [
        {
            "train": {"path": "data/demo/text/train.jsonl", "source": "en", "target": "ca"},
            "test": {"path": "data/demo/text/test.jsonl", "source": "en", "target": "ca"},
        }
    ],
    "seeds": [42, 43],
    "steps": [100, 300],
    "tuning": {"batch_size": 32},
    "evaluation": {"beams": 1, "max_new_tokens": 48, "batch_size": 50},
}
"""A study's description; `study create` reads such a file. What is left out has its default."""


@app.command()
def example() -> None:
    """Print a study's description to start from: `kslottery study example > my-study.json`."""
    typer.echo(json.dumps(EXAMPLE, indent=1))


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


@app.command()
def create(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="Description as JSON; see `study example`.", metavar="[FILE]")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Folder or hub id of the model; with the other options.")] = None,
    train: Annotated[str | None, typer.Option(help="Training pairs.")] = None,
    test: Annotated[str | None, typer.Option(help="Test pairs.")] = None,
    source: Annotated[str, typer.Option(help="Language or column of the source sentences.")] = "en",
    target: Annotated[str, typer.Option(help="Languages or columns of the targets, as ca,es.")] = "ca",
    arm: Annotated[
        list[str] | None,
        typer.Option(
            help="Give once for each way: base, full, embedding, lora, prefix, ticket:RULE or transfer:RULE with the "
            "rule ks, frequent, random, matched or prompt; @RATE,RATE after it names learning rates."
        ),
    ] = None,
    alpha: Annotated[float, typer.Option(help="Of the rule ks.")] = 0.05,
    top_k: Annotated[
        int | None, typer.Option(help="Of the rule ks: the K tokens with the largest D, not an alpha.")
    ] = None,
    text_alone: Annotated[
        bool,
        typer.Option(
            "--text-alone",
            help="Of the rules frequent and matched: count only the sentences, not the prompt and special tokens.",
        ),
    ] = False,
    seeds: Annotated[str, typer.Option(help="Seeds, as 42,43.")] = "42",
    steps: Annotated[str, typer.Option(help="Optimizer steps, as 100,300.")] = "300",
    batch_size: Annotated[int, typer.Option(help="Pairs a step sees at once.")] = 16,
    max_new_tokens: Annotated[int, typer.Option(help="Longest output, in tokens.")] = 64,
    test_limit: Annotated[int | None, typer.Option(help="Use only the first N test pairs.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Prompt template with {source}.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    name: Annotated[str | None, typer.Option(help="A name for the study.")] = None,
) -> None:
    """Describe a study, in a file or with options, and check it; `study start` or `study run` then runs it."""
    from kslottery_core.corpora import DEFAULT_PROMPT, CorpusSpec
    from kslottery_core.evaluation import EvaluationSettings
    from kslottery_core.records import load_json
    from kslottery_core.studies import StudySpec, StudyStore, StudyText, list_cells
    from kslottery_core.tuning.settings import TuningSettings

    if file is not None:
        given = [name for name in context.params if name != "file" and _is_given(context, name)]
        if given:
            option = f"--{given[0].replace('_', '-')}"
            raise StudyError(f"study: expected a file or options, found {file} and {option}; put all into the file.")
        spec = StudySpec.from_json(load_json(file, StudyError), str(file))
    elif model is None or train is None or test is None:
        raise StudyError("study: expected a FILE, or --model, --train and --test; give one or the other.")
    else:
        spec = StudySpec(
            name=name or f"Study of {Path(model).name}",
            model=model,
            arms=tuple(_read_arm(text, alpha, top_k, "text" if text_alone else "training") for text in arm or ()),
            texts=tuple(
                StudyText(CorpusSpec(train, source, one), CorpusSpec(test, source, one, test_limit))
                for one in _split(target)
            ),
            seeds=_read_numbers("seeds", seeds),
            steps=_read_numbers("steps", steps),
            prompt=prompt or DEFAULT_PROMPT,
            tuning=TuningSettings(batch_size=batch_size),
            evaluation=EvaluationSettings(max_new_tokens=max_new_tokens),
            device=device,
        )
    record = StudyStore().create(spec)
    typer.echo(f"Study {record.study_id} of {len(list_cells(spec))} runs in {record.folder}")
    typer.echo(f"Start it with `kslottery study start {record.study_id}`.")


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _read_numbers(name: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in _split(text))
    except ValueError:
        raise StudyError(f"{name}: expected whole numbers as 42,43, found {text!r}.") from None


def _read_arm(text: str, alpha: float, top_k: int | None, counted: str) -> "StudyArm":
    """`METHOD[:RULE][@RATE,RATE]`."""
    from kslottery_core.studies import RowRule, StudyArm

    way, _, rates = text.partition("@")
    method, _, rule = way.partition(":")
    rows = None
    if rule == "ks":
        rows = RowRule("ks", top_k=top_k) if top_k is not None else RowRule("ks", significance_level=alpha)
    elif rule:
        rows = RowRule(rule, counted=counted) if rule in ("frequent", "matched") else RowRule(rule)
    try:
        learning_rates = tuple(float(part) for part in _split(rates)) if rates else ()
    except ValueError:
        raise StudyError(f"arm {text!r}: expected learning rates after @ as 0.005,0.01, found {rates!r}.") from None
    return StudyArm(way.replace(":", " "), method, rows, learning_rates)


@app.command("list")
def list_studies() -> None:
    """Every study, newest first."""
    from kslottery_core.studies import StudyStore

    store = StudyStore()
    records = store.list()
    if not records:
        typer.echo(f"No studies yet in {store.root}.")
        return
    rows = []
    for record in records:
        created = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.status.created))
        done = f"{record.done_count}/{len(record.cells)}"
        rows.append((record.study_id, created, record.status.state, done, record.name))
    typer.echo(format_table(("study", "created", "state", "runs", "name"), rows))
    for record in records:
        if record.problem:
            typer.echo(f"{record.study_id}: {record.problem}", err=True)


@app.command()
def show(
    study: StudyArgument,
    csv: Annotated[Path | None, typer.Option(help="Write the table there as CSV too.")] = None,
    against: Annotated[
        str | None, typer.Option(help="Label of an arm: compare the others with it by paired bootstrap.", metavar="ARM")
    ] = None,
) -> None:
    """How far a study is, and its table."""
    from kslottery_core.studies import StudyStore, compute_study_table, format_study_csv

    store = StudyStore()
    record = store.get(study)
    table = compute_study_table(record, store.run_store)
    print_study(record, table)
    if against is not None:
        print_comparisons(table, store.run_store, against)
    if csv is not None:
        try:
            csv.write_text(format_study_csv(table), encoding="utf-8")
        except OSError as problem:
            raise StudyError(f"{csv}: the table cannot be written there ({problem}); choose another path.") from None
        typer.echo(f"Wrote {csv}.")


@app.command()
def run(study: StudyArgument) -> None:
    """Start a study, or go on with it, in this process; Ctrl-C stops it and keeps what is done."""
    from kslottery_core.studies import StudyStore, compute_study_table, conduct, queue_study

    store = StudyStore()
    status = conduct(queue_study(store, study).folder, on_message=typer.echo)
    record = store.get(study)
    print_study(record, compute_study_table(record, store.run_store))
    if status.state == "failed":
        raise StudyError(f"study {study} failed: {status.message}")


@app.command()
def start(study: StudyArgument) -> None:
    """Start a study in a process of its own, and return."""
    from kslottery_core.studies import StudyStore, start_study

    record = start_study(StudyStore(), study)
    typer.echo(f"Study {study} runs. Look at it with `kslottery study show {study}`; it writes {record.folder}/log.txt")


@app.command("continue")
def continue_study(study: StudyArgument) -> None:
    """Go on with a study that was stopped, killed or failed; what is finished is not done again."""
    start(study)


@app.command()
def stop(study: StudyArgument) -> None:
    """Ask a study to stop, with the run that it is at; what is done is kept."""
    from kslottery_core.studies import StudyStore, stop_study

    typer.echo(stop_study(StudyStore(), study, wait=True))


@app.command()
def delete(study: StudyArgument) -> None:
    """Remove a study; its runs stay in the list of runs."""
    from kslottery_core.studies import StudyStore

    StudyStore().delete(study)
    typer.echo(f"Deleted the study {study}; its runs stay.")
