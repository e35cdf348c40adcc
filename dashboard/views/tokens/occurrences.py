"""Where the person's text holds a token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.controls.token_text import get_token_spec
from dashboard.loaders import Comparison
from dashboard.loaders.vocabulary import name_text
from dashboard.views.tokens.occurrences_figure import occurrences_figure
from dashboard.views.tokens.story_loading import load_occurrences
from dashboard.wording import escape_markdown, format_noun, shorten

if TYPE_CHECKING:
    from kslottery_core.corpora import CorpusSpec, TokenOccurrences


@dataclass(frozen=True, eq=False)
class FoundText:
    """A text and where it holds each of the shown tokens."""

    spec: CorpusSpec
    tokens: dict[int, TokenOccurrences]


def find_occurrences(comparison: Comparison, token_ids: Sequence[int]) -> FoundText | None:
    """Look for the tokens in the text that frequencies are counted in; without one, say where to choose it.

    Raises KSLotteryError.
    """
    spec = get_token_spec(comparison)
    if spec is None:
        st.info(
            "No text is chosen, or it cannot be read. Choose one above, where it says which text frequencies are "
            "counted in: then the sentences that hold the token are shown here."
        )
        return None
    with st.spinner("Looking for the tokens in the text…"):
        return FoundText(spec, load_occurrences(comparison, spec, token_ids))


def show_token_occurrences(found: FoundText, token_id: int) -> None:
    """Show how often the text holds the token, and its first sentences."""
    token, spec = found.tokens[token_id], found.spec
    name = escape_markdown(shorten(name_text(spec)))
    if not token.total:
        st.markdown(
            f"The token does not occur in {name} ({format_noun(token.read, 'sentence')} on both sides). What a prompt "
            "puts around the sentences is not part of the text."
        )
        return
    shown = "" if token.sentences <= len(token.shown) else f" The first {len(token.shown)} of them:"
    st.markdown(
        f"**{format_noun(token.total, 'occurrence')}** in {token.sentences:,} of the {token.read:,} sentences on both "
        f"sides of {name}.{shown}"
    )
    if not any(sentence.spans for sentence in token.shown):
        st.caption("This tokenizer does not tell which characters a token stands for, so they are not marked.")
    st.html(occurrences_figure(token, {"source": spec.source_name, "target": spec.target_name}))
