"""From a significance level to the smallest winning count, with or without a correction for V tests.

With equal sample sizes p depends on the count k alone, so every correction is a threshold on k as well. None of them
controls an error rate here: before and after are paired, so p is not calibrated (see the README's limits).
"""

from dataclasses import dataclass

import numpy as np

from kslottery_core.errors import TicketError
from kslottery_core.ks import KSResult, check_significance_level, get_p_value_table
from kslottery_core.tickets.ticket import CORRECTIONS


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
