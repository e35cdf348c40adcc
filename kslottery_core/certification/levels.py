"""What "certified" means, level by level, and the one place where it is decided.

A further level is one more `Level` with its rule in `_RULES`: records, counts and files carry whatever levels there
are. They are ordered from the fewest assumptions to the most, and each includes what the exact level certifies: where
nothing that was left behind is in the input, nothing is left to be run or bounded. They include nothing else of each
other: if the KS bound counted what every larger ticket certifies, its own violations, which test its assumption, would
be counted among predictions that cannot be violated; and what is tried must not include what is assumed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Level:
    """One meaning of "certified"; `assumption` is None where the level follows from how the models compute."""

    name: str
    title: str
    definition: str
    assumption: str | None


EXACT = "exact"
EVERY_LARGER_TICKET = "every_larger_ticket"
KS_BOUND = "ks_bound"

KS_ASSUMPTION = (
    "The KS bound assumes that the probability of each next token depends on an exchanged embedding row as a mean over "
    "its coordinates of a monotone function with values in [0, 1]; for such a model the bound is a theorem "
    "(Koksma-Hlawka inequality), for a transformer it is an assumption."
)
NOT_THE_PAPER = (
    "Levels and derivation are KS-Lottery's own: the text of the paper's theorem (arXiv 2402.02801) is not reproduced "
    "here, and agreement with the embedding-tuned model says nothing about the quality of a translation."
)

LEVELS = (
    Level(
        EXACT,
        "exact",
        "No token of the input is outside the ticket with a changed row: both models compute the same thing.",
        None,
    ),
    Level(
        KS_BOUND,
        "KS bound",
        "Exact, or p_A - p_B > 2 * sum of D over the distinct tokens of the input that are outside the ticket and "
        "whose rows changed; p_A and p_B are the two largest probabilities of the embedding-tuned model.",
        KS_ASSUMPTION,
    ),
)
"""The levels of every certificate."""

_EVERY_LARGER_TICKET = Level(
    EVERY_LARGER_TICKET,
    "every larger ticket",
    "Exact, or every model whose ticket contains this one (all choices of which of the input's left-behind rows stay "
    "as they were) was run on this input and keeps the prediction.",
    None,
)


def list_levels(larger_ticket_limit: int) -> tuple[Level, ...]:
    """The levels of a certificate; every larger ticket is included where more than 0 left-behind tokens are tried."""
    if not larger_ticket_limit:
        return LEVELS
    exact, *assuming = LEVELS
    return (exact, _EVERY_LARGER_TICKET, *assuming)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the levels are decided from, one entry for each of P predictions.

    margins         float64 (P,)  p_A - p_B of the embedding-tuned model; NaN where its logits are not numbers
    left_behind     int64 (P,)    how many distinct tokens of the input are outside the ticket and changed: N(x)
    counts          int64 (P,)    sum of k = d * D over these tokens
    width                         d
    kept            bool (P,)     whether the prediction was kept by every larger ticket, all of which were run; None
                                  where that was not requested
    """

    margins: np.ndarray
    left_behind: np.ndarray
    counts: np.ndarray
    width: int
    kept: np.ndarray | None = None

    @property
    def bounds(self) -> np.ndarray:
        """2 * sum of D, float64 (P,)."""
        return 2 * self.counts / self.width


def decide_levels(evidence: Evidence) -> dict[str, np.ndarray]:
    """Whether each prediction is certified, bool (P,), under the name of each level that there is evidence for.

    A tie (margin 0) is never certified by a bound. Where the reference's own logits are not numbers, there is no
    prediction to keep, and no level certifies it.
    """
    defined = ~np.isnan(evidence.margins)
    exact = decide_exact(evidence)
    levels = list_levels(0 if evidence.kept is None else 1)
    return {level.name: (exact | _RULES[level.name](evidence)) & defined for level in levels}


def decide_exact(evidence: Evidence) -> np.ndarray:
    """Whether N(x) is empty, bool (P,)."""
    return evidence.left_behind == 0


def decide_every_larger_ticket(evidence: Evidence) -> np.ndarray:
    """Whether every larger ticket was run and keeps the prediction, bool (P,)."""
    assert evidence.kept is not None, "the level is on only where its models were run"
    return evidence.kept


def decide_ks_bound(evidence: Evidence) -> np.ndarray:
    """Whether p_A - p_B > 2 * sum of D, bool (P,). Under `KS_ASSUMPTION` each exchanged row moves each probability by
    at most V(g) D <= D (Koksma-Hlawka inequality, g monotone in [0, 1]), so p_A falls and p_B rises by at most the sum.
    A transformer may break the assumption; violations count where a prediction shows it."""
    return evidence.margins > evidence.bounds


_RULES: dict[str, Callable[[Evidence], np.ndarray]] = {
    EXACT: decide_exact,
    EVERY_LARGER_TICKET: decide_every_larger_ticket,
    KS_BOUND: decide_ks_bound,
}
