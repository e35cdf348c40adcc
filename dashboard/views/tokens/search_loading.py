"""Which tokens a search finds, and which belong to the prompt: looked up once, not on every move of alpha."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import regex
import streamlit as st

from dashboard.loaders import Comparison, load_token_table
from dashboard.loaders.vocabulary import get_pair_vocabulary, list_prompt_token_ids
from dashboard.wording import shorten
from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

_TOKEN_SECONDS, _ALL_SECONDS = 1.0, 5.0  # a quarter of a million tokens take about one second
_MOST_ID_DIGITS = 9  # no vocabulary needs more, and Python refuses to read thousands


class TokenSearchError(KSLotteryError):
    """The search or a filter cannot be understood; the message is for the person."""


def load_search_mask(comparison: Comparison, search: str, mode: str) -> np.ndarray | None:
    """Which rows of the token table a search finds, (V,) bool in the table's order; None where nothing is searched.

    `mode` is a key of `SEARCH_MODES`. Raises TokenSearchError for a bad regular expression or id.
    """
    return _search(comparison.key, search, mode, comparison) if search.strip() else None


@st.cache_resource(max_entries=32, show_spinner=False)
def _search(key: str, search: str, mode: str, _comparison: Comparison) -> np.ndarray:
    table = load_token_table(_comparison)
    if mode == "id":
        return _read_ids(search, len(table))[table["token_id"].to_numpy()]
    if mode == "pattern":
        return _match(_compile(search), _comparison.pair.tokens)[table["token_id"].to_numpy()]
    # A space typed by hand means the leading-space sign that labels show.
    needle = search.strip("\n").replace(" ", "␣").casefold()
    return table["casefolded"].str.contains(needle, regex=False).to_numpy(dtype=bool)


def _compile(search: str) -> regex.Pattern[str]:
    # Python's own `re` cannot be stopped, and nothing else runs while it tries one way after the other.
    try:
        return regex.compile(search, regex.VERSION0)
    except (regex.error, OverflowError, RecursionError) as problem:
        reason = problem.msg if isinstance(problem, regex.error) else "it is too large"
        place = f" at character {problem.pos + 1}" if isinstance(problem, regex.error) and problem.pos else ""
        raise TokenSearchError(
            f"{shorten(search)!r} is not a valid regular expression: {reason}{place}. To search for these characters, "
            "choose Text."
        ) from None


def _match(pattern: regex.Pattern[str], tokens: Sequence[str]) -> np.ndarray:
    """Which tokens a pattern finds, (V,) bool by id. Raises TokenSearchError when that takes too long."""
    import numpy as np

    found = np.zeros(len(tokens), dtype=bool)
    end = time.monotonic() + _ALL_SECONDS
    try:
        for token_id, token in enumerate(tokens):
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            found[token_id] = pattern.search(token, timeout=min(left, _TOKEN_SECONDS), concurrent=True) is not None
    except TimeoutError:
        raise TokenSearchError(
            f"Searching for {shorten(pattern.pattern)!r} takes too long and was stopped. Use a simpler regular "
            "expression, without a repetition inside a repetition or choices that begin alike."
        ) from None
    return found


def _read_ids(search: str, vocabulary_size: int) -> np.ndarray:
    """Which ids a list of ids and ranges names, (V,) bool; however many ranges there are, one array holds them."""
    import numpy as np

    steps = np.zeros(vocabulary_size + 1, dtype=np.int64)  # +1 where a range begins, -1 behind its end
    for part in re.findall(r"[^\s,;]+", search) or [search.strip()]:
        low, dash, high = part.partition("-")
        first, last = _read_id(low), _read_id(high if dash else low)
        if first is None or last is None:
            raise TokenSearchError(
                f"{shorten(part)!r} is not a token id; expected numbers such as 13, 278 or a range such as 3-20."
            )
        if first <= last and first < vocabulary_size:
            steps[first] += 1
            steps[min(last, vocabulary_size - 1) + 1] -= 1
    return steps[:-1].cumsum() > 0


def _read_id(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) <= _MOST_ID_DIGITS else None


def load_prompt_mask(
    comparison: Comparison, template: str, *, source_language: str, target_language: str
) -> np.ndarray:
    """Which tokens, by id (V,) bool, belong to a prompt template. Raises KSLotteryError."""
    return _find_prompt_tokens(comparison.key, template, source_language, target_language, comparison)


@st.cache_resource(max_entries=8, show_spinner=False)
def _find_prompt_tokens(key: str, template: str, source: str, target: str, _comparison: Comparison) -> np.ndarray:
    import numpy as np

    ids = list_prompt_token_ids(
        get_pair_vocabulary(_comparison), template, source_language=source, target_language=target
    )
    mask = np.zeros(_comparison.pair.vocabulary_size, dtype=bool)
    mask[[token_id for token_id in ids if token_id < len(mask)]] = True
    return mask
