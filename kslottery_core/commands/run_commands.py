"""`tune` and `evaluate`: each tuning or evaluation is a run, with its folder as the truth."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kslottery_core.commands.terminal import TerminalProgress
from kslottery_core.errors import RunError

if TYPE_CHECKING:
    from kslottery_core.runs import RunRecord, RunSpec


class Method(StrEnum):
    full = "full"
    embedding = "embedding"
    ticket = "ticket"
    transfer = "transfer"
    lora = "lora"
    prefix = "prefix"


class Watch(StrEnum):
    follow = "follow"
    detach = "detach"
    foreground = "foreground"


ModelArgument = Annotated[str, typer.Argument(help="Folder, .gguf, adapter, tuned ticket or hub id.", metavar="MODEL")]
RevisionOption = Annotated[str | None, typer.Option(help="Revision of a hub id.")]
SourceOption = Annotated[str, typer.Option(help="Language or column of the source sentences.")]
TargetOption = Annotated[str, typer.Option(help="Language or column of the target sentences.")]
PromptOption = Annotated[str | None, typer.Option(help="Prompt template with {source}; default: a plain instruction.")]
NameOption = Annotated[str | None, typer.Option(help="A name for the run.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
BeamsOption = Annotated[int, typer.Option(help="1 is greedy search.")]
NewTokensOption = Annotated[int, typer.Option(help="Longest output, in tokens.")]
EvaluationBatchOption = Annotated[int, typer.Option(help="Sentences generated at once.")]
TestLimitOption = Annotated[int | None, typer.Option(help="Use only the first N test pairs.")]
WatchOption = Annotated[
    Watch,
    typer.Option(help="follow: start and show progress; detach: start and return; foreground: run in this process."),
]


def tune(
    method: Annotated[Method, typer.Argument(help="What is trained.")],
    model: ModelArgument,
    train: Annotated[Path | None, typer.Option(help="Training pairs: .jsonl, .csv or .tsv.")] = None,
    test: Annotated[Path | None, typer.Option(help="Test pairs; scored when the tuning is done.")] = None,
    ticket: Annotated[Path | None, typer.Option(help="ticket.json, for ticket and transfer.")] = None,
    after: Annotated[str | None, typer.Option(help="Embedding-tuned checkpoint, for transfer.")] = None,
    source: SourceOption = "en",
    target: TargetOption = "ca",
    prompt: PromptOption = None,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 5e-3,
    epochs: Annotated[float, typer.Option(help="Passes over the training pairs.")] = 3.0,
    max_steps: Annotated[int | None, typer.Option(help="Optimizer steps; overrides epochs.")] = None,
    batch_size: Annotated[int, typer.Option(help="Pairs a step and device sees at once.")] = 16,
    gradient_accumulation: Annotated[int, typer.Option(help="Batches an optimizer step gathers.")] = 1,
    weight_decay: Annotated[float, typer.Option(help="AdamW's weight decay.")] = 0.0,
    schedule: Annotated[str, typer.Option(help="cosine, linear or constant.")] = "cosine",
    warmup_share: Annotated[float, typer.Option(help="Share of the steps that warm up.")] = 0.03,
    seed: Annotated[int, typer.Option(help="Seed of data order and initialisation.")] = 42,
    max_length: Annotated[int, typer.Option(help="Longest prompt and target together, in tokens.")] = 256,
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    checkpoint_steps: Annotated[
        int, typer.Option(help="Steps between checkpoints that `runs resume` goes on from; 0 keeps none.")
    ] = 100,
    ticket_rows: Annotated[
        str, typer.Option(help="Of a ticket: input, or input_and_head where the model ties both.")
    ] = "input",
    lora_rank: Annotated[int | None, typer.Option(help="Of lora: rank of the change; default 8.")] = None,
    lora_alpha: Annotated[float | None, typer.Option(help="Of lora: alpha, over rank its factor; default 16.")] = None,
    lora_dropout: Annotated[float | None, typer.Option(help="Of lora: share dropped in training; default 0.")] = None,
    lora_targets: Annotated[
        str | None, typer.Option(help="Of lora: layers such as q_proj,v_proj; default: all linear but the head.")
    ] = None,
    virtual_tokens: Annotated[int | None, typer.Option(help="Of prefix: its length; default 20.")] = None,
    train_limit: Annotated[int | None, typer.Option(help="Use only the first N training pairs.")] = None,
    test_limit: TestLimitOption = None,
    beams: BeamsOption = 1,
    max_new_tokens: NewTokensOption = 64,
    evaluation_batch_size: EvaluationBatchOption = 32,
    output: Annotated[str, typer.Option(help="rows: only what was trained; checkpoint: a whole model too.")] = "rows",
    revision: RevisionOption = None,
    after_revision: Annotated[str | None, typer.Option(help="Revision of --after, when that is a hub id.")] = None,
    device: DeviceOption = "auto",
    name: NameOption = None,
    watch: WatchOption = Watch.follow,
) -> None:
    """Tune a model as a run: all of it, its embedding, a ticket's rows (trained or copied over), a LoRA or a prefix."""
    from kslottery_core.corpora import DEFAULT_PROMPT, CorpusSpec
    from kslottery_core.evaluation import EvaluationSettings
    from kslottery_core.runs import RunSpec
    from kslottery_core.tickets import load_ticket
    from kslottery_core.tuning.settings import LoraSettings, PrefixSettings, TuningSettings

    lora = _gather(
        method,
        Method.lora,
        rank=lora_rank,
        alpha=lora_alpha,
        dropout=lora_dropout,
        target_modules=None if lora_targets is None else tuple(name.strip() for name in lora_targets.split(",")),
    )
    prefix = _gather(method, Method.prefix, virtual_tokens=virtual_tokens)
    loaded = None if ticket is None else load_ticket(ticket)
    size = f" {loaded.size}" if loaded else ""
    spec = RunSpec(
        name=name or f"{method.value}{size} {Path(model).name} {source}-{target}",
        method=method.value,
        model=model,
        revision=revision,
        ticket=loaded,
        after=after,
        after_revision=after_revision,
        train=None if train is None else CorpusSpec(str(train), source, target, train_limit),
        test=None if test is None else CorpusSpec(str(test), source, target, test_limit),
        prompt=prompt or DEFAULT_PROMPT,
        tuning=TuningSettings(
            learning_rate=learning_rate,
            epochs=epochs,
            max_steps=max_steps,
            batch_size=batch_size,
            gradient_accumulation=gradient_accumulation,
            weight_decay=weight_decay,
            schedule=schedule,
            warmup_share=warmup_share,
            seed=seed,
            max_length=max_length,
            precision=precision,
            ticket_rows=ticket_rows,
            checkpoint_steps=checkpoint_steps,
            lora=LoraSettings(**lora),
            prefix=PrefixSettings(**prefix),
        ),
        evaluation=EvaluationSettings(beams, max_new_tokens, evaluation_batch_size),
        device=device,
        output=output,
    )
    _start(spec, watch)


