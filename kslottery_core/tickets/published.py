"""The token ids that the paper's authors published for LLaMA-7B; facts, shipped with their source."""

from pathlib import Path

from kslottery_core.errors import TicketError
from kslottery_core.records import load_json
from kslottery_core.tickets.ticket import Ticket

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
