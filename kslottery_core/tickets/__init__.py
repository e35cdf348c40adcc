"""A KS result, a count or a list, and a rule become a sorted set of token ids with its provenance; no training."""

from kslottery_core.tickets.frequency import select_frequent_ticket, select_matched_ticket, select_random_ticket
from kslottery_core.tickets.overlap import (
    Overlap,
    compute_expected_jaccard,
    compute_log10_chance,
    compute_overlap,
    intersect_tickets,
    unite_tickets,
)
from kslottery_core.tickets.selection import (
    CORRECTIONS,
    TicketCurve,
    compute_adjusted_p_values,
    compute_least_count,
    compute_ticket_curve,
    compute_ticket_mask,
    describe_empty_ticket,
    describe_method_disagreement,
    round_up,
    select_ticket,
    select_top_k_ticket,
)
from kslottery_core.tickets.ticket import (
    RULES,
    Ticket,
    check_ticket_fits,
    create_list_ticket,
    load_published_ticket,
    load_published_tickets,
    load_ticket,
    save_ticket,
)
from kslottery_core.tickets.token_list import create_prompt_ticket, parse_token_list

__all__ = [
    "CORRECTIONS",
    "RULES",
    "Overlap",
    "Ticket",
    "TicketCurve",
    "check_ticket_fits",
    "compute_adjusted_p_values",
    "compute_expected_jaccard",
    "compute_least_count",
    "compute_log10_chance",
    "compute_overlap",
    "compute_ticket_curve",
    "compute_ticket_mask",
    "create_list_ticket",
    "create_prompt_ticket",
    "describe_empty_ticket",
    "describe_method_disagreement",
    "intersect_tickets",
    "load_published_ticket",
    "load_published_tickets",
    "load_ticket",
    "parse_token_list",
    "round_up",
    "save_ticket",
    "select_frequent_ticket",
    "select_matched_ticket",
    "select_random_ticket",
    "select_ticket",
    "select_top_k_ticket",
    "unite_tickets",
]
