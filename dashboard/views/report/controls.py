"""The report's fields and its list of blocks, and the report that they describe."""

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
from dashboard.state.report_words import (
    LONGEST_AUTHOR,
    LONGEST_TEXT,
    LONGEST_TITLE,
    ReportWordsError,
    build_words_file,
    read_words_file,
)
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


_ALL = "All blocks with something to show"
_SIGNS = r"A blank line ends a paragraph, a line that begins with - is an item; \*\*bold\*\*, \*italic\*, \`code\`."
_FILE_PROBLEM = "kslottery.report_file_problem"
_MOST_NAMED = 3


def show_report_editor(report: Report) -> None:
    """The fields and the list of blocks; each writes the session's choice before the page is drawn again."""
    _show_names(report)
    names = [section.name for section in report.sections]
    _show_adding(names)
    with st.container():  # whatever their number, what follows keeps its place, and stays open if it was
        if not names:
            st.info("No block is in the report. Add one above, or put all of them back.")
        for place, section in enumerate(report.sections):
            _show_block(names, place, section.block.title, has_problem=section.block.problem is not None)
    _show_words_file()


def _show_names(report: Report) -> None:
    st.session_state["report_title"] = state.get_choice().report.title
    st.session_state["report_author"] = state.get_report_words().author
    title, author = st.columns(2)
    title.text_input(
        "Title of the report",
        key="report_title",
        placeholder=report.title,
        max_chars=LONGEST_TITLE,
        on_change=lambda: state.change("report", title=st.session_state["report_title"].strip()),
    )
    author.text_input(
        "Author, occasion",
        key="report_author",
        placeholder="Stands below the title, with the date",
        max_chars=LONGEST_AUTHOR,
        on_change=_take_author,
    )


def _take_author() -> None:
    words = state.get_report_words()
    state.set_report_words(replace(words, author=st.session_state["report_author"].strip()))


def _show_adding(names: Sequence[str]) -> None:
    missing = [block.name for block in BLOCKS if block.name not in names]
    add, everything = st.columns([3, 1.4], vertical_alignment="bottom")
    st.session_state["report_added"] = None
    add.selectbox(
        "Add a block",
        missing,
        format_func=_name_block,
        key="report_added",
        placeholder="Choose a block" if missing else "Every block is in the report",
        disabled=not missing,
        on_change=_take_added,
        args=(tuple(names),),
    )
    everything.button(
        _ALL,
        key="report_all",
        icon=":material/restart_alt:",
        disabled=state.get_choice().report.blocks is None,
        on_click=state.change,
        args=("report",),
        kwargs={"blocks": None},
        width="stretch",
    )


def _name_block(name: str) -> str:
    block: KnownBlock | None = find_block(name)
    return name if block is None else block.title


def _take_added(names: tuple[str, ...]) -> None:
    if st.session_state["report_added"] is not None:
        state.change("report", blocks=(*names, st.session_state["report_added"]))


def _show_block(names: list[str], place: int, title: str, *, has_problem: bool) -> None:
    """One row of the list: its title, its words behind a button, and the buttons that move it."""
    name, last = names[place], place == len(names) - 1
    words = state.get_report_words()
    written = sum(bool(text.strip()) for text in (words.get_before(name), words.get_after(name)))
    # Side by side as long as there is room, below each other on a narrow screen.
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        note = " :gray[(nothing to show yet)]" if has_problem else ""
        st.markdown(f"**{place + 1}. {escape_markdown(title)}**{note}", width="stretch")
        # Which block a button belongs to is heard; it can be seen, so the page's style takes it from sight.
        spoken = f" **{escape_markdown(title)}**"
        with st.popover((f"Words ({written})" if written else "Words") + spoken, key=f"report_words_{name}"):
            for side, text in (("before", words.get_before(name)), ("after", words.get_after(name))):
                key = f"report_{side}_{name}"
                st.session_state[key] = text
                st.text_area(
                    f"Words {side} {title}",
                    key=key,
                    height=120,
                    max_chars=LONGEST_TEXT,
                    on_change=_take_words,
                    args=(name, side, key),
                )
            st.caption(_SIGNS)
        for act, label, disabled in (("up", "Up", place == 0), ("down", "Down", last), ("remove", "Remove", False)):
            st.button(
                label + spoken,
                key=f"report_{act}_{name}",
                disabled=disabled,
                on_click=_move,
                args=(tuple(names), place, act),
            )


def _take_words(name: str, side: str, key: str) -> None:
    state.set_report_words(state.get_report_words().turn_to(name, **{side: st.session_state[key]}))


def _move(names: tuple[str, ...], place: int, act: str) -> None:
    order = list(names)
    moved = order.pop(place)
    if act != "remove":
        order.insert(place + (-1 if act == "up" else 1), moved)
    state.change("report", blocks=tuple(order))


def _show_words_file() -> None:
    problem = st.session_state.pop(_FILE_PROBLEM, None)
    words = state.get_report_words()
    with st.container():
        if words.author or any(any(pair) for pair in words.around.values()):
            st.caption(
                "Author and words live in this session alone: reloading the page or opening its link elsewhere drops "
                "them. Save them below to keep them."
            )
    with st.expander("Keep these words for another day", expanded=problem is not None):
        st.caption("Title, author, blocks and all words as a small file; what the blocks show is not in it.")
        if problem is not None:
            st.error(escape_markdown(problem))
        st.download_button(
            "Save the words",
            data=build_words_file(state.get_choice().report, state.get_report_words()),
            file_name="report-words.json",
            mime="application/json",
            icon=":material/download:",
            on_click="ignore",
            key="report_words_save",
        )
        st.file_uploader("Load saved words", type="json", key="report_words_file", on_change=_take_file)


def _take_file() -> None:
    file = st.session_state["report_words_file"]
    if file is None:
        return
    try:
        view, words = read_words_file(file.getvalue(), file.name)
    except ReportWordsError as problem:
        st.session_state[_FILE_PROBLEM] = str(problem)
        return
    unknown = [block for block in dict.fromkeys([*(view.blocks or ()), *words.around]) if find_block(block) is None]
    if unknown:
        names = ", ".join(repr(shorten(block)) for block in unknown[:_MOST_NAMED])
        more = f" and {len(unknown) - _MOST_NAMED:,} more" if len(unknown) > _MOST_NAMED else ""
        st.session_state[_FILE_PROBLEM] = (
            f"{file.name}: there is no block {names}{more}; left out, with the words around, and all else is taken."
        )
    known = None if view.blocks is None else tuple(block for block in view.blocks if block not in unknown)
    state.change("report", blocks=known, title=view.title)
    around = {block: texts for block, texts in words.around.items() if block not in unknown}
    state.set_report_words(replace(words, around=around))
