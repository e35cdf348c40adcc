"""A study at a terminal: how far it is, a table a language pair, and comparisons with one arm."""

from collections import Counter
from typing import TYPE_CHECKING

import typer

from kslottery_core.commands.terminal import format_number, format_table

if TYPE_CHECKING:
    from kslottery_core.runs import RunStore
    from kslottery_core.studies import Measure, Quality, StudyRecord, StudyRow, StudyTable

_STEP = 1000  # as on the pages


def print_study(record: "StudyRecord", table: "StudyTable") -> None:
    """State, cells that need a word, and the table of every language pair with the signatures of its columns."""
    status = record.status
    typer.echo(f"{record.name}: {status.state}" + (f" ({status.message})" if status.message else ""))
    counts = Counter(cell.state for cell in record.cells)
    typer.echo(f"runs    {', '.join(f'{number} {state}' for state, number in counts.items())}")
    typer.echo(f"folder  {record.folder}")
    for language in dict.fromkeys(row.language for row in table.rows):
        _print_language(table, language)
    by_reason: dict[tuple[str, str], list[str]] = {}
    for cell in record.cells:
        if cell.state in ("skipped", "failed", "stopped") and cell.message:
            by_reason.setdefault((cell.state, cell.message), []).append(cell.cell.label)
    for (state, message), labels in by_reason.items():
        more = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
        typer.echo(f"{state}: {labels[0]}{more}: {message}")


def _print_language(table: "StudyTable", language: str) -> None:
    from kslottery_core.studies import find_pareto

    rows = [row for row in table.rows if row.language == language]
    measures = [measure for measure in table.measures if measure.language == language]
    names = [measure.name for measure in measures]
    heads = [name if names.count(name) == 1 else f"{name} [{n}]" for n, name in enumerate(names, 1)]
    typer.echo(f"\n{language}")
    header = (
        "arm",
        "rate",
        "steps",
        "seeds",
        "rows",
        *heads,
        "trained",
        "optimizer",
        "peak",
        "step",
        "total",
        "selection",
        "saved",
    )
    typer.echo(format_table(header, [_list_cells(row, measures) for row in rows]))
    for head, measure in zip(heads, measures, strict=True):
        made = f"{measure.sentences:,} sentences, {measure.decoding}, prompt {measure.prompt_hash}"
        typer.echo(f"{head}: {measure.signature}; {made}, test set {measure.test_set_hash[:12]}")
    kinds = dict.fromkeys(q.interval_kind for row in rows for q in row.quality if q.interval_kind)
    if kinds:
        typer.echo(f"In brackets: {'; '.join(map(str, kinds))}.")
    if any(row.selection_seconds is not None for row in rows):
        typer.echo("selection: the embedding tuning that the rows come from, on top of the other columns.")
    for measure in measures[:1]:
        costs = (("trained_parameters", "trained parameters"), ("total_seconds", "total time, selection included,"))
        for cost, words in costs:
            front = ", ".join(_name(rows[position]) for position in find_pareto(rows, measure, cost))
            if front:
                typer.echo(f"Not beaten in {measure.name} and {words} together: {front}")
    for note in dict.fromkeys(note for row in rows for note in row.notes if note.startswith("No interval")):
        typer.echo(f"note: {note}")


def _list_cells(row: "StudyRow", measures: "list[Measure]") -> tuple[str, ...]:
    return (
        row.label,
        "" if row.learning_rate is None else f"{row.learning_rate:g}",
        "" if row.steps is None else str(row.steps),
        f"{len(row.seeds)}/{row.planned_seeds}",
        "" if row.ticket_size is None else f"{row.ticket_size:g}",
        *(_format_quality(row.get_quality(measure)) for measure in measures),
        _format_cost(row, row.trained_parameters, ",.0f"),
        _format_bytes(row, row.optimizer_bytes),
        _format_bytes(row, row.peak_memory_bytes),
        _format_cost(row, row.step_seconds, ".3f", " s"),
        _format_cost(row, row.total_seconds, ",.1f", " s"),
        "" if row.selection_seconds is None else format_number(row.selection_seconds, ",.1f", " s"),
        _format_bytes(row, row.saved_bytes),
    )


def _format_quality(quality: "Quality | None") -> str:
    if quality is None:
        return ""
    interval = "" if quality.low is None else f" ({quality.low:.1f} to {quality.high:.1f})"
    return f"{quality.mean:.2f}{interval}"


def _format_cost(row: "StudyRow", value: float | None, form: str, unit: str = "") -> str:
    return format_number(value, form, unit) if row.run_ids else ""


def _format_bytes(row: "StudyRow", value: float | None) -> str:
    size, unit = value, "B"
    for larger in ("kB", "MB", "GB"):
        if size is not None and size >= _STEP:
            size, unit = size / _STEP, larger
    return _format_cost(row, size, ",.0f" if unit == "B" else ",.1f", f" {unit}")


def _name(row: "StudyRow") -> str:
    parts = [row.label]
    parts += [] if row.learning_rate is None else [f"rate {row.learning_rate:g}"]
    parts += [] if row.steps is None else [f"{row.steps} steps"]
    return " ".join(parts)


def print_comparisons(table: "StudyTable", run_store: "RunStore", label: str) -> None:
    """Every row against those of the arm `label`, under the first measure of their language. Raises KSLotteryError."""
    from kslottery_core.errors import StudyError
    from kslottery_core.studies import compute_comparisons

    baselines = [position for position, row in enumerate(table.rows) if row.label == label]
    if not baselines:
        known = ", ".join(dict.fromkeys(row.label for row in table.rows))
        raise StudyError(f"against: expected an arm among {known}, found {label!r}.")
    for position in baselines:
        row = table.rows[position]
        measure = next((quality.measure for quality in row.quality), None)
        if measure is None:
            typer.echo(f"\n{_name(row)} has no score yet, so nothing is compared with it.")
            continue
        found = compute_comparisons(table, run_store, position, measure)
        lines = [
            (
                _name(table.rows[one.row]),
                "" if one.seed is None else str(one.seed),
                f"{one.score:.2f}",
                f"{one.difference:+.2f}",
                f"{one.p_value:.3f}",
            )
            for one in found
        ]
        typer.echo(f"\n{row.language}, {measure.name}, against {_name(row)} (paired bootstrap over sentences)")
        typer.echo(format_table(("arm", "seed", "score", "difference", "p"), lines))
