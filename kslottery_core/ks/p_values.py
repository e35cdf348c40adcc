"""Exact and asymptotic significance of a two-sample KS statistic with equal sample sizes.

With n = m = d the statistic is D = k/d for a whole number k, and the exact two-sided p-value depends on k and d
alone (Gnedenko and Korolyuk 1951; Hodges 1957):

    p(k) = 2 * sum over j = 1 .. floor(d/k) of (-1)^(j+1) * C(2d, d - j*k) / C(2d, d),    p(0) = 1

so one table of d + 1 numbers serves every token and every significance level alpha.
"""

from functools import lru_cache

import numpy as np

from kslottery_core.errors import KSInputError

P_VALUE_METHODS = ("exact", "asymptotic")


@lru_cache(maxsize=64)
def compute_p_values(width: int) -> np.ndarray:
    """Exact two-sided p of every count k = 0 .. d. Returns (d + 1,) float64, non-increasing, read-only.

    The logarithm of C(2d, d - m) / C(2d, d) is accumulated as a sum of log((d - i + 1) / (d + i)), which keeps full
    relative precision where log-gamma differences would lose it at large d. Raises KSInputError for d < 1.
    """
    if width < 1:
        raise KSInputError(f"width: expected at least 1 coordinate per row, found {width}.")
    steps = np.arange(1, width + 1, dtype=np.float64)
    log_ratios = np.concatenate(([0.0], np.cumsum(np.log((width - steps + 1) / (width + steps)))))  # (d + 1,)
    p_values = np.empty(width + 1)
    # Two samples without a common value always differ by one step somewhere, so p(1) is 1 exactly.
    p_values[:2] = 1.0
    for count in range(2, width + 1):
        terms = np.exp(log_ratios[count::count])
        p_values[count] = 2.0 * (terms[0::2].sum() - terms[1::2].sum())
    np.clip(p_values, 0.0, 1.0, out=p_values)
    # Where p is 1 but for rounding, neighbours may differ in the last bit: keep the table monotone.
    p_values = np.minimum.accumulate(p_values)
    p_values.setflags(write=False)
    return p_values


@lru_cache(maxsize=64)
def compute_asymptotic_p_values(width: int) -> np.ndarray:
    """Leading term of the asymptotic two-sided p, min(1, 2 exp(-k^2 / d)), for k = 0 .. d. Returns (d + 1,) float64.

    It is the inverse of the paper's threshold tau(alpha), so that p <= alpha says the same as D >= tau(alpha).
    Raises KSInputError for d < 1.
    """
    if width < 1:
        raise KSInputError(f"width: expected at least 1 coordinate per row, found {width}.")
    counts = np.arange(width + 1, dtype=np.float64)
    p_values = np.minimum(1.0, 2.0 * np.exp(-(counts**2) / width))
    p_values.setflags(write=False)
    return p_values


def get_p_value_table(width: int, method: str = "exact") -> np.ndarray:
    """The (d + 1,) float64 table of `method`, one of `P_VALUE_METHODS`. Raises KSInputError for another method."""
    if method == "exact":
        return compute_p_values(width)
    if method == "asymptotic":
        return compute_asymptotic_p_values(width)
    raise KSInputError(f"p-value method: expected one of {', '.join(P_VALUE_METHODS)}, found {method!r}.")


def check_significance_level(significance_level: float) -> float:
    """Return alpha as a float. Raises KSInputError when it does not lie strictly between 0 and 1."""
    if not isinstance(significance_level, int | float | np.floating) or not 0 < significance_level < 1:
        raise KSInputError(
            f"significance level (alpha): expected a number in 0 < alpha < 1, got {significance_level!r}."
        )
    return float(significance_level)


def compute_tau(width: int, significance_level: float) -> float:
    """The paper's asymptotic threshold on D: sqrt(-ln(alpha/2) / 2) * sqrt(2/d) (arXiv 2402.02801).

    Raises KSInputError for alpha outside 0 < alpha < 1.
    """
    significance_level = check_significance_level(significance_level)
    return float(np.sqrt(-np.log(significance_level / 2) / 2) * np.sqrt(2 / width))


def compute_least_detectable_count(width: int, significance_level: float, method: str = "exact") -> int | None:
    """The smallest count k whose p is at most alpha, or None when even k = d is not significant at this d.

    Raises KSInputError for alpha outside 0 < alpha < 1 or an unknown method.
    """
    significance_level = check_significance_level(significance_level)
    significant = np.flatnonzero(get_p_value_table(width, method) <= significance_level)
    return int(significant[0]) if significant.size else None
