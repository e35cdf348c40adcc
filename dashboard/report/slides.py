"""A report as slides: one picture or one table a screen, in type that is read from the back of a room."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, replace

import plotly.graph_objects as go

from dashboard.report.block import Picture, Table
from dashboard.report.report import Report
from dashboard.wording import format_moment, shorten

_FONT_SIZE = 22
_SMALL_PRINT = 12
_LEGEND_ROOM, _SIDE_ROOM, _BOTTOM_ROOM = 76, 96, 84
_AXIS_SIGNS = 38  # about what the height of a screen takes, turned
_MOST_ROWS = 8
_MOST_SIGNS = 32


@dataclass(frozen=True, eq=False)
class Slide:
    """One screen. `paragraphs` are plain text, `words` the person's own; at most one of picture and table is there.

    `problem` says what to do where a chosen block has nothing to show.
    """

    title: str
    paragraphs: tuple[str, ...] = ()
    words: str = ""
    picture: Picture | None = None
    table: Table | None = None
    problem: str | None = None


def build_slides(report: Report) -> tuple[Slide, ...]:
    """A title, then each block: every picture on a slide of its own, or its tables where it has none.

    A block's paragraphs and the words before it stand on its first slide, the words after it on its last.
    """
    slides = [Slide(report.title, tuple(part for part in (report.author, format_moment(report.moment)) if part))]
    for section in report.sections:
        block = section.block
        shown: list[Picture | Table | None] = [*block.pictures] or [*block.tables] or [None]
        for place, item in enumerate(shown):
            first, last = place == 0, place == len(shown) - 1
            words = [section.before if first else "", section.after if last else ""]
            several = isinstance(item, Picture) and len(block.pictures) > 1
            slides.append(
                Slide(
                    # Pictures of one block are told apart by what each shows, where the heading can be read.
                    title=f"{block.title}: {item.title}" if several and item.title else block.title,
                    # Beside a picture there is room for what it shows, and the caption says that.
                    paragraphs=() if isinstance(item, Picture) else block.paragraphs if first else (),
                    words="\n\n".join(text for text in words if text.strip()),
                    picture=item if isinstance(item, Picture) else None,
                    table=item if isinstance(item, Table) else None,
                    problem=block.problem,
                )
            )
    return tuple(slides)


def enlarge_figure(figure: go.Figure) -> go.Figure:
    """A copy in large type without a height of its own, so that it fills the screen."""
    large = go.Figure(figure)
    lines = (large.layout.title.text or "").count("<br>") + 1
    font = {"size": _FONT_SIZE}
    margin = large.layout.margin
    large.update_layout(
        height=None,
        font=font,
        legend={"font": font},
        hoverlabel={"font": font},
        title={"font": {"size": _SMALL_PRINT}, "pad": {"b": 4 + (lines - 1) * _SMALL_PRINT * 1.3}},
        margin={
            "t": max(margin.t or 0, _LEGEND_ROOM),
            "l": max(margin.l or 0, _SIDE_ROOM),
            "r": max(margin.r or 0, 32),
            "b": _BOTTOM_ROOM + lines * _SMALL_PRINT * 1.3,
        },
    )
    large.update_xaxes(title_font=font, tickfont=font)
    large.update_yaxes(title_font=font, tickfont=font)
    for axis in large.select_yaxes():
        titles = textwrap.wrap(axis.title.text or "", _AXIS_SIGNS)
        if len(titles) > 1:
            axis.title.text = "<br>".join(titles)
            large.layout.margin.l = max(large.layout.margin.l, _SIDE_ROOM + 1.3 * _FONT_SIZE * (len(titles) - 1))
    large.update_annotations(font=font)
    large.update_coloraxes(colorbar={"tickfont": font, "title": {"font": font}})
    for trace in large.data:
        if "text" in (getattr(trace, "mode", None) or "") or trace.type == "bar":
            trace.textfont.size = _FONT_SIZE
        if trace.type in ("scatter", "scattergl") and trace.line.width:
            trace.line.width *= 1.4
    return large


def trim_table(table: Table) -> tuple[Table, str]:
    """As many rows as a slide takes, long texts cut, and a note where more was there."""
    rows = len(table.dataframe)
    note = f"the first {_MOST_ROWS} of {rows:,} rows" if rows > _MOST_ROWS else ""
    kept = table.dataframe[:_MOST_ROWS].copy()
    for column in kept.columns:
        kept[column] = [shorten(value, _MOST_SIGNS) if isinstance(value, str) else value for value in kept[column]]
    return replace(table, dataframe=kept), note
