"""Tickets combined into one, and how much several sets of tokens share."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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


@dataclass(frozen=True, eq=False)
class Overlap:
    """Agreement of A tickets over V tokens; every (A, A) array is symmetric.

    sizes              int64 (A,)      tokens of each ticket
    holders            int64 (V,)      how many of the tickets hold each token
    intersections      int64 (A, A)    tokens that both hold
    jaccard            float64 (A, A)  intersection / union; NaN for two empty tickets, whose index is undefined
    expected_jaccard   float64 (A, A)  its expectation for two independent random tickets of these sizes; NaN as above
    log10_chances      float64 (A, A)  log10 of P(I >= the intersection) for such tickets; 0 means certain
    expected_in_all    tokens that A independent random tickets of these sizes would all hold, on average
    expected_in_any    tokens that at least one of them would hold, on average

    The diagonal of the last three arrays belongs to two independent tickets of that size, not to one beside itself.
    """

    vocabulary_size: int
    sizes: np.ndarray
    holders: np.ndarray
    intersections: np.ndarray
    jaccard: np.ndarray
    expected_jaccard: np.ndarray
    log10_chances: np.ndarray
    expected_in_all: float
    expected_in_any: float
    notes: tuple[str, ...] = ()

    @property
    def in_all(self) -> int:
        """How many tokens every ticket holds."""
        return int((self.holders == len(self.sizes)).sum())

    @property
    def in_any(self) -> int:
        """How many tokens at least one ticket holds."""
        return int((self.holders > 0).sum())

    @property
    def chances(self) -> np.ndarray:
        """P(I >= the intersection), float64 (A, A); below the smallest double it is 0, where `log10_chances` is not."""
        return 10.0**self.log10_chances


def compute_overlap(tickets: Sequence[Ticket] | np.ndarray | Sequence[np.ndarray]) -> Overlap:
    """Compare A tickets of one vocabulary, or boolean masks (A, V), one row a ticket. Empty tickets are allowed.

    Raises TicketError for no ticket at all, tickets of different vocabularies, or masks that are not boolean (A, V).
    """
    notes: tuple[str, ...] = ()
    if len(tickets) and all(isinstance(ticket, Ticket) for ticket in tickets):
        masks, notes = _make_masks(tickets)  # type: ignore[arg-type]
    else:
        masks = _check_masks(tickets)  # type: ignore[arg-type]
    count, vocabulary_size = masks.shape
    sizes = masks.sum(axis=1, dtype=np.int64)
    intersections = np.zeros((count, count), dtype=np.int64)
    jaccard, expected, chances = (np.empty((count, count)) for _ in range(3))
    for first in range(count):
        for second in range(first, count):
            a, b = int(sizes[first]), int(sizes[second])
            shared = int(np.count_nonzero(masks[first] & masks[second]))
            union = a + b - shared
            found = (
                (shared, intersections),
                (shared / union if union else np.nan, jaccard),
                (compute_expected_jaccard(a, b, vocabulary_size), expected),
                (compute_log10_chance(shared, a, b, vocabulary_size), chances),
            )
            for value, target in found:
                target[first, second] = target[second, first] = value
    shares = sizes / vocabulary_size
    return Overlap(
        vocabulary_size=vocabulary_size,
        sizes=sizes,
        holders=masks.sum(axis=0, dtype=np.int64),
        intersections=intersections,
        jaccard=jaccard,
        expected_jaccard=expected,
        log10_chances=chances,
        expected_in_all=float(vocabulary_size * shares.prod()),
        expected_in_any=float(vocabulary_size * (1 - (1 - shares).prod())),
        notes=notes,
    )


def compute_expected_jaccard(first_size: int, second_size: int, vocabulary_size: int) -> float:
    """E[J] of two independent uniformly random tickets; the module's text has the formula. NaN for two empty ones.

    Raises TicketError for a size outside 0 .. V or V < 1.
    """
    shared, logarithms = _compute_log_chances(first_size, second_size, vocabulary_size)
    union = first_size + second_size - shared
    if union[0] == 0:
        return float("nan")
    weights = np.exp(logarithms)  # relative to the likeliest intersection, so nothing overflows
    return float((weights * (shared / union)).sum() / weights.sum())


def compute_log10_chance(intersection: int, first_size: int, second_size: int, vocabulary_size: int) -> float:
    """log10 of P(I >= intersection) for two independent uniformly random tickets; -inf where that is impossible.

    Raises TicketError for a size outside 0 .. V or V < 1.
    """
    shared, logarithms = _compute_log_chances(first_size, second_size, vocabulary_size)
    tail = logarithms[shared >= intersection]
    if tail.size == 0:
        return -float("inf")
    if tail.size == logarithms.size:
        return 0.0
    largest = tail.max()
    chance = largest + np.log(np.exp(tail - largest).sum()) - np.log(np.exp(logarithms).sum())
    return float(min(chance / np.log(10), 0.0))


def _compute_log_chances(first_size: int, second_size: int, vocabulary_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Every possible intersection i, and log P(I = i) up to a constant that makes the largest 0. Both (n,).

    P(i + 1) / P(i) = (a - i) (b - i) / ((i + 1) (V - a - b + i + 1)), summed outwards from the mode: log-gamma
    differences would lose nine digits at V = 300,000, where log C(V, b) is about 2e5.
    """
    for size in (first_size, second_size):
        if vocabulary_size < 1 or not 0 <= size <= vocabulary_size:
            raise TicketError(
                f"overlap: expected ticket sizes from 0 to a vocabulary of at least 1, found {size} of "
                f"{vocabulary_size}."
            )
    least = max(0, first_size + second_size - vocabulary_size)
    shared = np.arange(least, min(first_size, second_size) + 1, dtype=np.float64)
    inner = shared[:-1]
    fewer = (inner + 1) * (vocabulary_size - first_size - second_size + inner + 1)
    steps = np.log((first_size - inner) * (second_size - inner) / fewer)
    mode = int(np.count_nonzero(steps > 0))  # the steps fall, so P rises up to here
    logarithms = np.concatenate((-np.cumsum(steps[:mode][::-1])[::-1], [0.0], np.cumsum(steps[mode:])))
    return shared, logarithms


