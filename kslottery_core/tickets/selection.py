"""Tickets chosen by a KS result: levels of significance, thresholds, and the k tokens with the largest D."""

import decimal
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kslottery_core.errors import TicketError
from kslottery_core.ks import (
    KSResult,
    check_significance_level,
    compute_tau,
    format_level,
    format_statistic,
    get_p_value_table,
)
from kslottery_core.tickets.ticket import CORRECTIONS, Ticket


def compute_adjusted_p_values(
    histogram: np.ndarray, correction: str = "none", p_value_method: str = "exact"
) -> np.ndarray:
    """Adjusted p of a token with count k, for every k = 0 .. d. Returns (d + 1,) float64, non-increasing.

    `histogram` (d + 1,) says how many of the V tokens have each count. Bonferroni: V p. Holm (1979): step-down.
    "bh": Benjamini and Hochberg (1995), step-up. Equal counts get equal adjusted p.
    Raises TicketError for another correction.
    """
    p_values = get_p_value_table(len(histogram) - 1, p_value_method)
    tests = int(histogram.sum())
    at_least = np.cumsum(histogram[::-1])[::-1]  # (d + 1,) tokens with count >= k
    if correction == "none":
        adjusted = p_values
    elif correction == "bonferroni":
        adjusted = p_values * tests
    elif correction == "holm":
        stepped = p_values * (tests - (at_least - histogram))
        adjusted = np.maximum.accumulate(stepped[::-1])[::-1]
    elif correction == "bh":
        adjusted = np.minimum.accumulate(p_values * tests / np.maximum(at_least, 1))
    else:
        raise TicketError(f"correction: expected one of {', '.join(CORRECTIONS)}, found {correction!r}.")
    return np.minimum(adjusted, 1.0)


def compute_least_count(
    result: KSResult, significance_level: float, correction: str = "none", p_value_method: str = "exact"
) -> int | None:
    """The smallest count k that wins at alpha, or None when no count up to d would.

    Raises KSInputError for alpha outside 0 < alpha < 1, TicketError for an unknown correction.
    """
    significance_level = check_significance_level(significance_level)
    adjusted = compute_adjusted_p_values(result.histogram, correction, p_value_method)
    winning = np.flatnonzero(adjusted <= significance_level)
    return int(winning[0]) if winning.size else None


def compute_ticket_mask(
    result: KSResult, significance_level: float, correction: str = "none", p_value_method: str = "exact"
) -> np.ndarray:
    """Whether each token wins, bool (V,). Raises as `compute_least_count` does."""
    least = compute_least_count(result, significance_level, correction, p_value_method)
    return np.zeros(result.vocabulary_size, dtype=bool) if least is None else result.counts >= least


@dataclass(frozen=True, eq=False)
class TicketCurve:
    """Every alpha below 1 at which the ticket changes, ascending: from `significance_levels[i]` on it holds
    `sizes[i]` tokens, those with a count of at least `least_counts[i]`. All arrays (n,); n = 0 when nothing moved."""

    significance_levels: np.ndarray
    sizes: np.ndarray
    least_counts: np.ndarray

    def get_size(self, significance_level: float) -> int:
        """Ticket size at alpha."""
        at = int(np.searchsorted(self.significance_levels, significance_level, side="right"))
        return int(self.sizes[at - 1]) if at else 0


def compute_ticket_curve(result: KSResult, correction: str = "none", p_value_method: str = "exact") -> TicketCurve:
    """Ticket size as a step function of alpha, exact: no grid. Raises TicketError for an unknown correction."""
    adjusted = compute_adjusted_p_values(result.histogram, correction, p_value_method)
    counts = np.flatnonzero(result.histogram)[::-1]  # present counts, largest first: smallest p first
    at_least = np.cumsum(result.histogram[::-1])[::-1]
    levels = adjusted[counts]
    # Where a correction gives neighbours the same adjusted p they enter together: keep the last of them.
    keep = np.append(levels[:-1] != levels[1:], True) & (levels < 1)
    return TicketCurve(significance_levels=levels[keep], sizes=at_least[counts][keep], least_counts=counts[keep])


NAMED_TOKENS = 5
"""How many tokens a sentence names before it only counts the rest."""


def select_ticket(
    result: KSResult,
    significance_level: float = 0.05,
    *,
    correction: str = "none",
    p_value_method: str = "exact",
    tokens: Sequence[str] = (),
    fingerprints: tuple[str | None, str | None] = (None, None),
) -> Ticket:
    """The tokens whose (corrected) p is at most alpha. An empty ticket is no error: its note says what would help.

    `tokens` are labels of the whole vocabulary, (V,). Raises KSInputError for alpha outside 0 < alpha < 1 and
    TicketError for an unknown correction.
    """
    significance_level = check_significance_level(significance_level)
    least = compute_least_count(result, significance_level, correction, p_value_method)
    mask = np.zeros(result.vocabulary_size, dtype=bool) if least is None else result.counts >= least
    note = None
    if not mask.any():
        note = describe_empty_ticket(result, significance_level, correction, p_value_method)
    return Ticket(
        rule="alpha",
        significance_level=significance_level,
        correction=correction,
        p_value_method=p_value_method,
        least_count=least,
        note=note,
        **_describe_ids(result, mask, tokens, fingerprints),
    )


