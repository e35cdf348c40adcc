"""Tickets of one vocabulary put together: what any of them holds, or what all of them hold."""

import functools
from collections.abc import Sequence

from kslottery_core.errors import TicketError
from kslottery_core.tickets.ticket import Ticket


def unite_tickets(tickets: Sequence[Ticket], names: Sequence[str] = ()) -> Ticket:
    """The tokens that at least one ticket holds. Raises TicketError as `intersect_tickets` does."""
    return _combine("union", tickets, names)


def intersect_tickets(tickets: Sequence[Ticket], names: Sequence[str] = ()) -> Ticket:
    """The tokens that every ticket holds; there may be none.

    `names` say in the note which tickets they were. Width and fingerprints stay where all tickets that have them agree
    (fingerprints: where all agree). Raises TicketError for fewer than two tickets, or tickets of different
    vocabularies or widths.
    """
    return _combine("intersection", tickets, names)


def _combine(rule: str, tickets: Sequence[Ticket], names: Sequence[str]) -> Ticket:
    if len(tickets) < 2:
        raise TicketError(f"{rule}: expected at least two tickets, found {len(tickets)}; name another.")
    shown = list(names) or [f"ticket {number}" for number in range(1, len(tickets) + 1)]
    for what, sizes in (
        ("for the same vocabulary", [ticket.vocabulary_size for ticket in tickets]),
        ("of the same width", [ticket.width for ticket in tickets]),
    ):
        known = [(name, size) for name, size in zip(shown, sizes, strict=True) if size is not None]
        other = next((item for item in known if item[1] != known[0][1]), None)
        if other is not None:
            raise TicketError(
                f"{rule}: expected tickets {what}, found {known[0][1]:,} in {known[0][0]} and {other[1]:,} in "
                f"{other[0]}; combine tickets of one model."
            )
    sets = [set(ticket.token_ids) for ticket in tickets]
    ids = tuple(sorted(set.union(*sets) if rule == "union" else set.intersection(*sets)))
    labels: dict[int, str] = {}
    for ticket in tickets:
        labels |= dict(zip(ticket.token_ids, ticket.tokens, strict=False))
    parts = ", ".join(f"{name} ({ticket.size:,} tokens)" for name, ticket in zip(shown, tickets, strict=True))
    return Ticket(
        ids,
        tickets[0].vocabulary_size,
        rule,
        tokens=tuple(labels[token_id] for token_id in ids) if labels.keys() >= set(ids) else (),
        width=next((ticket.width for ticket in tickets if ticket.width is not None), None),
        fingerprint_before=_find_agreement([ticket.fingerprint_before for ticket in tickets]),
        fingerprint_after=_find_agreement([ticket.fingerprint_after for ticket in tickets]),
        note=f"{rule.capitalize()} of {parts}.",
    )


def _find_agreement(values: Sequence[str | None]) -> str | None:
    return functools.reduce(lambda one, other: one if one == other else None, values)
