"""Where one token stands among all of them: its ranks, and the least alpha at which it wins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kslottery_core.tickets.summary import limit_level

if TYPE_CHECKING:
    from kslottery_core.ks import KSResult
    from kslottery_core.tickets import TicketCurve


@dataclass(frozen=True)
class TokenPlace:
    """Ranks count from 1, equal values share the better one; `..._shared` is how many other tokens have it too.

    `least_level` is the least alpha at which the token wins, rounded up so that typing it has its effect; `least_size`
    is how many tokens of largest D have to be taken for it to be among them. Both are None where there is none.
    """

    statistic_rank: int
    statistic_shared: int
    shift_rank: int
    shift_shared: int
    least_level: float | None
    least_size: int | None


def summarise_place(result: KSResult, curve: TicketCurve, token_id: int, least: float, largest: float) -> TokenPlace:
    """Ranks of a token by D and by L2 shift, and its entry by the rule of `curve`; alpha is from `least` to
    `largest`."""
    counts, shifts = result.counts, result.l2_shift
    count, shift = counts[token_id], shifts[token_id]
    equal = counts == count
    entering = np.flatnonzero(curve.least_counts <= count) if count else np.empty(0, dtype=np.int64)
    level = float(curve.significance_levels[entering[0]]) if entering.size else None
    # Equal D is broken as in the top-k rule: larger L2 shift first, then the smaller id.
    ahead = (counts > count) | (equal & ((shifts > shift) | ((shifts == shift) & (np.arange(len(counts)) < token_id))))
    return TokenPlace(
        statistic_rank=1 + int((counts > count).sum()),
        statistic_shared=int(equal.sum()) - 1,
        shift_rank=1 + int((shifts > shift).sum()),
        shift_shared=int((shifts == shift).sum()) - 1,
        least_level=limit_level(level, least, largest),
        least_size=1 + int(ahead.sum()) if count else None,
    )


def describe_shared(shared: int) -> str | None:
    """How many other tokens have the same rank; None where none does. Plain text."""
    return f"shared with {shared:,} other{'s' if shared > 1 else ''}" if shared else None
