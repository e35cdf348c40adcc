"""`tune` and `evaluate`: each tuning or evaluation is a run with a folder of its own."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kslottery_core.commands import text_options as text
from kslottery_core.commands.run_watching import Watch, WatchOption, watch_run
from kslottery_core.errors import RunError
from kslottery_core.tuning.settings import DEFAULT_LEARNING_RATES

if TYPE_CHECKING:
    from kslottery_core.runs import RunSpec


class Method(StrEnum):
    full = "full"
    embedding = "embedding"
    ticket = "ticket"
    transfer = "transfer"
    lora = "lora"
    prefix = "prefix"


_RATES = ", ".join(f"{method} {rate:g}" for method, rate in DEFAULT_LEARNING_RATES.items())

ModelArgument = Annotated[str, typer.Argument(help="Folder, .gguf, adapter, tuned ticket or hub id.", metavar="MODEL")]
RevisionOption = Annotated[str | None, typer.Option(help="Revision of a hub id.")]
PromptOption = Annotated[str | None, typer.Option(help="Prompt template with {source}; default: a plain instruction.")]
NameOption = Annotated[str | None, typer.Option(help="A name for the run.")]
DeviceOption = Annotated[str, typer.Option(help="auto (CUDA or CPU), cpu, cuda, cuda:N, or mps (Apple's GPU).")]
BeamsOption = Annotated[int, typer.Option(help="1 is greedy search.")]
NewTokensOption = Annotated[int, typer.Option(help="Longest output, in tokens.")]
EvaluationBatchOption = Annotated[int, typer.Option(help="Sentences generated at once.")]


def tune(
    method: Annotated[Method, typer.Argument(help="What is trained.")],
    model: ModelArgument,
    train: text.TrainOption = None,
    test: text.TestOption = None,
    ticket: Annotated[Path | None, typer.Option(help="ticket.json, for ticket and transfer.")] = None,
    after: Annotated[str | None, typer.Option(help="Embedding-tuned checkpoint, for transfer.")] = None,
    source: text.SourceOption = "en",
    target: text.TargetOption = "ca",
    source_column: text.SourceColumnOption = None,
    target_column: text.TargetColumnOption = None,
    split: text.SplitOption = None,
    subset: text.SubsetOption = None,
    train_limit: text.LimitOption = None,
    min_characters: text.ShortestOption = None,
    max_characters: text.LongestOption = None,
    max_length_ratio: text.RatioOption = None,
    drop_duplicates: text.DuplicatesOption = False,
    test_source_column: text.TestSourceColumnOption = None,
    test_target_column: text.TestTargetColumnOption = None,
    test_split: text.TestSplitOption = None,
    test_subset: text.TestSubsetOption = None,
    test_limit: text.TestLimitOption = None,
    max_rejected_share: text.RejectedShareOption = 0.1,
    prompt: PromptOption = None,
    learning_rate: Annotated[
        float | None, typer.Option(help=f"Peak learning rate; default: the method's own, {_RATES}.")
    ] = None,
    epochs: Annotated[float, typer.Option(help="Passes over the training pairs.")] = 3.0,
    max_steps: Annotated[int | None, typer.Option(help="Optimizer steps; overrides epochs.")] = None,
    batch_size: Annotated[int, typer.Option(help="Pairs per batch and process.")] = 16,
    gradient_accumulation: Annotated[int, typer.Option(help="Batches of each process per optimizer step.")] = 1,
    weight_decay: Annotated[float, typer.Option(help="AdamW's weight decay.")] = 0.0,
    schedule: Annotated[str, typer.Option(help="cosine, linear or constant.")] = "cosine",
    warmup_share: Annotated[float, typer.Option(help="Share of the steps that warm up.")] = 0.03,
    seed: Annotated[int, typer.Option(help="Seed of data order and initialisation.")] = 42,
    max_length: Annotated[int, typer.Option(help="Longest prompt and target together, in tokens.")] = 256,
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    checkpoint_steps: Annotated[
        int, typer.Option(help="Steps between the checkpoints that `runs resume` continues from; 0 keeps none.")
    ] = 100,
    quantization: Annotated[
        str, typer.Option(help="none, 8bit or 4bit (bitsandbytes): the frozen layers of ticket, lora and prefix.")
    ] = "none",
    ticket_rows: Annotated[
        str, typer.Option(help="For a ticket: input, or input_and_head where the model ties both.")
    ] = "input",
    lora_rank: Annotated[int | None, typer.Option(help="For lora: its rank; default 8.")] = None,
    lora_alpha: Annotated[
        float | None, typer.Option(help="For lora: alpha, the scale times the rank; default 16.")
    ] = None,
    lora_dropout: Annotated[float | None, typer.Option(help="For lora: dropout in training; default 0.")] = None,
    lora_targets: Annotated[
        str | None,
        typer.Option(help="For lora: layers, as q_proj,v_proj; default: all linear ones but the head."),
    ] = None,
    virtual_tokens: Annotated[int | None, typer.Option(help="For prefix: its length in tokens; default 20.")] = None,
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
    """Tune a model as a run: all of it, its embedding, a ticket's rows (trained or copied), a LoRA or a prefix.

    Length filters and --drop-duplicates apply to the training pairs; the whole test text is used.
    """
    from kslottery_core.corpora import DEFAULT_PROMPT
    from kslottery_core.evaluation import EvaluationSettings
    from kslottery_core.runs import RunSpec
    from kslottery_core.tickets import load_ticket
    from kslottery_core.tuning.settings import LoraSettings, PrefixSettings, TuningSettings, choose_learning_rate

    lora = _gather(
        method,
        Method.lora,
        rank=lora_rank,
        alpha=lora_alpha,
        dropout=lora_dropout,
        target_modules=None if lora_targets is None else tuple(name.strip() for name in lora_targets.split(",")),
    )
    prefix = _gather(method, Method.prefix, virtual_tokens=virtual_tokens)
    both = {
        "source": source,
        "target": target,
        "source_column": source_column,
        "target_column": target_column,
        "max_rejected_share": max_rejected_share,
    }
    of_train = {
        "limit": train_limit,
        "split": split,
        "subset": subset,
        "min_characters": min_characters,
        "max_characters": max_characters,
        "max_length_ratio": max_length_ratio,
        "drop_duplicates": drop_duplicates,
    }
    of_test = {
        "limit": test_limit,
        "split": test_split,
        "subset": test_subset,
        "source_column": test_source_column,
        "target_column": test_target_column,
    }
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
        train=text.build_corpus("train", train, both, of_train, {"limit": "train-limit"}),
        test=text.build_corpus("test", test, both, of_test, {field: f"test-{field}" for field in of_test}),
        prompt=DEFAULT_PROMPT if prompt is None else prompt,
        tuning=TuningSettings(
            learning_rate=choose_learning_rate(method.value, learning_rate),
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
            quantization=quantization,
            lora=LoraSettings(**lora),
            prefix=PrefixSettings(**prefix),
        ),
        evaluation=EvaluationSettings(beams, max_new_tokens, evaluation_batch_size),
        device=device,
        output=output,
    )
    _start(spec, watch)


def _gather(method: Method, owner: Method, **options: Any) -> dict[str, Any]:
    """The options of one method that were given. Raises RunError when another method was chosen."""
    given = {name: value for name, value in options.items() if value is not None}
    if given and method is not owner:
        raise RunError(
            f"{next(iter(given))}: the method {method} has no such option, only {owner} does; leave it out or "
            f"choose {owner}."
        )
    return given


def evaluate(
    model: ModelArgument,
    test: Annotated[str, typer.Option(help=f"Test pairs: {text.FORMATS}.")],
    source: text.SourceOption = "en",
    target: text.TargetOption = "ca",
    source_column: text.SourceColumnOption = None,
    target_column: text.TargetColumnOption = None,
    split: Annotated[str | None, typer.Option(help="Split of FLORES or a data set.")] = None,
    subset: Annotated[str | None, typer.Option(help="Subset of a data set on the hub.")] = None,
    test_limit: text.TestLimitOption = None,
    min_characters: text.ShortestOption = None,
    max_characters: text.LongestOption = None,
    max_length_ratio: text.RatioOption = None,
    drop_duplicates: text.DuplicatesOption = False,
    max_rejected_share: text.RejectedShareOption = 0.1,
    prompt: PromptOption = None,
    beams: BeamsOption = 1,
    max_new_tokens: NewTokensOption = 64,
    batch_size: EvaluationBatchOption = 32,
    revision: RevisionOption = None,
    device: DeviceOption = "auto",
    name: NameOption = None,
    watch: WatchOption = Watch.follow,
) -> None:
    """Translate a test set with an untuned model and score it, as a run."""
    from kslottery_core.corpora import DEFAULT_PROMPT, CorpusSpec
    from kslottery_core.evaluation import EvaluationSettings
    from kslottery_core.runs import RunSpec

    spec = RunSpec(
        name=name or f"untuned {Path(model).name} {source}-{target}",
        method="base",
        model=model,
        revision=revision,
        test=CorpusSpec(
            test,
            source,
            target,
            limit=test_limit,
            source_column=source_column,
            target_column=target_column,
            split=split,
            subset=subset,
            max_rejected_share=max_rejected_share,
            min_characters=min_characters,
            max_characters=max_characters,
            max_length_ratio=max_length_ratio,
            drop_duplicates=drop_duplicates,
        ),
        prompt=DEFAULT_PROMPT if prompt is None else prompt,
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