def _check_masks(masks: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
    rows = [np.asarray(mask) for mask in masks]
    if not rows:
        raise TicketError("overlap: expected at least one ticket, found none.")
    if any(isinstance(mask, Ticket) for mask in masks):
        raise TicketError("overlap: expected tickets or boolean masks, found both; give one kind.")
    for number, row in enumerate(rows, 1):
        if row.dtype != bool or row.ndim != 1 or row.size == 0:
            raise TicketError(
                f"overlap: expected boolean masks of shape (A, V), found {row.dtype} of shape {row.shape} "
                f"as number {number}."
            )
    _check_vocabularies([row.size for row in rows])
    return np.stack(rows)


def _make_masks(tickets: Sequence[Ticket]) -> tuple[np.ndarray, tuple[str, ...]]:
    _check_vocabularies([ticket.vocabulary_size for ticket in tickets])
    masks = np.zeros((len(tickets), tickets[0].vocabulary_size), dtype=bool)
    for mask, ticket in zip(masks, tickets, strict=True):
        mask[list(ticket.token_ids)] = True
    notes = []
    rules = {(t.rule, t.significance_level, t.correction, t.p_value_method) for t in tickets}
    if len(rules) > 1:
        notes.append("The tickets were selected by different rules, so their sizes are no measure of the checkpoints.")
    befores = {ticket.fingerprint_before for ticket in tickets} - {None}
    if len(befores) > 1:
        notes.append("The tickets were selected against different before checkpoints.")
    return masks, tuple(notes)


def _check_vocabularies(sizes: list[int]) -> None:
    for number, size in enumerate(sizes, 1):
        if size != sizes[0]:
            raise TicketError(
                f"overlap: expected tickets of one vocabulary, found {sizes[0]} tokens in number 1 and {size} in "
                f"number {number}; compare checkpoints of one model."
            )