def _gather(method: Method, owner: Method, **options: Any) -> dict[str, Any]:
    """What was given of one method's own options. Raises RunError when it was given to another method."""
    given = {name: value for name, value in options.items() if value is not None}
    if given and method is not owner:
        raise RunError(
            f"{next(iter(given))}: the method {method} has none, only {owner} does; leave the option out or tune "
            f"{owner}."
        )
    return given


def evaluate(
    model: ModelArgument,
    test: Annotated[Path, typer.Option(help="Test pairs: .jsonl, .csv or .tsv.")],
    source: SourceOption = "en",
    target: TargetOption = "ca",
    prompt: PromptOption = None,
    beams: BeamsOption = 1,
    max_new_tokens: NewTokensOption = 64,
    batch_size: EvaluationBatchOption = 32,
    test_limit: TestLimitOption = None,
    revision: RevisionOption = None,
    device: DeviceOption = "auto",
    name: NameOption = None,
    watch: WatchOption = Watch.follow,
) -> None:
    """Translate a test set with a model as it is, and score it, as a run."""
    from kslottery_core.corpora import DEFAULT_PROMPT, CorpusSpec
    from kslottery_core.evaluation import EvaluationSettings
    from kslottery_core.runs import RunSpec

    spec = RunSpec(
        name=name or f"as it is {Path(model).name} {source}-{target}",
        method="base",
        model=model,
        revision=revision,
        test=CorpusSpec(str(test), source, target, test_limit),
        prompt=prompt or DEFAULT_PROMPT,
        evaluation=EvaluationSettings(beams, max_new_tokens, batch_size),
        device=device,
    )
    _start(spec, watch)


def _start(spec: "RunSpec", watch: Watch) -> None:
    from kslottery_core.runs import RunStore, check_inputs

    check_inputs(spec)
    record = RunStore().create(spec)
    typer.echo(f"Run {record.run_id} in {record.folder}")
    watch_run(record, watch)


def watch_run(record: "RunRecord", watch: Watch) -> None:
    """Work on a queued run, in this process or one of its own, and show it as `watch` says."""
    from kslottery_core.runs import RunStore
    from kslottery_core.runs.launch import start_worker

    if watch is Watch.foreground:
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
