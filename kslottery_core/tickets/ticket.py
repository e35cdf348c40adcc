"""A ticket: token ids with the rule that chose them, as JSON on disk; and the published ones."""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kslottery_core.errors import TicketError
from kslottery_core.ks.p_values import P_VALUE_METHODS
from kslottery_core.records import load_json, read_record, save_json

CORRECTIONS = ("none", "bonferroni", "holm", "bh")
RULES = ("alpha", "top_k", "published", "list", "frequent", "random", "matched", "prompt", "union", "intersection")


@dataclass(frozen=True)
class Ticket:
    """Token ids chosen for tuning or transfer.

    `token_ids` are sorted and distinct, each in 0 .. vocabulary_size - 1; `tokens` are their readable labels, in the
    same order (empty when unknown). `least_count` is the smallest count k = d * D that wins. The fingerprints are the
    content digests of the two embedding matrices it was selected from; None where it was not selected from a pair.
    Rules without fields of their own tell their arguments (text, seed, template) in `note`.
    """

    token_ids: tuple[int, ...]
    vocabulary_size: int
    rule: str
    tokens: tuple[str, ...] = ()
    significance_level: float | None = None
    correction: str | None = None
    p_value_method: str | None = None
    least_count: int | None = None
    width: int | None = None
    fingerprint_before: str | None = None
    fingerprint_after: str | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise TicketError(f"ticket: expected a rule among {', '.join(RULES)}, found {self.rule!r}.")
        ids = self.token_ids
        if any(later <= earlier for earlier, later in itertools.pairwise(ids)):
            repeated = [token_id for token_id, times in Counter(ids).items() if times > 1]
            found = f"the id {repeated[0]} more than once" if repeated else "ids out of order"
            raise TicketError(f"ticket: expected distinct token ids in ascending order, found {found}.")
        if ids and not (ids[0] >= 0 and ids[-1] < self.vocabulary_size):
            wrong = ids[0] if ids[0] < 0 else ids[-1]
            raise TicketError(
                f"ticket: expected token ids from 0 to {self.vocabulary_size - 1}, found {wrong}; "
                "the ticket was made for another vocabulary."
            )
        if self.significance_level is not None and not 0 < self.significance_level < 1:
            raise TicketError(
                f"ticket: expected a significance level in 0 < alpha < 1, got {self.significance_level!r}."
            )
        for name, value, known in (
            ("correction", self.correction, CORRECTIONS),
            ("p_value_method", self.p_value_method, P_VALUE_METHODS),
        ):
            if value is not None and value not in known:
                raise TicketError(f"ticket: expected a {name} among {', '.join(known)}, found {value!r}.")
        if self.width is not None and self.width < 1:
            raise TicketError(f"ticket: expected a width of at least 1, found {self.width}.")
        if self.tokens and len(self.tokens) != len(ids):
            raise TicketError(f"ticket: expected one label per token id, found {len(self.tokens)} for {len(ids)} ids.")

    @property
    def size(self) -> int:
        """Number of tokens in the ticket."""
        return len(self.token_ids)

    def to_json(self) -> dict[str, Any]:
        """A JSON object with every field."""
        return asdict(self)

    @classmethod
    def from_json(cls, mapping: Any, where: str = "ticket") -> "Ticket":
        """Read a JSON object; raises TicketError naming `where` and the field that is wrong."""
        try:
            return read_record(cls, mapping, where, TicketError)
        except TicketError as problem:
            if str(problem).startswith(where):
                raise
            raise TicketError(f"{where}: {problem}") from None  # which one, where several are read


def save_ticket(ticket: Ticket, path: str | Path) -> None:
    """Write ticket.json. Raises TicketError when the disk does not take it."""
    try:
        save_json(Path(path), ticket.to_json())
    except OSError as problem:
        raise TicketError(f"{path}: the ticket cannot be written there ({problem}); choose another path.") from None


def load_ticket(path: str | Path) -> Ticket:
    """Read ticket.json; raises TicketError."""
    return Ticket.from_json(load_json(Path(path), TicketError), str(path))


def check_ticket_fits(ticket: Ticket, vocabulary_size: int, width: int) -> None:
    """Raise TicketError unless the ticket can be applied to an embedding matrix of V rows of width d."""
    if not ticket.token_ids:
        raise TicketError("ticket: expected at least one token, found an empty ticket; raise alpha or take the top k.")
    if ticket.token_ids[-1] >= vocabulary_size:
        raise TicketError(
            f"ticket: the token id {ticket.token_ids[-1]} does not exist in this model of {vocabulary_size} rows; "
            f"the ticket was made for a vocabulary of {ticket.vocabulary_size}."
        )
    # A model may have more rows than the ticket knew (resized, or padded to a round number), but never fewer.
    if ticket.vocabulary_size > vocabulary_size:
        raise TicketError(
            f"ticket: it was made for a vocabulary of {ticket.vocabulary_size} tokens, this model has "
            f"{vocabulary_size} rows; select a ticket from this model's own pair."
        )
    if ticket.width is not None and ticket.width != width:
        raise TicketError(
            f"ticket: it was made for rows of width {ticket.width}, this model has width {width}; "
            "select a ticket from this model's own pair."
        )


def create_list_ticket(token_ids: Sequence[int], vocabulary_size: int, tokens: Sequence[str] = ()) -> Ticket:
    """A ticket of ids that a person names, in any order; `tokens` are labels of the whole vocabulary, (V,).

    Raises TicketError for ids that repeat or lie outside 0 .. V - 1.
    """
    ordered = tuple(sorted(token_ids))
    labels = (
        tuple(tokens[i] for i in ordered) if tokens and ordered and 0 <= ordered[0] <= ordered[-1] < len(tokens) else ()
    )
    return Ticket(token_ids=ordered, vocabulary_size=vocabulary_size, rule="list", tokens=labels)


PUBLISHED_PATH = Path(__file__).resolve().parents[2] / "data" / "published_tickets.json"


def load_published_tickets(path: Path = PUBLISHED_PATH) -> dict[str, Ticket]:
    """All published tickets by name: "ca", "es", ... at alpha 0.05, and "en-ca@0.05", "en-ca@0.5", "en-ca@0.95"."""
    content = load_json(path, TicketError)
    named = {language: (ids, 0.05) for language, ids in content["by_language_at_0.05"].items()}
    named |= {f"en-ca@{level}": (ids, float(level)) for level, ids in content["en-ca_by_significance_level"].items()}
    return {
        name: Ticket(
            token_ids=tuple(sorted(set(ids))),
            vocabulary_size=content["vocabulary_size"],
            rule="published",
            significance_level=level,
            width=4096,  # LLaMA-7B
            note=f"{content['model']}: {content['about']}",
        )
        for name, (ids, level) in named.items()
    }


def load_published_ticket(name: str) -> Ticket:
    """One published ticket by name; raises TicketError naming those there are."""
    tickets = load_published_tickets()
    if name not in tickets:
        raise TicketError(f"published ticket: expected one of {', '.join(tickets)}, found {name!r}.")
    return tickets[name]
