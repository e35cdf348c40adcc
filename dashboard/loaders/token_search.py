"""Which tokens a search finds, and which belong to the prompt: looked up once, not on every move of alpha."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.loaders import Comparison, load_token_table
from dashboard.loaders.vocabulary import get_pair_vocabulary, list_prompt_token_ids
from dashboard.wording import shorten
from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    import numpy as np

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
    import numpy as np

    table = load_token_table(_comparison)
    if mode == "id":
        return np.isin(table["token_id"].to_numpy(), _read_ids(search, len(table)))
    if mode == "pattern":
        pattern, tokens = _compile(search), _comparison.pair.tokens
        found = np.fromiter((pattern.search(token) is not None for token in tokens), bool, len(tokens))
        return found[table["token_id"].to_numpy()]
    # A space typed by hand means the leading-space sign that labels show.
    needle = search.strip("\n").replace(" ", "␣").casefold()
    return table["casefolded"].str.contains(needle, regex=False).to_numpy(dtype=bool)


def _compile(search: str) -> re.Pattern[str]:
    try:
        return re.compile(search)
    except (re.error, OverflowError, RecursionError) as problem:
        reason = problem.msg if isinstance(problem, re.error) else "it is too large"
        place = f" at character {problem.pos + 1}" if isinstance(problem, re.error) and problem.pos else ""
        raise TokenSearchError(
            f"{shorten(search)!r} is no regular expression: {reason}{place}. To search for the signs themselves, "
            "choose Text."
        ) from None


def _read_ids(search: str, vocabulary_size: int) -> np.ndarray:
    import numpy as np

    ids = [np.empty(0, dtype=np.int64)]
    for part in re.split(r"[\s,;]+", search.strip(" \t\n,;")):
        low, dash, high = part.partition("-")
        first, last = _read_id(low), _read_id(high if dash else low)
        if first is None or last is None:
            raise TokenSearchError(
                f"{shorten(part)!r} is no token id; expected numbers such as 13, 278 or a range such as 3-20."
            )
        ids.append(np.arange(first, min(last, vocabulary_size - 1) + 1))
    return np.concatenate(ids)


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
