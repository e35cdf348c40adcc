"""The rule that chooses the pair's ticket, in words: every page says the same. Knows no Streamlit."""

from __future__ import annotations

from dashboard.loaders import AlphaChoice
from dashboard.wording import CORRECTION_NAMES, format_level, format_noun
from kslottery_core.ks import format_statistic
from kslottery_core.tickets.summary import RankedNeighbours


def describe_rule(alpha: AlphaChoice) -> str:
    """The rule as a noun: "α = 0.05, Bonferroni" or "the 18 tokens with the largest D". Plain text."""
    if alpha.top_k is not None:
        return "the token with the largest D" if alpha.top_k == 1 else f"the {alpha.top_k:,} tokens with the largest D"
    return f"α = {format_level(alpha.significance_level)}{describe_rule_extras(alpha)}"


def describe_rule_extras(alpha: AlphaChoice) -> str:
    """What a rule by alpha says after its level: ", Bonferroni", or nothing. Plain text."""
    extras = [] if alpha.correction == "none" else [CORRECTION_NAMES[alpha.correction]]
    extras += ["the paper's threshold"] if alpha.p_value_method == "asymptotic" else []
    return "".join(f", {extra}" for extra in extras)


def describe_place(alpha: AlphaChoice) -> str:
    """How the ticket is chosen, after a noun: "(18 tokens) at α = 0.05" or "(18 tokens) by the largest D"."""
    return "by the largest D" if alpha.top_k is not None else f"at α = {format_level(alpha.significance_level)}"


def describe_ties(neighbours: RankedNeighbours, width: int) -> str:
    """What is done about tokens whose D is that of the last one in the ticket. Plain text."""
    statistic = format_statistic((neighbours.least_count or 0) / width)
    return (
        f"{format_noun(neighbours.tied, 'token')} have D = {statistic}; only the {neighbours.taken:,} of them with the "
        f"larger L2 shift {'is' if neighbours.taken == 1 else 'are'} in the ticket."
    )
