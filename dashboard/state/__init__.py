"""What the person chose, kept for the session and in the page's address, so that a link restores what was shown.

The choice lives in `st.session_state` under names that no widget owns; widgets are filled from it and write to it. The
address is read when a session starts, when the page changes and when the browser goes back, never in between: a rerun
may still carry an address from before the last click, and reading that would undo the click. It is written before a
page is drawn, which may take seconds, and once more after it.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from dashboard.loaders import PairChoice
from dashboard.state.address import build_address, forget_addressed, read_address
from dashboard.state.choice import (
    LARGEST_SIGNIFICANCE_LEVEL,
    LEAST_SIGNIFICANCE_LEVEL,
    MOST_PICKED,
    SEARCH_MODES,
    STORY_PARTS,
    CertificatesView,
    CheckpointsView,
    Choice,
    LayersView,
    OverlapView,
    ReportView,
    StoryView,
    StudiesView,
    TokenFilter,
    TokenMapView,
    TokenOrder,
    TokenText,
)
from dashboard.state.parameters import read_level, read_token_id, read_top_k
from dashboard.state.report_words import ReportWords
from dashboard.state.rule import describe_place, describe_rule, describe_rule_extras
from dashboard.wording import escape_markdown

__all__ = [
    "LARGEST_SIGNIFICANCE_LEVEL",
    "LEAST_SIGNIFICANCE_LEVEL",
    "MOST_PICKED",
    "OPEN_RUN_FORM",
    "PRESENTED_REPORT",
    "SEARCH_MODES",
    "STORY_PARTS",
    "CertificatesView",
    "CheckpointsView",
    "Choice",
    "LayersView",
    "OverlapView",
    "ReportView",
    "ReportWords",
    "StoryView",
    "StudiesView",
    "TokenFilter",
    "TokenMapView",
    "TokenOrder",
    "TokenText",
    "allow_download",
    "build_address",
    "change",
    "choose",
    "count_restored",
    "describe_place",
    "describe_rule",
    "describe_rule_extras",
    "forget_addressed",
    "get_choice",
    "get_report_words",
    "is_download_allowed",
    "is_presenting",
    "read_address",
    "read_level",
    "read_token_id",
    "read_top_k",
    "restore_choice",
    "set_alpha",
    "set_pair",
    "set_report_words",
    "write_address",
]

_STATE = "kslottery.choice"
_PAGE = "kslottery.page"
_PROBLEMS = "kslottery.address_problems"
_RESTORED = "kslottery.times_restored"
_DOWNLOADS = "kslottery.allowed_downloads"
_WORDS = "kslottery.report_words"
OPEN_RUN_FORM = "kslottery.open_run_form"
"""Session key: whether the run form is to be opened (True) or closed (False) when the Runs page is drawn next."""
PRESENTED_REPORT = "kslottery.presented_report"
"""Where the report that is being presented is kept; it is dropped when another page opens."""


def get_choice() -> Choice:
    """What is chosen at present."""
    return st.session_state.get(_STATE, Choice())


def set_pair(pair: PairChoice) -> None:
    """Choose two checkpoints; tokens picked from another pair are dropped, since ids mean other tokens there."""
    st.session_state[_STATE] = get_choice().turn_to(pair)


def set_alpha(**changes: Any) -> None:
    """Change parts of the rule (fields of `AlphaChoice`) and remember the rule before the change."""
    choice = get_choice()
    alpha = replace(choice.alpha, **changes)
    if alpha == choice.alpha:
        return
    # While the ticket goes by a number of tokens, alpha moves other pages' findings and not the ticket.
    same_ticket = alpha.top_k is not None and alpha.top_k == choice.alpha.top_k
    previous = choice.previous_alpha if same_ticket else choice.alpha
    st.session_state[_STATE] = replace(choice, alpha=alpha, previous_alpha=previous)


def choose(**chosen: Any) -> None:
    """Choose whole fields of `Choice`: the picked tokens, the run that is shown, the runs that are compared, ..."""
    choice = get_choice()
    if "token_ids" in chosen:
        chosen["token_ids"] = tuple(dict.fromkeys(chosen["token_ids"]))
    if "compared_runs" in chosen:
        chosen["compared_runs"] = tuple(chosen["compared_runs"])
    if "token_filter" in chosen:  # other tokens are shown: the table starts on its first page
        chosen["token_order"] = replace(choice.token_order, page=1)
    st.session_state[_STATE] = replace(choice, **chosen)


def change(part: str, /, **changes: Any) -> None:
    """Change fields of one part of the choice: `part` is a field of `Choice` that is a record itself."""
    choice = get_choice()
    st.session_state[_STATE] = replace(choice, **{part: replace(getattr(choice, part), **changes)})


def get_report_words() -> ReportWords:
    """The person's own words in the report. They are too long for an address."""
    return st.session_state.get(_WORDS, ReportWords())


def set_report_words(words: ReportWords) -> None:
    """Keep the person's words for the session."""
    st.session_state[_WORDS] = words


def is_presenting(page: str) -> bool:
    """Whether this page is the report, shown slide by slide."""
    return page == "report" and get_choice().report.presenting


def allow_download(wanted: Hashable) -> None:
    """Let this be fetched from the hub in this session, a pair or what else a page names; an address never does."""
    st.session_state[_DOWNLOADS] = {*st.session_state.get(_DOWNLOADS, ()), wanted}


def is_download_allowed(wanted: Hashable) -> bool:
    """Whether the person has asked for this by a click in this session."""
    return wanted in st.session_state.get(_DOWNLOADS, ())


def restore_choice(page: str) -> None:
    """Take over the address when the session starts, another page opens or the browser goes back; say what is wrong."""
    address, went_back = st.query_params.to_dict(), _is_history_navigation()
    if went_back or st.session_state.get(_PAGE) != page:
        st.session_state[_PAGE] = page
        choice = get_choice()
        if page != "report":
            st.session_state.pop(PRESENTED_REPORT, None)
        if went_back and address:
            choice = forget_addressed(choice, page, address)
        st.session_state[_STATE], st.session_state[_PROBLEMS] = read_address(address, choice)
        st.session_state[_RESTORED] = count_restored() + 1
    for problem in st.session_state.get(_PROBLEMS, ()):
        st.warning(escape_markdown(problem))


def _is_history_navigation() -> bool:
    """Whether this run answers the browser's Back or Forward; then the address is the newest word there is."""
    context = get_script_run_ctx()
    return bool(context is not None and getattr(context, "is_history_navigation", False))


def count_restored() -> int:
    """How often the choice came from the address; part of the keys of tables, whose ticks must then start anew."""
    return st.session_state.get(_RESTORED, 0)


def write_address() -> None:
    """Put the present choice into the address of the page that is open; nothing is sent where it stands there."""
    address = build_address(get_choice(), st.session_state.get(_PAGE, ""))
    if st.query_params.to_dict() != address:
        st.query_params.from_dict(address)
