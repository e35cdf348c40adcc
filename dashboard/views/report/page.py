"""What was found, put together for others: a file to send, or slides to show."""

from __future__ import annotations

import streamlit as st

from dashboard import state
from dashboard.report.html_file import build_html, name_file
from dashboard.report.report import Report
from dashboard.report.slides import build_slides
from dashboard.views.report.controls import (
    build_shown_report,
    find_chosen_blocks,
    load_presented_report,
    open_context,
    show_report_editor,
)
from dashboard.views.report.presenter import show_slides
from dashboard.views.report.preview import show_section
from dashboard.wording import escape_markdown, format_moment, format_noun


def render() -> None:
    """Show the editor, the ways to take the report along, and the report; or its slides, while presenting."""
    if state.is_presenting("report"):
        show_slides(build_slides(load_presented_report()))
        return
    st.title("Show what was found")
    st.markdown(
        "A report puts what the pages show into one file, with your words between: pictures stay interactive, tables "
        "and pictures can be saved from it, and it opens anywhere without a network. Presenting shows the same as "
        "slides in large type."
    )
    context = open_context()
    report = build_shown_report(context, find_chosen_blocks())
    _show_taking(report)
    show_report_editor(report)
    st.header(escape_markdown(report.title), divider="gray")
    st.caption(escape_markdown(", ".join(part for part in (report.author, format_moment(report.moment)) if part)))
    for section in report.sections:
        show_section(section)


def _show_taking(report: Report) -> None:
    pictures = sum(len(section.block.pictures) for section in report.sections)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Download the report",
            data=lambda: build_html(report),
            file_name=f"{name_file(report)}.html",
            mime="text/html",
            icon=":material/download:",
            type="primary",
            on_click="ignore",
            disabled=not report.sections,
            key="report_file",
        )
        st.button(
            "Present",
            icon=":material/slideshow:",
            disabled=not report.sections,
            on_click=state.change,
            args=("report",),
            kwargs={"presenting": True, "slide": 1},
            key="report_present",
        )
        st.caption(
            f"{format_noun(len(report.sections), 'block')} with {format_noun(pictures, 'picture')}. The file holds "
            "what draws the pictures, a few megabytes, and has a button that saves all of them as PNG. Slides turn "
            "with the arrow keys and end with Escape."
        )
