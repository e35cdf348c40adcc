"""A report's blocks as they look on the page, before they are saved as a file."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from dashboard.controls.picture import show_picture
from dashboard.report.block import Table
from dashboard.report.html_table import format_cell
from dashboard.report.report import Section
from dashboard.report.words import render_words
from dashboard.wording import escape_markdown

_MOST_ROWS = 500  # texts of more would make every click wait
_MOST_ROWS_IN_SIGHT = 8


def show_section(section: Section) -> None:
    """A block with the person's words around it. What a file holds as HTML is drawn with the page's own elements."""
    block = section.block
    _show_words(section.before)
    st.subheader(escape_markdown(block.title), anchor=False)
    if block.problem is not None:
        st.info(escape_markdown(block.problem))
    for paragraph in block.paragraphs:
        st.markdown(escape_markdown(paragraph))
    for place, picture in enumerate(block.pictures):
        show_picture(picture.figure, key=f"report_{section.name}_{place}", alt=picture.alt, caption=picture.caption)
    for place, table in enumerate(block.tables):
        _show_table(table, f"report_{section.name}_table_{place}")
    _show_words(section.after)


def _show_words(text: str) -> None:
    words = render_words(text)
    if words:
        with st.container(border=True):
            st.html(words)


def _show_table(table: Table, key: str) -> None:
    rows = len(table.dataframe)
    note = f" The first {_MOST_ROWS:,} of {rows:,} rows; the file holds all." if rows > _MOST_ROWS else ""
    st.markdown(f"**{escape_markdown(table.caption)}**{note}")
    # The same texts as in the file; a column of numbers alone stays one, so that it can be sorted.
    shown = table.dataframe[:_MOST_ROWS].reset_index(drop=True)
    texts = {}
    for column in shown.columns:
        if shown[column].dtype == object:
            shown[column] = [format_cell(table, value, str(column)) for value in shown[column]]
        elif shown[column].dtype.kind in "fiu":
            texts[column] = partial(_write_cell, table, str(column))
    st.dataframe(
        shown.style.format(texts) if texts else shown,
        hide_index=True,
        key=key,
        height=38 + 35 * min(max(len(shown), 1), _MOST_ROWS_IN_SIGHT),
        placeholder=table.empty,
        alt=table.caption,
    )
    if table.signature:
        st.caption(escape_markdown(table.signature))


def _write_cell(table: Table, column: str, value: Any) -> str:
    return format_cell(table, value, column)
