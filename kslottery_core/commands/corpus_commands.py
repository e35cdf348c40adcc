"""`corpus`: a first and a second look at parallel text before anything is trained on it."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kslottery_core.commands.terminal import format_table
from kslottery_core.errors import CorpusError

if TYPE_CHECKING:
    from kslottery_core.corpora import Corpus, CorpusPreview, CorpusSpec, LeakReport

SHOWN_REJECTIONS = 5
SHOWN_LEAKS = 10
SHOWN_CHARACTERS = 60


def corpus(
    path: Annotated[
        str, typer.Argument(help="File, FLORES folder, saved data set or hub:ORGANISATION/NAME.", metavar="PATH")
    ],
    source: Annotated[str, typer.Option(help="Language of the source sentences.")] = "en",
    target: Annotated[str, typer.Option(help="Language of the target sentences.")] = "ca",
    source_column: Annotated[
        str | None, typer.Option(help="Its column, where it is not called as the language.")
    ] = None,
    target_column: Annotated[
        str | None, typer.Option(help="Its column, where it is not called as the language.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Keep only the first N pairs.")] = None,
    split: Annotated[str | None, typer.Option(help="Split of FLORES or a data set.")] = None,
    subset: Annotated[str | None, typer.Option(help="Subset of a data set on the hub.")] = None,
    max_rejected_share: Annotated[float, typer.Option(help="Refuse a text with more unusable lines.")] = 0.1,
    min_characters: Annotated[int | None, typer.Option(help="Leave out pairs with a shorter side.")] = None,
    max_characters: Annotated[int | None, typer.Option(help="Leave out pairs with a longer side.")] = None,
    max_length_ratio: Annotated[
        float | None, typer.Option(help="Leave out pairs with one side more than N times as long as the other.")
    ] = None,
    drop_duplicates: Annotated[bool, typer.Option("--drop-duplicates", help="Leave out pairs seen before.")] = False,
    test: Annotated[str | None, typer.Option(help="Test pairs: which of them does this text hold?")] = None,
    leak_threshold: Annotated[
        float | None, typer.Option(help="Likeness (Jaccard) from which a test sentence counts as held; default 0.8.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Show the first example as this model's tokens.")] = None,
    revision: Annotated[str | None, typer.Option(help="Revision of the model, when that is a hub id.")] = None,
    prompt: Annotated[
        str | None, typer.Option(help="Prompt template with {source}; default: a plain instruction.")
    ] = None,
    prompt_file: Annotated[Path | None, typer.Option(help="The same, from a file.")] = None,
    rows: Annotated[int, typer.Option(help="How many pairs to show.")] = 5,
    out: Annotated[Path | None, typer.Option(help="Write the pairs that are kept to this .jsonl file.")] = None,
) -> None:
    """Look at parallel text: its columns, its first pairs, what is rejected or filtered, and what the test shares."""
    from kslottery_core.corpora import NEAR_THRESHOLD, CorpusSpec, check_prompt, find_leaks, load_corpus, preview_corpus

    template = _read_prompt(prompt, prompt_file)
    if template is not None:
        check_prompt(template)
    if leak_threshold is not None and test is None:
        raise CorpusError("leak threshold: it compares with a test text, found none; give --test PATH or leave it out.")
    spec = CorpusSpec(
        path=path,
        source=source,
        target=target,
        limit=limit,
        source_column=source_column,
        target_column=target_column,
        split=split,
        subset=subset,
        max_rejected_share=max_rejected_share,
        min_characters=min_characters,
        max_characters=max_characters,
        max_length_ratio=max_length_ratio,
        drop_duplicates=drop_duplicates,
    )
    preview = preview_corpus(spec, rows)
    _print_preview(spec, preview)
    spec = _take_columns(spec, preview)
    loaded = load_corpus(spec)
    if loaded.counts is not None:
        typer.echo(f"whole text    {loaded.counts.describe()}")
    if test is not None:
        tested = CorpusSpec(path=test, source=source, target=target)
        tested = _take_columns(tested, preview_corpus(tested, 1))
        threshold = NEAR_THRESHOLD if leak_threshold is None else leak_threshold
        _print_leaks(find_leaks(loaded, load_corpus(tested), threshold))
    if model is not None:
        _print_tokens(loaded, spec, template, model, revision)
    if out is not None:
        _save(loaded, spec, out)
        typer.echo(f"\nWrote {len(loaded.pairs):,} pairs to {out}.")


def _read_prompt(prompt: str | None, file: Path | None) -> str | None:
    if file is None:
        return prompt
    if prompt is not None:
        raise CorpusError("prompt: expected a template or a file with one, found both; leave one out.")
    try:
        return file.read_text(encoding="utf-8-sig").removesuffix("\n")
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or "it is not valid UTF-8"
        raise CorpusError(f"{file}: expected a file with a prompt template, which cannot be read ({reason}).") from None


def _take_columns(spec: "CorpusSpec", preview: "CorpusPreview") -> "CorpusSpec":
    """The spec with the columns that the preview proposes, where a format knows its columns by name alone."""
    if preview.format in ("tmx", "flores", "aligned", "alpaca"):
        return spec
    changes: dict[str, Any] = {
        side: found
        for side, wanted, found in (
            ("source_column", spec.source_name, preview.source_column),
            ("target_column", spec.target_name, preview.target_column),
        )
        if found is not None and found != wanted
    }
    for side, found in changes.items():
        option = side.replace("_", "-")
        typer.echo(f"note          {spec.path}: the column {found!r} is a guess; say --{option} to choose another.")
    return dataclasses.replace(spec, **changes)


def _print_preview(spec: "CorpusSpec", preview: "CorpusPreview") -> None:
    typer.echo(f"text          {spec.path} ({preview.format_name})")
    typer.echo(f"columns       {', '.join(map(str, preview.columns)) or 'none'}")
    typer.echo(f"source        {preview.source_column or 'no column of this language'}")
    typer.echo(f"target        {preview.target_column or 'no column of this language'}")
    if preview.prompt is not None:
        typer.echo("template      the text brings its own, for training; see --model")
    typer.echo(f"{'all' if preview.complete else 'first'} lines".ljust(14) + preview.counts.describe())
    for rejection in preview.rejected[:SHOWN_REJECTIONS]:
        typer.echo(f"rejected      line {rejection.line:,}: {rejection.reason}: {_shorten(rejection.text)}")
    if len(preview.rejected) > SHOWN_REJECTIONS:
        typer.echo(f"rejected      ... and {len(preview.rejected) - SHOWN_REJECTIONS:,} more")
    for line, pair in zip(preview.lines, preview.pairs, strict=True):
        typer.echo(f"line {line:,}".ljust(14) + _shorten(pair.source))
        typer.echo(" " * 14 + _shorten(pair.target))


def _print_leaks(report: "LeakReport") -> None:
    typer.echo(
        f"\nleaks         {len(report.exact):,} of {report.tested:,} test sentences are in this text, "
        f"{len(report.near):,} nearly (character {report.shingle_length}-grams, Jaccard similarity of at least "
        f"{report.threshold:g})"
    )
    found = [*report.exact, *report.near]
    if found:
        cells = [(f"{leak.test_line:,}", f"{leak.train_line:,}", f"{leak.similarity:.3f}") for leak in found]
        typer.echo(format_table(("test line", "line here", "likeness"), cells[:SHOWN_LEAKS]))
    if len(found) > SHOWN_LEAKS:
        typer.echo(f"... and {len(found) - SHOWN_LEAKS:,} more")


def _print_tokens(loaded: "Corpus", spec: "CorpusSpec", template: str | None, model: str, revision: str | None) -> None:
    from kslottery_core.checkpoints import load_tokenizer
    from kslottery_core.corpora import DEFAULT_PROMPT
    from kslottery_core.tuning import preview_prompt

    chosen = template or loaded.prompt or DEFAULT_PROMPT
    shown = preview_prompt(load_tokenizer(model, revision=revision), loaded.pairs[0], spec, chosen)
    count = shown.prompt_length
    typer.echo(f"\nprompt        {count:,} tokens, read and not learned")
    typer.echo(" | ".join(shown.labels[:count]))
    typer.echo(f"target        {len(shown.labels) - count:,} tokens, learned: these count for the loss")
    typer.echo(" | ".join(shown.labels[count:]))


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 1] + "…"


def _save(loaded: "Corpus", spec: "CorpusSpec", out: Path) -> None:
    """JSON lines that `load_corpus` reads back as the same pairs, instructions under Alpaca's names."""
    if out.suffix != ".jsonl":
        raise CorpusError(f"{out}: expected a name that ends in .jsonl, found {out.name!r}; rename it.")
    lines = []
    for pair in loaded.pairs:
        if loaded.prompt is None:
            content: dict[str, Any] = {"translation": {spec.source: pair.source, spec.target: pair.target}}
        else:
            content = {"instruction": pair.source, "output": pair.target}
        lines.append(json.dumps(content, ensure_ascii=False) + "\n")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("".join(lines), encoding="utf-8", newline="\n")
    except OSError as problem:
        raise CorpusError(f"{out}: the pairs cannot be written there ({problem.strerror}).") from None
