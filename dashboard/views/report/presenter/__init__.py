"""A report slide by slide: large type, no controls but the way on, back and out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard import state
from dashboard.report.html_table import render_table
from dashboard.report.slides import Slide, enlarge_figure, trim_table
from dashboard.report.words import render_words
from dashboard.wording import escape_markdown

_HERE = Path(__file__).parent
_KEY = "presenter"
_show_turner = st.components.v2.component(
    "kslottery_presenter",
    css=(_HERE / "turner.css").read_text(encoding="utf-8"),
    js=(_HERE / "turner.js").read_text(encoding="utf-8"),
)


def show_slides(slides: Sequence[Slide]) -> None:
    """Show the slide that the session is at; keys and two buttons turn to others, Escape or Leave ends it."""
    number = min(max(state.get_choice().report.slide, 1), len(slides))
    st.html(_HERE / "slide.css")
    _show_slide(slides[number - 1], number)
    _show_turner(
        key=_KEY,
        data={"slide": number, "total": len(slides)},
        on_turn_change=_turn,
        on_leave_change=_leave,
        height="content",
    )


def _turn() -> None:
    wanted = _read("turn")
    if isinstance(wanted, int | float) and wanted >= 1:
        state.change("report", slide=int(wanted))


def _leave() -> None:
    state.change("report", presenting=False, slide=1)


def _read(name: str) -> Any:
    state = st.session_state.get(_KEY)
    return None if state is None else state.get(name)


def _show_slide(slide: Slide, number: int) -> None:
    # Each slide has keys of its own: the browser would otherwise carry zoom and size over from the last picture.
    with st.container(key="slide_title" if number == 1 else "slide"):
        st.title(escape_markdown(slide.title), anchor=False)
        if slide.problem is not None:
            st.markdown(escape_markdown(slide.problem))
        if slide.picture is not None:
            _show_picture_slide(slide, number)
            return
        _show_words(slide.words)
        for paragraph in slide.paragraphs:
            st.markdown(escape_markdown(paragraph))
        if slide.table is not None:
            table, note = trim_table(slide.table)
            caption = ": ".join(part for part in (table.caption, note) if part)
            with st.container(key="slide_table"):
                st.html(render_table(table, caption=caption, most_rows=len(table.dataframe)))
            _show_small_print(table.signature)


def _show_picture_slide(slide: Slide, number: int) -> None:
    picture = slide.picture
    assert picture is not None
    words = render_words(slide.words)
    shown, beside = st.columns([7, 3], gap="medium") if words else (st.container(), None)
    with shown, st.container(key="slide_picture"):
        st.plotly_chart(
            enlarge_figure(picture.figure),
            key=f"slide_picture_{number}",
            alt=picture.alt,
            height="stretch",
            config={"displayModeBar": False, "displaylogo": False},
        )
    if beside is not None:
        with beside, st.container(key="slide_words"):
            st.html(words)
    with st.container(key="slide_caption"):
        st.markdown(escape_markdown(picture.caption))


def _show_words(text: str) -> None:
    words = render_words(text)
    if words:
        with st.container(key="slide_words"):
            st.html(words)


def _show_small_print(text: str | None) -> None:
    if text:
        with st.container(key="slide_small_print"):
            st.caption(escape_markdown(text))
