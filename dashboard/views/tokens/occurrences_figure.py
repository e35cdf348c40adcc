"""Sentences of a text with one token marked, as HTML."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

from dashboard.palette import WINNER

if TYPE_CHECKING:
    from kslottery_core.corpora import Occurrence, TokenOccurrences

_STYLE = f"""<style>
.ksl-sentences {{ list-style: none; margin: 0; padding: 0; }}
.ksl-sentences li {{ margin: 0 0 0.45rem 0; padding-left: 0.6rem; border-left: 3px solid rgba(138, 143, 152, 0.45);
  overflow-wrap: anywhere; line-height: 1.5; }}
.ksl-where {{ font-size: 0.8rem; opacity: 0.85; display: block; }}
.ksl-sentences mark {{ background: rgba(0, 158, 115, 0.28); color: inherit; border-bottom: 2px solid {WINNER};
  padding: 0 0.05em; white-space: pre-wrap; }}
</style>"""


def occurrences_figure(found: TokenOccurrences, side_names: Mapping[str, str]) -> str:
    """A list of the sentences, each with its line and side; every text in it is escaped."""
    items = "".join(f"<li>{_draw(shown, side_names)}</li>" for shown in found.shown)
    return f'{_STYLE}<ul class="ksl-sentences">{items}</ul>'


def _draw(shown: Occurrence, side_names: Mapping[str, str]) -> str:
    line = "" if shown.line is None else f"line {shown.line:,}, "
    side = side_names.get(shown.side, shown.side)
    return f'<span class="ksl-where">{escape(line + side)}</span><bdi>{mark_spans(shown)}</bdi>'


def mark_spans(shown: Occurrence) -> str:
    """The sentence as HTML; where several tokens share a character, it is marked once."""
    parts, at = [], 0
    for begin, end in shown.spans:
        if end == 0:
            parts.append("<mark>␣</mark>")
        begin = max(begin, at)
        if end > begin:
            parts.append(f"{escape(shown.text[at:begin])}<mark>{escape(shown.text[begin:end])}</mark>")
            at = end
    return "".join([*parts, escape(shown.text[at:])])
