"""A report as one HTML file that needs nothing but a browser: no server, no network, nothing installed."""

from __future__ import annotations

import base64
import functools
import hashlib
import html
from pathlib import Path
from typing import Any

from dashboard.report.block import Picture, Table
from dashboard.report.csv_file import build_csv
from dashboard.report.html_table import render_table
from dashboard.report.report import Report, Section
from dashboard.report.words import render_words
from dashboard.wording import format_moment

_PAGE = Path(__file__).with_name("page")
_MOST_ROWS = 200  # in sight; the CSV file holds all
_MOST_COLUMNS = 9  # more are set in small type, or they would not fit a page
_FORMATS = (("svg", "SVG", "lines and letters that stay sharp at any size"), ("png", "PNG", "an image of pixels"))


def build_html(report: Report) -> bytes:
    """The whole file, UTF-8. Everything that is not written here is escaped, and no script runs but the file's own."""
    numbered = _number_sections(report)
    content = {
        "name": name_file(report),
        "pictures": [
            {"id": picture_id, "name": f"{number:02}-{section.name}-{place}", "figure": _read_figure(picture)}
            for number, section in enumerate(report.sections, 1)
            for place, (picture_id, picture) in enumerate(numbered[section.name][0], 1)
        ],
        "tables": [
            {"id": table_id, "name": f"{section.name}-{place}", "csv": build_csv(table.dataframe).decode()}
            for section in report.sections
            for place, (table_id, table) in enumerate(numbered[section.name][1], 1)
        ],
    }
    scripts = (_load_plotly(), (_PAGE / "zip.js").read_text("utf-8"), (_PAGE / "report.js").read_text("utf-8"))
    page = (_PAGE / "report.html").read_text("utf-8")
    parts = {
        "policy": _build_policy(scripts),
        "title": html.escape(report.title),
        "style": (_PAGE / "report.css").read_text("utf-8"),
        "byline": html.escape(", ".join(part for part in (report.author, format_moment(report.moment)) if part)),
        "contents": "\n".join(
            f'<li><a href="#{section.name}">{html.escape(section.block.title)}</a></li>' for section in report.sections
        ),
        "sections": "\n".join(_render_section(section, *numbered[section.name]) for section in report.sections),
        "data": encode_json(content),
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    # One pass over the template: what a part holds is never looked at again, whatever it looks like.
    return "".join(parts[piece] if place % 2 else piece for place, piece in enumerate(page.split("%%"))).encode("utf-8")


def name_file(report: Report) -> str:
    """A file name without its ending, from the report's title: letters, digits and hyphens of any language."""
    signs = "".join(sign if sign.isalnum() else " " for sign in report.title)
    return "-".join(signs.lower().split())[:80] or "report"


def encode_json(content: Any) -> str:
    """JSON that can stand inside a script element: no sign in it can end that, or begin a comment."""
    from plotly.io.json import to_json_plotly

    text = to_json_plotly(content)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _number_sections(report: Report) -> dict[str, tuple[list[tuple[str, Picture]], list[tuple[str, Table]]]]:
    return {
        section.name: (
            [(f"{section.name}-picture-{place}", item) for place, item in enumerate(section.block.pictures, 1)],
            [(f"{section.name}-table-{place}", item) for place, item in enumerate(section.block.tables, 1)],
        )
        for section in report.sections
    }


@functools.cache
def _load_plotly() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs().replace("</script", "<\\/script")


def _build_policy(scripts: tuple[str, ...]) -> str:
    """Only these very scripts may run, and none of them may fetch anything."""
    digests = (base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode() for script in scripts)
    sources = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _read_figure(picture: Picture) -> dict[str, Any]:
    figure = picture.figure.to_plotly_json()
    # The page has one look for all pictures; a template would come with each of them.
    figure["layout"] = {name: value for name, value in figure["layout"].items() if name != "template"}
    return {"data": figure["data"], "layout": figure["layout"]}


def _render_section(section: Section, pictures: list[tuple[str, Picture]], tables: list[tuple[str, Table]]) -> str:
    block = section.block
    parts = [f'<section id="{section.name}">', _render_words(section.before), f"<h2>{html.escape(block.title)}</h2>"]
    if block.problem is not None:
        parts.append(f'<p class="problem">{html.escape(block.problem)}</p>')
    parts += [f"<p>{html.escape(paragraph)}</p>" for paragraph in block.paragraphs]
    parts += [_render_picture(*numbered) for numbered in pictures]
    parts += [_render_table(*numbered) for numbered in tables]
    if not pictures and not tables and block.signature and block.problem is None:
        parts.append(f'<p class="signature">{html.escape(block.signature)}</p>')
    return "\n".join([*parts, _render_words(section.after), "</section>"])


def _render_words(text: str) -> str:
    words = render_words(text)
    return f'<div class="words">{words}</div>' if words else ""


def _render_picture(picture_id: str, picture: Picture) -> str:
    alt = html.escape(picture.alt)
    height = picture.figure.layout.height
    buttons = "".join(
        f'<button type="button" data-picture="{picture_id}" data-format="{name}" title="Save as {label}: {meaning}" '
        f'aria-label="Save the picture as {label}: {alt}">{label}</button>'
        for name, label, meaning in _FORMATS
    )
    return (
        f'<figure><div class="picture" id="{picture_id}" role="group" aria-label="{alt}" style="height:{height:.0f}px">'
        f"</div><figcaption>{html.escape(picture.caption)}</figcaption>"
        f'<p class="buttons">{buttons}</p></figure>'
    )


def _render_table(table_id: str, table: Table) -> str:
    rows, caption = len(table.dataframe), table.caption
    note = f" The first {_MOST_ROWS:,} of {rows:,} rows are shown; the CSV file holds all." if rows > _MOST_ROWS else ""
    shown = render_table(table, caption=caption + ("." + note if note else ""), most_rows=_MOST_ROWS)
    wide = " wide" if len(table.dataframe.columns) > _MOST_COLUMNS else ""
    return (
        f'<div class="table{wide}"><div class="scroll" tabindex="0" role="region" aria-label="{html.escape(caption)}">'
        f'{shown}</div><p class="more" hidden>Scroll sideways for more columns; the CSV file holds all.</p>'
        f'<p class="signature">{html.escape(table.signature or "")}</p>'
        f'<p class="buttons"><button type="button" data-table="{table_id}" '
        f'aria-label="Save the table as CSV: {html.escape(caption)}">CSV</button></p></div>'
    )
