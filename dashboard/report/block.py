"""What a report is made of: a block with its paragraphs, pictures and tables, each stating what it rests on."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from dashboard.wording import NOT_MEASURED

if TYPE_CHECKING:
    import pandas as pd

DIGITS = {"D": 4, "Cosine": 4}
"""Digits after the point of the columns of tokens that need as many everywhere."""

_SIGNATURE_SIGNS = 120  # a line of small print of about 600 pixels
_SIGNATURE_LINE_HEIGHT = 13
_SIGNATURE_SIZE = 10
_PLOTLY_BOTTOM, _PLOTLY_HEIGHT = 80, 450  # what plotly.js takes where a figure says nothing


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure, what it shows for those who do not see it, and what stands below it; all plain text.

    `signature` says what its numbers rest on; None stands for that of the block. `title` tells it from the block's
    other pictures, where there are some.
    """

    figure: go.Figure
    alt: str
    caption: str
    signature: str | None = None
    title: str = ""


@dataclass(frozen=True, eq=False)
class Table:
    """Rows with readable column names; `empty` stands where a cell has no value. `signature` as for a picture.

    `decimals` are the digits after the point of a column's numbers; others get four significant digits. Texts of a
    column in `lengths` are shown up to so many signs; the file with the rows holds them whole.
    """

    dataframe: pd.DataFrame
    caption: str
    signature: str | None = None
    empty: str = NOT_MEASURED
    decimals: Mapping[str, int] = field(default_factory=dict)
    lengths: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Block:
    """One subject of a report. All texts are plain text, as names and tokens in them may hold anything.

    `problem` says what to do where there is nothing to show; all else is then empty.
    """

    title: str
    paragraphs: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    signature: str = ""
    problem: str | None = None


def sign_block(block: Block, moment: str) -> Block:
    """The same block with the signature and the `moment` of its making on every picture and table; figures get it too.

    To be called once: the figures are written into.
    """

    def sign(signature: str | None) -> str:
        return "; ".join(part for part in (block.signature if signature is None else signature, moment) if part)

    pictures = []
    for picture in block.pictures:
        text = sign(picture.signature)
        sign_figure(picture.figure, text)
        pictures.append(replace(picture, signature=text))
    tables = tuple(replace(table, signature=sign(table.signature)) for table in block.tables)
    return replace(block, pictures=tuple(pictures), tables=tables, signature=sign(None))


def sign_figure(figure: go.Figure, text: str) -> None:
    """Put small print at a figure's lower edge, so that the saved picture says by itself what it rests on."""
    lines = textwrap.wrap(text, _SIGNATURE_SIGNS)
    room = len(lines) * _SIGNATURE_LINE_HEIGHT + 6
    bottom, height = figure.layout.margin.b, figure.layout.height
    figure.update_layout(
        title={
            # Streamlit makes titles bold, which small print should not be.
            "text": "<br>".join(
                f'<span style="font-weight: 400">{html.escape(line, quote=False)}</span>' for line in lines
            ),
            "font": {"size": _SIGNATURE_SIZE},
            "xref": "container",
            "x": 0.01,
            "xanchor": "left",
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
            "pad": {
                "b": 4 + (len(lines) - 1) * _SIGNATURE_LINE_HEIGHT
            },  # plotly.js hangs further lines below the first
        },
        margin={"b": (_PLOTLY_BOTTOM if bottom is None else bottom) + room},
        height=(_PLOTLY_HEIGHT if height is None else height) + room,
    )
