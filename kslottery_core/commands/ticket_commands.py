"""`ticket`: one way of choosing rows, a ticket out."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kslottery_core.commands.pair_commands import (
    AfterRevisionOption,
    AlphaOption,
    BeforeRevisionOption,
    DeviceOption,
    ParameterOption,
    label_rows,
)
from kslottery_core.commands.row_choice import RowChoice, choose_rows, read_token_list
from kslottery_core.commands.terminal import TerminalProgress
from kslottery_core.errors import TicketError

if TYPE_CHECKING:
    from kslottery_core.tickets import Ticket

FROM_A_MODEL = ("--frequent", "--random", "--like", "--prompt-tokens", "--list")
FROM_TICKETS = ("--published", "--union", "--intersect")


class Correction(StrEnum):
    none = "none"
    bonferroni = "bonferroni"
    holm = "holm"
    bh = "bh"


class Threshold(StrEnum):
    exact = "exact"
    tau = "tau"


def ticket(
    before: Annotated[
        str | None, typer.Argument(help="Checkpoint before tuning, or the model to choose rows of.", metavar="BEFORE")
    ] = None,
    after: Annotated[
        str | None, typer.Argument(help="Checkpoint after tuning, for alpha and --top-k.", metavar="AFTER")
    ] = None,
    alpha: AlphaOption = 0.05,
    correction: Annotated[Correction, typer.Option(help="Correction for the number of tokens.")] = Correction.none,
    threshold: Annotated[
        Threshold, typer.Option(help="Exact p, or the paper's asymptotic tau(alpha) on D.")
    ] = Threshold.exact,
    top_k: Annotated[int | None, typer.Option(help="Take the k tokens with the largest D instead of alpha.")] = None,
    frequent: Annotated[int | None, typer.Option(help="The K most frequent tokens of --corpus.")] = None,
    random: Annotated[int | None, typer.Option(help="K tokens drawn by chance; see --seed.")] = None,
    like: Annotated[
        Path | None, typer.Option(help="Random tokens outside this ticket, as frequent in --corpus as its tokens.")
    ] = None,
    prompt_tokens: Annotated[
        bool, typer.Option("--prompt-tokens", help="The tokens of the prompt template; see --prompt.")
    ] = False,
    token_list: Annotated[
        str | None, typer.Option("--list", help="Ids, ranges and tokens: '13, 29871, 5-9', or @FILE that holds them.")
    ] = None,
    published: Annotated[
        str | None, typer.Option(help="A published LLaMA-7B ticket instead of a pair: ca, es, ..., en-ca@0.5.")
    ] = None,
    union: Annotated[
        list[Path] | None, typer.Option(help="Tokens of any of several tickets; give the option once for each.")
    ] = None,
    intersect: Annotated[
        list[Path] | None, typer.Option(help="Tokens of all of several tickets; give the option once for each.")
    ] = None,
    corpus: Annotated[
        list[str] | None, typer.Option(help="Text whose tokens are counted, both sides; may be given several times.")
    ] = None,
    source: Annotated[str, typer.Option(help="Language or column of the source sentences.")] = "en",
    target: Annotated[str, typer.Option(help="Language or column of the target sentences.")] = "ca",
    seed: Annotated[int | None, typer.Option(help="Seed of --random and --like; default 0.")] = None,
    prompt: Annotated[
        str | None, typer.Option(help="Prompt template with {source}, for --prompt-tokens and for what is counted.")
    ] = None,
    text_alone: Annotated[
        bool,
        typer.Option("--text-alone", help="Count only the sentences, not the prompt and special tokens of training."),
    ] = False,
    max_length: Annotated[
        int | None, typer.Option(help="Tokens of a pair that count, as training cuts them; default 256.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write ticket.json here.")] = None,
    device: DeviceOption = "auto",
    parameter: ParameterOption = None,
    before_revision: BeforeRevisionOption = None,
    after_revision: AfterRevisionOption = None,
) -> None:
    """Select a ticket: the winning tokens of a pair, or rows chosen in another way to compare them with.

    From a pair: BEFORE AFTER, by --alpha or --top-k. From one model: BEFORE with --frequent, --random, --like,
    --prompt-tokens or --list. From tickets: --published, --union or --intersect.
    """
    from kslottery_core.tickets import (
        intersect_tickets,
        load_published_ticket,
        load_ticket,
        save_ticket,
        unite_tickets,
    )

    ways = {
        "--top-k": top_k,
        "--frequent": frequent,
        "--random": random,
        "--like": like,
        "--prompt-tokens": prompt_tokens or None,
        "--list": token_list,
        "--published": published,
        "--union": union or None,
        "--intersect": intersect or None,
    }
    way = _find_way([name for name, value in ways.items() if value is not None], before, after)
    _check_additions(
        way,
        {
            "--corpus": (corpus or None, ("--frequent", "--like")),
            "--seed": (seed, ("--random", "--like")),
            "--prompt": (prompt, ("--prompt-tokens", "--frequent", "--like")),
            "--text-alone": (text_alone or None, ("--frequent", "--like")),
            "--max-length": (max_length, ("--frequent", "--like")),
        },
    )
    disagreement = None
    if published is not None:
        selected = load_published_ticket(published)
    elif union or intersect:
        paths = union or intersect or []
        combine = unite_tickets if union else intersect_tickets
        selected = combine([load_ticket(path) for path in paths], [path.name for path in paths])
    elif way in FROM_A_MODEL:
        assert before is not None  # checked with the way
        choice = RowChoice(
            frequent=frequent,
            random=random,
            like=None if like is None else load_ticket(like),
            token_list=None if token_list is None else read_token_list(token_list),
            corpora=tuple(corpus or ()),
            source=source,
            target=target,
            seed=seed or 0,
            prompt=prompt,
            counted="text" if text_alone else "training",
            max_length=max_length,
        )
        selected = choose_rows(before, choice, parameter=parameter, revision=before_revision)
    else:
        assert before is not None and after is not None
        selected, disagreement = _select_from_pair(
            before, after, alpha, correction, threshold, top_k, device, parameter, (before_revision, after_revision)
        )
    if out is not None:
        save_ticket(selected, out)
        typer.echo(f"Wrote a ticket of {selected.size:,} token{'s' if selected.size != 1 else ''} to {out}.")
    _print_ticket(selected, disagreement)


def _find_way(given: Sequence[str], before: str | None, after: str | None) -> str:
    """The one way of choosing that was asked for, with as many checkpoints as it needs."""
    if len(given) > 1:
        raise TicketError(f"ticket: expected one way of choosing rows, found {' and '.join(given)}; leave one out.")
    way = given[0] if given else "alpha"
    count = sum(checkpoint is not None for checkpoint in (before, after))
    if way in FROM_TICKETS and count:
        raise TicketError(f"ticket: {way} needs no checkpoint, found {before!r}; leave it out.")
    if way in FROM_A_MODEL and count != 1:
        found = "none" if not count else f"two, {before!r} and {after!r}"
        raise TicketError(f"ticket: {way} needs one checkpoint, the model to choose rows of, found {found}.")
    if way not in (*FROM_TICKETS, *FROM_A_MODEL) and count != 2:
        raise TicketError(
            "ticket: expected two checkpoints, BEFORE and AFTER (or --published NAME, or BEFORE with another way such "
            "as --random K, see --help), found fewer."
        )
    return way


def _check_additions(way: str, additions: dict[str, tuple[object, tuple[str, ...]]]) -> None:
    for name, (value, users) in additions.items():
        if value is not None and way not in users:
            raise TicketError(f"ticket: {name} belongs to {' and '.join(users)}, found it with {way}; leave it out.")


def _select_from_pair(
    before: str,
    after: str,
    alpha: float,
    correction: Correction,
    threshold: Threshold,
    top_k: int | None,
    device: str,
    parameter: str | None,
    revisions: tuple[str | None, str | None],
) -> tuple["Ticket", str | None]:
    """The ticket by alpha or top k, and what the exact and the asymptotic p judge differently."""
    from kslottery_core.checkpoints import open_pair
    from kslottery_core.ks import check_significance_level, compute_pair_ks
    from kslottery_core.tickets import describe_method_disagreement, select_ticket, select_top_k_ticket

    check_significance_level(alpha)
    pair = open_pair(before, after, parameter=parameter, before_revision=revisions[0], after_revision=revisions[1])
    with TerminalProgress() as progress:
        result = compute_pair_ks(pair, device, progress)
    labels = label_rows(pair, parameter, revisions[0])
    if top_k is not None:
        return select_top_k_ticket(result, top_k, tokens=labels), None
    method = "exact" if threshold is Threshold.exact else "asymptotic"
    selected = select_ticket(result, alpha, correction=correction.value, p_value_method=method, tokens=labels)
    return selected, describe_method_disagreement(result, alpha, correction.value, labels)


def _print_ticket(ticket: "Ticket", disagreement: str | None) -> None:
    typer.echo(f"{ticket.size:,} of {ticket.vocabulary_size:,} tokens")
    for note in (ticket.note, disagreement):
        if note:
            typer.echo(note)
    labels = ticket.tokens or ("",) * ticket.size
    shown = list(zip(ticket.token_ids, labels, strict=True))[:40]
    for token_id, label in shown:
        typer.echo(f"{token_id:>8}  {label}".rstrip())
    if ticket.size > len(shown):
        typer.echo(f"... and {ticket.size - len(shown):,} more")
