"""Ways from one page to another, and what the sidebar says on every page."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import streamlit as st

from dashboard import loaders, state
from dashboard.wording import escape_markdown, name_source

if TYPE_CHECKING:
    from streamlit.navigation.page import StreamlitPage

_PAGES = "kslottery.pages"


def register_pages(pages: dict[str, StreamlitPage]) -> None:
    """Make the pages known, so that views can lead on without importing each other."""
    st.session_state[_PAGES] = pages


def show_link(page: str, label: str) -> None:
    """A link to another page in the page's own words."""
    st.page_link(st.session_state[_PAGES][page], label=label, icon=":material/arrow_forward:")


def open_page(page: str) -> NoReturn:
    """Leave this page for another one."""
    st.switch_page(st.session_state[_PAGES][page])


def show_sidebar() -> None:
    """What is open and where alpha stands; the numbers themselves are the pages' business."""
    choice = state.get_choice()
    pair = loaders.resolve_choice(choice.pair)
    with st.sidebar:
        if pair is None:
            st.caption("No pair is open.")
        elif loaders.is_demo(pair):
            st.caption("**Pair**: the bundled demo")
        else:
            st.caption(f"**Before**: {escape_markdown(name_source(pair.before or ''))}")
            st.caption(f"**After**: {escape_markdown(name_source(pair.after or ''))}")
        st.caption(f"**Ticket**: {escape_markdown(state.describe_rule(choice.alpha))}")
