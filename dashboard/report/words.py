"""A person's words as HTML: all escaped, with paragraphs, lists, **bold**, *italic* and `code` and nothing else."""

from __future__ import annotations

import html
import re

_CODE = re.compile(r"`([^`\n]+)`")
_BOLD = re.compile(r"\*\*(?!\s)([^*]+)(?<!\s)\*\*")
_ITALIC = re.compile(r"\*(?!\s)([^*]+)(?<!\s)\*")  # 2 * 3 * 4 stays as it is
_ITEM = re.compile(r"^\s*[-*]\s+(?=\S)")


def render_words(text: str) -> str:
    """Safe HTML of a text. A blank line ends a paragraph, a line that begins with - is an item of a list."""
    parts: list[str] = []
    for piece in re.split(r"\n\s*\n", text.replace("\r\n", "\n").strip()):
        lines = piece.splitlines()
        start = 0
        while start < len(lines):
            is_item = bool(_ITEM.match(lines[start]))
            end = start
            while end < len(lines) and bool(_ITEM.match(lines[end])) == is_item:
                end += 1
            shown = [_render_line(_ITEM.sub("", line) if is_item else line) for line in lines[start:end]]
            parts.append(
                "<ul>" + "".join(f"<li>{line}</li>" for line in shown) + "</ul>"
                if is_item
                else "<p>" + "<br>".join(shown) + "</p>"
            )
            start = end
    return "\n".join(parts)


def _render_line(line: str) -> str:
    """Signs are read from escaped text, which holds none of its own; what stands in `code` is left as it is."""
    pieces = _CODE.split(html.escape(line.strip()))
    for place in range(0, len(pieces), 2):
        pieces[place] = _ITALIC.sub(r"<em>\1</em>", _BOLD.sub(r"<strong>\1</strong>", pieces[place]))
    pieces[1::2] = [f"<code>{piece}</code>" for piece in pieces[1::2]]
    return "".join(pieces)