def select_top_k_ticket(
    result: KSResult,
    k: int,
    *,
    tokens: Sequence[str] = (),
    fingerprints: tuple[str | None, str | None] = (None, None),
) -> Ticket:
    """The k tokens with the largest D; equal D is broken by larger L2 shift, then smaller id. Unmoved rows never win.

    `tokens` are labels of the whole vocabulary, (V,). Raises TicketError for k outside 1 .. V.
    """
    moved = int((result.counts > 0).sum())
    if k < 1 or k > result.vocabulary_size:
        raise TicketError(f"top k: expected a whole number from 1 to {result.vocabulary_size}, found {k}.")
    order = np.lexsort((np.arange(result.vocabulary_size), -result.l2_shift, -result.counts))[: min(k, moved)]
    mask = np.zeros(result.vocabulary_size, dtype=bool)
    mask[order] = True
    note = f"Only {moved} of the {k} tokens asked for have a D above 0." if moved < k else None
    return Ticket(
        rule="top_k",
        least_count=int(result.counts[order].min()) if len(order) else None,
        note=note,
        **_describe_ids(result, mask, tokens, fingerprints),
    )


def _describe_ids(
    result: KSResult, mask: np.ndarray, tokens: Sequence[str], fingerprints: tuple[str | None, str | None]
) -> dict:
    ids = tuple(int(token_id) for token_id in np.flatnonzero(mask))
    return {
        "token_ids": ids,
        "tokens": tuple(tokens[token_id] for token_id in ids) if tokens else (),
        "width": result.width,
        "vocabulary_size": result.vocabulary_size,
        "fingerprint_before": fingerprints[0] or result.fingerprint_before,
        "fingerprint_after": fingerprints[1] or result.fingerprint_after,
    }


def describe_empty_ticket(
    result: KSResult, significance_level: float, correction: str = "none", p_value_method: str = "exact"
) -> str:
    """Say why no token wins at alpha: the least alpha that gives one, and the least D that would be seen at this d."""
    if result.changed_count == 0:
        return "No row differs between before and after, so no significance level gives a ticket."
    least = compute_least_count(result, significance_level, correction, p_value_method)
    level = format_level(significance_level)
    if least is None:
        seen = f"At the significance level {level} no D would win in rows of {result.width:,} values."
    else:
        seen = (
            f"At the significance level {level} the least D that wins in rows of {result.width:,} values "
            f"is {format_statistic(least / result.width)}; the largest D here is "
            f"{format_statistic(result.statistics.max())}."
        )
    curve = compute_ticket_curve(result, correction, p_value_method)
    if len(curve.sizes) == 0:
        return f"{seen} No significance level below 1 gives a token: take the tokens with the largest D instead."
    first = round_up(float(curve.significance_levels[0]))
    count = int(curve.sizes[0])
    tokens = "1 token" if count == 1 else f"{count} tokens"
    return f"{seen} The least significance level that gives a ticket is {format_level(first)} ({tokens})."


def round_up(significance_level: float, digits: int = 4) -> float:
    """The nearest number with N significant digits that is not below alpha, so that typing it has its effect.

    Alphas are floats: of 1e-5, whose float lies a little above the decimal, this is 1e-5 itself.
    """
    context = decimal.Context(prec=digits)
    nearest = float(context.create_decimal_from_float(significance_level))
    if nearest >= significance_level:
        return nearest
    context.rounding = decimal.ROUND_CEILING
    return float(context.create_decimal_from_float(significance_level))


def describe_method_disagreement(
    result: KSResult, significance_level: float, correction: str = "none", tokens: Sequence[str] = ()
) -> str | None:
    """Say how many tokens, and name a few, the exact p and the asymptotic tau judge differently at alpha; or None.

    `tokens` are labels of the whole vocabulary, (V,). Raises as `select_ticket` does.
    """
    exact = compute_least_count(result, significance_level, correction)
    asymptotic = compute_least_count(result, significance_level, correction, "asymptotic")
    top = result.width + 1
    least_exact, least_asymptotic = (top if least is None else least for least in (exact, asymptotic))
    low, high = sorted((least_exact, least_asymptotic))
    differing = np.flatnonzero((result.counts >= low) & (result.counts < high))
    if not differing.size:
        return None
    if correction == "none":
        rule = f"the paper's threshold on D, {compute_tau(result.width, significance_level):.4f}"
    else:
        rule = f"the paper's approximate p-value (correction {correction})"
    shown = differing[np.lexsort((differing, -result.counts[differing]))][:NAMED_TOKENS]
    names = [f"{tokens[token_id]} (id {token_id})" if tokens else f"id {token_id}" for token_id in shown]
    more = differing.size - len(shown)
    listed = ", ".join(names) + (f" and {more:,} more" if more else "")
    winner = "exact p-value" if least_exact < least_asymptotic else "paper's rule"
    judged = "1 token is" if differing.size == 1 else f"{differing.size:,} tokens are"
    return (
        f"At the significance level {format_level(significance_level)}, {judged} judged differently by the exact "
        f"p-value and by {rule}: {listed}, winning only by the {winner}."
    )
