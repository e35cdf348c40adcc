"""What the person has open, as a report needs it, and the report built from it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from dashboard import loaders, state
from dashboard.controls.checkpoint_picker import get_edited_names
from dashboard.controls.pair_header import load_shown_comparison
from dashboard.controls.token_text import get_token_spec
from dashboard.report.context import KnownBlock, ReportContext
from dashboard.report.report import Report, build_report
from dashboard.views.report.blocks import BLOCKS, find_block
from dashboard.wording import escape_markdown, shorten


def open_context() -> ReportContext:
    """The chosen pair and all other choices; says on the page what keeps the pair from being opened."""
    choice = state.get_choice()
    comparison = load_shown_comparison()
    selection = None if comparison is None else loaders.load_selection(comparison, choice.alpha)
    text = None if comparison is None else get_token_spec(comparison)
    return ReportContext(
        choice, comparison, selection, time.time(), state.is_download_allowed, text, get_edited_names()
    )


def find_chosen_blocks() -> list[KnownBlock] | None:
    """The chosen blocks in their order, None for all; an address may name one that there is not, which is told."""
    names = state.get_choice().report.blocks
    if names is None:
        return None
    unknown = [name for name in names if find_block(name) is None]
    if unknown:
        known = ", ".join(block.name for block in BLOCKS)
        st.warning(escape_markdown(f"There is no block {shorten(unknown[0])!r}; expected some of {known}."))
        state.change("report", blocks=tuple(name for name in names if name not in unknown))
    return [block for block in map(find_block, names) if block is not None]


def load_presented_report() -> Report:
    """The report as it was when presenting began: numbers stay, and turning a slide waits for nothing."""
    choice, words = state.get_choice(), state.get_report_words()
    asked = (replace(choice, report=replace(choice.report, slide=1)), words)
    kept: tuple[object, Report] | None = st.session_state.get(state.PRESENTED_REPORT)
    if kept is not None and kept[0] == asked:
        return kept[1]
    report = build_shown_report(open_context(), find_chosen_blocks())
    st.session_state[state.PRESENTED_REPORT] = (asked, report)
    return report


def build_shown_report(context: ReportContext, blocks: Sequence[KnownBlock] | None) -> Report:
    """The report of these blocks with the person's title and words; it forgets what was presented before."""
    st.session_state.pop(state.PRESENTED_REPORT, None)
    title, words = state.get_choice().report.title, state.get_report_words()
    return build_report(context, BLOCKS if blocks is None else blocks, title, words, leave_out_empty=blocks is None)
