"""Tickets chosen without a KS result: by how often tokens occur in a text, or by chance."""

from collections.abc import Sequence

import numpy as np

from kslottery_core.errors import TicketError
from kslottery_core.tickets.ticket import Ticket


def select_frequent_ticket(counts: np.ndarray, k: int, *, tokens: Sequence[str] = (), text: str = "text") -> Ticket:
    """The k tokens that occur most often; equal counts are broken by smaller id. What never occurs never wins.

    `counts` (V,) integer: occurrences of every token, as `corpora.count_tokens` gives them; `tokens` are labels of the
    whole vocabulary, (V,); `text` says in the note what was counted. Raises TicketError for k outside 1 .. V, or when
    no token occurs.
    """
    size = len(counts)
    _check_count(k, size)
    occurring = int((counts > 0).sum())
    if not occurring:
        raise TicketError(f"frequent tokens: expected tokens that occur in {text}, found none; choose another text.")
    chosen = np.lexsort((np.arange(size), -counts))[: min(k, occurring)]
    note = f"The {k:,} most frequent tokens of {text}, each at least {int(counts[chosen[-1]]):,} times."
    if occurring < k:
        note += f" Only {occurring:,} of the {k:,} tokens asked for occur in it."
    return _make_ticket("frequent", chosen, size, tokens, note)


def select_random_ticket(vocabulary_size: int, k: int, seed: int, *, tokens: Sequence[str] = ()) -> Ticket:
    """k tokens drawn from the whole vocabulary, each set of k as likely as any other.

    The same seed gives the same tokens. `tokens` are labels of the whole vocabulary, (V,). Raises TicketError for k
    outside 1 .. V or a negative seed.
    """
    _check_count(k, vocabulary_size)
    chosen = _make_generator(seed).choice(vocabulary_size, size=k, replace=False)
    return _make_ticket("random", chosen, vocabulary_size, tokens, f"{k:,} random tokens, seed {seed}.")


def select_matched_ticket(
    like: Ticket, counts: np.ndarray, seed: int, *, tokens: Sequence[str] = (), text: str = "text"
) -> Ticket:
    """For every token of `like` another one, outside it, that occurs about as often: what frequency alone explains.

    From the most frequent token of `like` on, each takes the nearest count that is still free; among equally near ones
    chance decides, by the seed. `counts` (V,) integer as `corpora.count_tokens` gives them. Raises TicketError for an
    empty ticket, one of another vocabulary, or one that leaves too few tokens to choose from.
    """
    size = len(counts)
    if not like.token_ids:
        raise TicketError("matched tokens: expected a ticket to match with at least one token, found an empty one.")
    if like.vocabulary_size != size:
        raise TicketError(
            f"matched tokens: expected a ticket to match for a vocabulary of {size:,}, found one for "
            f"{like.vocabulary_size:,}; give a ticket of this model."
        )
    if 2 * like.size > size:
        raise TicketError(
            f"matched tokens: expected at least {like.size:,} tokens outside the ticket, found {size - like.size:,} of "
            f"{size:,}; match a smaller ticket."
        )
    generator = _make_generator(seed)
    ids = np.array(like.token_ids)
    free = np.ones(size, dtype=bool)
    free[ids] = False
    chosen, gaps = [], []
    for wanted in sorted(counts[ids].tolist(), reverse=True):
        distances = np.where(free, np.abs(counts.astype(np.int64) - wanted), np.iinfo(np.int64).max)
        nearest = int(generator.choice(np.flatnonzero(distances == distances.min())))
        free[nearest] = False
        chosen.append(nearest)
        gaps.append(int(distances[nearest]))
    note = (
        f"{like.size:,} random tokens, each as often in {text} as one of the ticket {like.rule!r} ({like.size:,} "
        f"tokens), seed {seed}; the counts differ by {np.mean(gaps):,.1f} on average and {max(gaps):,} at most."
    )
    return _make_ticket("matched", np.array(chosen), size, tokens, note)


def _check_count(k: int, vocabulary_size: int) -> None:
    if k < 1 or k > vocabulary_size:
        raise TicketError(f"number of tokens: expected a whole number from 1 to {vocabulary_size}, found {k}.")


def _make_generator(seed: int) -> np.random.Generator:
    if seed < 0:
        raise TicketError(f"seed: expected a whole number of at least 0, found {seed}.")
    return np.random.default_rng(seed)


def _make_ticket(rule: str, chosen: np.ndarray, vocabulary_size: int, tokens: Sequence[str], note: str) -> Ticket:
    ids = tuple(sorted(int(token_id) for token_id in chosen))
    labels = tuple(tokens[token_id] for token_id in ids) if tokens else ()
    return Ticket(ids, vocabulary_size, rule, tokens=labels, note=note)
