"""What the story of a token takes longer to find: its neighbours on both sides, and where a text holds it.

What was found for one token is kept by the pair (and the text) and the token's id, so that picking one more token
looks for that one alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import streamlit as st

from dashboard.loaders import Comparison
from dashboard.loaders.shelf import ResultShelf
from dashboard.loaders.texts import load_text, sign_text
from dashboard.loaders.vocabulary import get_pair_vocabulary, get_tokenizer
from kslottery_core.progress import OnProgress, ignore_progress

if TYPE_CHECKING:
    from kslottery_core.corpora import CorpusSpec, TokenOccurrences
    from kslottery_core.neighbours import Neighbours

NEIGHBOUR_COUNT = 10
SHOWN_SENTENCES = 10
_KEPT_TOKENS = 512

Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class NeighbourPair:
    """The nearest rows before and after, and the cosines, on the other side, of those nearest on one side only."""

    before: Neighbours
    after: Neighbours
    other_before: dict[int, float]
    other_after: dict[int, float]


@st.cache_resource(show_spinner=False)
def _load_shelf() -> ResultShelf[object]:
    return ResultShelf(kept=_KEPT_TOKENS)


def _load_each(key: str, token_ids: Sequence[int], find: Callable[[list[int]], dict[int, Found]]) -> dict[int, Found]:
    """Everything asked for by token id; `find` is called once, with the ids that nobody has asked for yet."""
    shelf = _load_shelf()
    with shelf.get_lock(key):
        found = {token_id: shelf.get(f"{key} {token_id}") for token_id in dict.fromkeys(token_ids)}
        missing = [token_id for token_id, kept in found.items() if kept is None]
        if missing:
            found |= find(missing)
            for token_id in missing:
                shelf.put(f"{key} {token_id}", found[token_id])
    return found


def load_neighbours(
    comparison: Comparison, token_ids: Sequence[int], progress: OnProgress = ignore_progress
) -> dict[int, NeighbourPair]:
    """The nearest rows of each token on both sides, among the V that both have. Raises KSLotteryError.

    `progress` hears of rows read, of both sides as one amount of work; it is not called when all were found before.
    """

    def find(missing: list[int]) -> dict[int, NeighbourPair]:
        from kslottery_core.ks.pair import CommonRows
        from kslottery_core.neighbours import compute_cosines, compute_neighbours

        pair = comparison.pair
        shape = (pair.vocabulary_size, pair.width)
        sides = [CommonRows(side, shape) for side in (pair.before, pair.after)]
        nearest = [
            compute_neighbours(
                rows,
                missing,
                NEIGHBOUR_COUNT,
                lambda event, done=place * shape[0]: progress(
                    replace(event, step=done + event.step, total=len(sides) * shape[0])
                ),
            )
            for place, rows in enumerate(sides)
        ]

        def look_up(rows: CommonRows, found: Neighbours, other: Neighbours) -> dict[int, float]:
            only = sorted(set(other.token_ids.tolist()) - set(found.token_ids.tolist()))
            cosines = compute_cosines(rows, found.token_id, only).tolist()
            return {at: cosine for at, cosine in zip(only, cosines, strict=True) if cosine == cosine}

        return {
            before.token_id: NeighbourPair(
                before, after, look_up(sides[0], before, after), look_up(sides[1], after, before)
            )
            for before, after in zip(*nearest, strict=True)
        }

    return _load_each(f"neighbours {comparison.key}", token_ids, find)


def load_occurrences(comparison: Comparison, spec: CorpusSpec, token_ids: Sequence[int]) -> dict[int, TokenOccurrences]:
    """Where a text holds each token, by the tokenizer of the before model. Raises KSLotteryError."""
    vocabulary = get_pair_vocabulary(comparison)

    def find(missing: list[int]) -> dict[int, TokenOccurrences]:
        from kslottery_core.corpora import find_token_occurrences

        found = find_token_occurrences(get_tokenizer(vocabulary), load_text(spec), missing, SHOWN_SENTENCES)
        return {one.token_id: one for one in found}

    return _load_each(f"text {vocabulary.key} {spec} {sign_text(spec)}", token_ids, find)
