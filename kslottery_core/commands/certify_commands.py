"""`certify`: which predictions of a partial model follow, from what or under which assumption, and if they held."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kslottery_core.commands.terminal import TerminalProgress, format_share, format_table
from kslottery_core.errors import CertificationError

if TYPE_CHECKING:
    from kslottery_core.certification import Certification, LostPrediction, TicketPoint, TokenProbability, Violation
    from kslottery_core.corpora import CorpusSpec
    from kslottery_core.tickets import Ticket

SHOWN_VIOLATIONS = 10
SHOWN_LEFT_BEHIND = 8


def certify(
    before: Annotated[
        str | None, typer.Argument(help="Checkpoint before tuning: folder, .gguf or hub id.", metavar="BEFORE")
    ] = None,
    after: Annotated[
        str | None, typer.Argument(help="The same checkpoint after its input embedding was tuned.", metavar="AFTER")
    ] = None,
    ticket: Annotated[Path | None, typer.Option(help="ticket.json; its rows come from AFTER, all others stay.")] = None,
    corpus: Annotated[str | None, typer.Option(help="Test pairs: file, FLORES folder or saved data set.")] = None,
    source: Annotated[str, typer.Option(help="Language or column of the source sentences.")] = "en",
    target: Annotated[str, typer.Option(help="Language or column of the target sentences.")] = "ca",
    source_column: Annotated[str | None, typer.Option(help="Column of --source, if named otherwise.")] = None,
    target_column: Annotated[str | None, typer.Option(help="Column of --target, if named otherwise.")] = None,
    limit: Annotated[int | None, typer.Option(help="Use only the first N pairs.")] = None,
    split: Annotated[str | None, typer.Option(help="Split of FLORES or a data set.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Prompt template with {source}; default: a plain one.")] = None,
    alphas: Annotated[str | None, typer.Option(help="Alphas beside the ticket, such as 0.01,0.05,0.5.")] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Longest greedy output, in tokens.")] = 64,
    batch_size: Annotated[int, typer.Option(help="Maximum sequences in one pass.")] = 32,
    larger_tickets: Annotated[
        int,
        typer.Option(
            help="Also run every larger ticket where an input leaves at most N tokens behind, up to 2^N passes of a "
            "sequence; 0: off.",
            metavar="N",
        ),
    ] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the certificate to this .json file too.")] = None,
    verify: Annotated[
        Path | None, typer.Option(help="Compute this certificate again; exit status 1 if it does not hold.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    before_revision: Annotated[str | None, typer.Option(help="Revision of a hub id.")] = None,
    after_revision: Annotated[str | None, typer.Option(help="Revision of a hub id.")] = None,
) -> None:
    """Certify a ticket on a text: where the model with only its rows tuned predicts what the tuned model predicts.

    The level "exact" follows from how the models compute; the KS bound rests on an assumption, which may not hold for a
    transformer. The result says which is which, and counts where it did not hold.

    The certificate is kept in `certificates` below $KSLOTTERY_HOME. With --verify, the files that the
    certificate names are used, unless others are given here.
    """
    from kslottery_core.corpora import CorpusSpec
    from kslottery_core.tickets import load_ticket

    spec = None
    if corpus is not None:
        spec = CorpusSpec(
            path=corpus,
            source=source,
            target=target,
            limit=limit,
            source_column=source_column,
            target_column=target_column,
            split=split,
        )
    loaded = None if ticket is None else load_ticket(ticket)
    if verify is not None:
        _verify(verify, before, after, loaded, spec, device, before_revision, after_revision)
        return
    for name, value in (("BEFORE", before), ("AFTER", after), ("--ticket", loaded), ("--corpus", spec)):
        if value is None:
            raise CertificationError(
                f"certify: expected BEFORE, AFTER, --ticket FILE and --corpus FILE (or --verify FILE), found no {name}."
            )
    assert before is not None and after is not None and loaded is not None and spec is not None
    from kslottery_core import certification as room
    from kslottery_core.runs import get_home

    task = room.CertificationTask(
        before=before,
        after=after,
        ticket=loaded,
        corpus=spec,
        prompt=prompt,
        significance_levels=room.SIGNIFICANCE_LEVELS if alphas is None else read_alphas(alphas),
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        device=device or "auto",
        before_revision=before_revision,
        after_revision=after_revision,
        larger_ticket_limit=larger_tickets,
    )
    # Before the work: a file that is rewritten meanwhile would name another certificate.
    kept = room.find_certificate_path(task, get_home() / "certificates")
    with TerminalProgress() as progress:
        found = room.certify(task, on_progress=progress)
    assert found is not None, "nothing stops it here"
    room.save_certification(found, kept)
    if out is not None:
        room.save_certification(found, out)
    print_certification(found)
    typer.echo(f"\nThe certificate is in {out or kept}.")


def read_alphas(text: str) -> tuple[float, ...]:
    """Alphas as typed, in ascending order, each once. Raises CertificationError for anything that is not a number."""
    try:
        return tuple(sorted({float(part) for part in text.split(",") if part.strip()}))
    except ValueError:
        raise CertificationError(f"alphas: expected numbers such as 0.01,0.05,0.5, found {text!r}.") from None


def _verify(
    path: Path,
    before: str | None,
    after: str | None,
    ticket: "Ticket | None",
    corpus: "CorpusSpec | None",
    device: str | None,
    before_revision: str | None,
    after_revision: str | None,
) -> None:
    from kslottery_core.certification import load_certification, verify_certification

    certification = load_certification(path)
    with TerminalProgress() as progress:
        verification = verify_certification(
            certification,
            before=before,
            after=after,
            ticket=ticket,
            corpus=corpus,
            device=device,
            before_revision=before_revision,
            after_revision=after_revision,
            on_progress=progress,
        )
    assert verification is not None, "nothing stops it here"
    if not verification.holds:
        typer.echo(f"{path}: this certificate does not hold: {verification.difference}")
        raise typer.Exit(1)
    points = 1 + len(certification.grid)
    typer.echo(
        f"{path}: this certificate holds: checkpoints and text are the same, and all counts of {points:,} tickets "
        "(its own included), their levels and violations, and every sentence were reproduced."
    )
    if verification.rounding is not None:
        typer.echo(verification.rounding)


def print_certification(found: "Certification") -> None:
    """Print the certificate: what was asked, two tables, violations, and what it all rests on."""
    task, chosen = found.task, found.chosen
    typer.echo(f"before         {task.before}")
    typer.echo(f"after          {task.after}")
    typer.echo(f"rows changed   {found.changed_rows:,} of {found.vocabulary_size:,}")
    typer.echo(f"ticket         {task.ticket.size:,} tokens ({task.ticket.rule})")
    typer.echo(f"left behind    {chosen.left_behind:,} tokens of the inputs are outside it and changed")
    typer.echo(f"text           {task.corpus.path}, {len(found.sentences):,} sentences")
    typer.echo(f"decoding       {found.decoding}, on {found.device}")
    difference = chosen.largest_exact_difference
    if difference is not None:
        typer.echo(f"exact          the largest difference of any logit found there is {difference:g}")
    for note in found.notes:
        typer.echo(f"note           {note}")
    for name, kind in (("next tokens of the reference translations", "predictions"), ("whole outputs", "outputs")):
        typer.echo(f"\n{name}, of {getattr(chosen, kind).total:,}")
        typer.echo(_format_points(found, kind))
    _print_violations(found)
    _print_larger_tickets(found)
    typer.echo("")
    for level in found.levels:
        typer.echo(f"{level.title}: {level.definition}")
    for level in found.levels:
        if level.assumption is not None:
            typer.echo(level.assumption)
    typer.echo(found.statement)


def _format_points(found: "Certification", kind: str) -> str:
    titles = [level.title for level in found.levels]
    header = ["alpha", "ticket", *titles, f"{titles[-1]} and correct", "agree", "correct", "violations"]
    if kind == "outputs":
        header.append("at single steps")
    rows = [_format_point("this ticket", found.chosen, kind)]
    rows += [_format_point(f"{point.significance_level:g}", point, kind) for point in found.grid]
    return format_table(header, rows)


def _format_point(name: str, point: "TicketPoint", kind: str) -> tuple[str, ...]:
    tally = point.predictions if kind == "predictions" else point.outputs
    last = tally.levels[-1]
    return (
        name,
        f"{point.ticket_size:,}",
        *(format_share(level.certified, tally.total) for level in tally.levels),
        format_share(last.correct, tally.total),
        format_share(tally.agreed, tally.total),
        format_share(tally.partial_correct, tally.total),
        f"{last.violations:,}",
        *([f"{point.output_step_violations[last.level]:,}"] if kind == "outputs" else []),
    )


def _print_violations(found: "Certification") -> None:
    listed = [("this ticket", violation) for violation in found.chosen.violations]
    listed += [
        (f"alpha {point.significance_level:g}", violation) for point in found.grid for violation in point.violations
    ]
    if not listed:
        return
    typer.echo("\ncertified, yet the partial model differs:")
    for name, violation in listed[:SHOWN_VIOLATIONS]:
        typer.echo(f"{name}: {_describe_violation(found, violation)}")
    if len(listed) > SHOWN_VIOLATIONS:
        typer.echo(f"... and {len(listed) - SHOWN_VIOLATIONS:,} more; they are in the certificate.")


def _print_larger_tickets(found: "Certification") -> None:
    points = [("this ticket", found.chosen), *((f"{point.significance_level:g}", point) for point in found.grid)]
    tried = [(name, point.larger_tickets) for name, point in points if point.larger_tickets is not None]
    if not tried:
        return
    typer.echo(f"\nevery larger ticket, of at most {found.task.larger_ticket_limit:,} left-behind tokens")
    header = ("alpha", "not tried", "lost", "steps of outputs not tried", "steps lost")
    counts = (
        (larger.not_tried, larger.lost, larger.output_steps_not_tried, larger.output_steps_lost) for _, larger in tried
    )
    typer.echo(
        format_table(header, [(name, *(f"{n:,}" for n in row)) for (name, _), row in zip(tried, counts, strict=True)])
    )
    lost = [(name, one) for name, larger in tried for one in larger.listed]
    for name, one in lost[:SHOWN_VIOLATIONS]:
        alpha = name if name == "this ticket" else f"alpha {name}"
        typer.echo(f"{alpha}: {_describe_lost(one)}")
    if len(lost) > SHOWN_VIOLATIONS:
        typer.echo(f"... and {len(lost) - SHOWN_VIOLATIONS:,} more; they are in the certificate.")


def _describe_lost(one: "LostPrediction") -> str:
    margin, least = ("not a number" if at is None else f"{at:.4f}" for at in (one.margin, one.least_margin))
    rows = ", ".join(token.label for token in one.kept_before[:SHOWN_LEFT_BEHIND])
    more = len(one.kept_before) - SHOWN_LEFT_BEHIND
    return (
        f"sentence {one.sentence + 1}, {one.text}, token {one.position + 1}: tuned {one.label!r}, by {margin} in "
        f"logits; by {least} where these rows stay as they were: {rows or 'none'}"
        + (f" and {more} more" if more > 0 else "")
    )


def _describe_violation(found: "Certification", violation: "Violation") -> str:
    from kslottery_core.ks import format_statistic

    width = found.width
    left = [f"{token.label} ({format_statistic(token.count / width)})" for token in violation.left_behind]
    shown = ", ".join(left[:SHOWN_LEFT_BEHIND]) + (
        f" and {len(left) - SHOWN_LEFT_BEHIND} more" if len(left) > 8 else ""
    )
    return (
        f"sentence {violation.sentence + 1}, {violation.text}, token {violation.position + 1}: "
        f"tuned {_name_top(violation.reference_top)}, partial {_name_top(violation.partial_top)}; "
        f"p_A - p_B = {violation.first_probability - violation.second_probability:.4f}, "
        f"2 * sum of D = {format_statistic(2 * violation.counts / width)}; left behind (D): {shown or 'none'}"
    )


def _name_top(top: "tuple[TokenProbability, ...]") -> str:
    first = top[0]
    probability = "not a number" if first.probability is None else f"{first.probability:.4f}"
    return f"{first.label!r} ({probability})"
