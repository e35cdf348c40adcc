"""What the pages say in numbers about a pair and its ticket: computed here, shown elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kslottery_core.tickets import round_up

if TYPE_CHECKING:
    from kslottery_core.ks import KSResult
    from kslottery_core.tickets import TicketCurve


@dataclass(frozen=True)
class PairNumbers:
    """A comparison at a glance. `furthest_token_id` is None when no D is above 0."""

    largest_statistic: float
    furthest_token_id: int | None


def summarise_pair(result: KSResult) -> PairNumbers:
    """The largest D and whose it is; equal D is broken by the larger L2 shift, then by the smaller id."""
    largest = result.counts.max()
    furthest = int(np.where(result.counts == largest, result.l2_shift, -1.0).argmax())
    return PairNumbers(float(result.statistics.max()), furthest if largest else None)


@dataclass(frozen=True)
class TicketNumbers:
    """What a ticket costs to train. `least_statistic` is the least D that wins; None when no D does."""

    size: int
    parameters: int
    embedding_parameters: int
    model_parameters: int | None
    least_statistic: float | None


def summarise_ticket(
    size: int, least_count: int | None, width: int, vocabulary_size: int, model_parameters: int | None
) -> TicketNumbers:
    """A ticket of `size` tokens is `size` rows of `width` parameters; the model's own number may be unknown."""
    return TicketNumbers(
        size=size,
        parameters=size * width,
        embedding_parameters=vocabulary_size * width,
        model_parameters=model_parameters,
        least_statistic=None if least_count is None else least_count / width,
    )


def limit_level(level: float | None, least: float, largest: float) -> float | None:
    """An alpha from `least` to `largest` that is not below `level`, in four digits; None when there is none."""
    return None if level is None or level >= largest else min(largest, max(least, round_up(level)))


def find_least_level(curve: TicketCurve, least: float, largest: float) -> float | None:
    """The least alpha from `least` to `largest` that gives a ticket, in four digits; None when none does."""
    return limit_level(float(next(iter(curve.significance_levels), largest)), least, largest)


@dataclass(frozen=True)
class TicketNeighbours:
    """The steps of the ticket on both sides of alpha; a level is None where there is no step on that side.

    Token ids are ordered by D, largest first.
    """

    next_level: float | None
    entering: tuple[int, ...]
    last_level: float | None
    leaving: tuple[int, ...]


def summarise_neighbours(curve: TicketCurve, counts: np.ndarray, significance_level: float) -> TicketNeighbours:
    """Which tokens enter at the next larger alpha, and which leave below the last step; `counts` is (V,)."""
    levels, least_counts = curve.significance_levels, curve.least_counts
    taken = int(np.searchsorted(levels, significance_level, side="right"))

    def list_step(step: int) -> tuple[int, ...]:
        mask = counts >= least_counts[step]
        if step:
            mask &= counts < least_counts[step - 1]
        return order_by_count(counts, mask)

    has_next = taken < len(levels)
    return TicketNeighbours(
        next_level=float(levels[taken]) if has_next else None,
        entering=list_step(taken) if has_next else (),
        last_level=float(levels[taken - 1]) if taken else None,
        leaving=list_step(taken - 1) if taken else (),
    )


@dataclass(frozen=True)
class RankedNeighbours:
    """The edge of a ticket of the k tokens with the largest D: the first outside it, the last in it, or None.

    `tied` tokens have the count of the last one, `least_count`, and `taken` of them are in the ticket.
    """

    entering: int | None
    leaving: int | None
    least_count: int | None
    tied: int
    taken: int


def summarise_ranked_neighbours(counts: np.ndarray, l2_shift: np.ndarray, winners: np.ndarray) -> RankedNeighbours:
    """Which token a ticket one larger or smaller would differ by; arrays (V,), a token without any D never enters."""
    ids = np.arange(len(counts))
    # lexsort puts the last in rank first, so that both edges are at an end whatever the size of the ticket
    inside, outside = (
        ids[mask][np.lexsort((-ids[mask], l2_shift[mask], counts[mask]))] for mask in (winners, ~winners & (counts > 0))
    )
    least = int(counts[inside[0]]) if inside.size else None
    tied = counts == least if least is not None else np.zeros(len(counts), dtype=bool)
    return RankedNeighbours(
        entering=int(outside[-1]) if outside.size else None,
        leaving=int(inside[0]) if inside.size else None,
        least_count=least,
        tied=int(tied.sum()),
        taken=int((tied & winners).sum()),
    )


def order_by_count(counts: np.ndarray, mask: np.ndarray) -> tuple[int, ...]:
    """Token ids of a mask (V,), largest D first, equal D by id."""
    token_ids = np.flatnonzero(mask)
    return tuple(token_ids[np.argsort(-counts[token_ids], kind="stable")].tolist())


@dataclass(frozen=True)
class TicketChange:
    """Token ids that entered and left a ticket, each ordered by D, largest first."""

    entered: tuple[int, ...]
    left: tuple[int, ...]


def summarise_change(counts: np.ndarray, earlier: np.ndarray, present: np.ndarray) -> TicketChange:
    """Compare two masks of winners (V,)."""
    return TicketChange(order_by_count(counts, present & ~earlier), order_by_count(counts, earlier & ~present))
