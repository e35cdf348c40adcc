"""What is costly to draw and shown again and again, kept while what it rests on stays the same."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import streamlit as st

from dashboard.loaders.shelf import ResultShelf

_KEPT = 24  # a few settings of a report's pictures; one holds at most some thousand points

Built = TypeVar("Built")


@st.cache_resource(show_spinner=False)
def _load_shelf() -> ResultShelf[Any]:
    return ResultShelf(kept=_KEPT)


def load_built(rests_on: Hashable, build: Callable[[], Built], *, is_kept: Callable[[Built], bool]) -> Built:
    """What `build` gave when it was last asked for with an equal `rests_on`; only what `is_kept` agrees to is kept.

    Shared between sessions: nobody may write into it.
    """
    shelf = _load_shelf()
    with shelf.get_lock(rests_on):
        built: Built | None = shelf.get(rests_on)
        if built is None:
            built = build()
            if is_kept(built):
                shelf.put(rests_on, built)
    return built
