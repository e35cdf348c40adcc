"""The person's own words in a report: kept for the session, saved and loaded as a small JSON. Knows no Streamlit."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

from dashboard.state.choice import ReportView
from dashboard.wording import shorten
from kslottery_core.errors import KSLotteryError

_VERSION = 1
LONGEST_TITLE, LONGEST_AUTHOR, LONGEST_TEXT = 200, 200, 20_000
"""How many characters each may have, wherever it comes from: fields, a file, an address."""

_MOST_BLOCKS = 100
_KEYS = {"version", "title", "author", "blocks", "words"}


class ReportWordsError(KSLotteryError):
    """Saved words that cannot be read; the message says what was expected and found."""


@dataclass(frozen=True)
class ReportWords:
    """The author's line, and (before, after) of a block by its name. Words of a block that is left out are kept."""

    author: str = ""
    around: dict[str, tuple[str, str]] = field(default_factory=dict)

    def get_before(self, name: str) -> str:
        """The words before a block."""
        return self.around.get(name, ("", ""))[0]

    def get_after(self, name: str) -> str:
        """The words after a block."""
        return self.around.get(name, ("", ""))[1]

    def turn_to(self, name: str, *, before: str | None = None, after: str | None = None) -> ReportWords:
        """The same with other words around a block; None leaves them."""
        old = self.around.get(name, ("", ""))
        new = (old[0] if before is None else before, old[1] if after is None else after)
        return replace(self, around={**self.around, name: new})


def build_words_file(view: ReportView, words: ReportWords) -> str:
    """The report's title, its chosen blocks and all words as JSON."""
    content = {
        "version": _VERSION,
        "title": view.title,
        "author": words.author,
        "blocks": None if view.blocks is None else list(view.blocks),
        "words": {
            name: {"before": before, "after": after}
            for name, (before, after) in words.around.items()
            if before or after
        },
    }
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def read_words_file(content: bytes, name: str) -> tuple[ReportView, ReportWords]:
    """What `build_words_file` wrote. Raises ReportWordsError naming the file and what is wrong in it."""
    try:
        mapping = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise ReportWordsError(
            f"{name}: expected the words of a report, found no JSON; choose a file that was saved on this page."
        ) from None
    if not isinstance(mapping, dict) or mapping.get("version") != _VERSION or mapping.keys() != _KEYS:
        raise ReportWordsError(
            f"{name}: expected the words of a report (version {_VERSION}, title, author, blocks and words), found "
            f"{shorten(str(mapping))!r}; choose a file that was saved on this page."
        )
    blocks, words = mapping["blocks"], mapping["words"]
    if blocks is not None:
        _check(isinstance(blocks, list) and len(blocks) <= _MOST_BLOCKS, name, "blocks", "a list of names", blocks)
        blocks = tuple(dict.fromkeys(_read_text(block, name, "blocks") for block in blocks))
    _check(isinstance(words, dict) and len(words) <= _MOST_BLOCKS, name, "words", "texts by block", words)
    around: dict[str, tuple[str, str]] = {}
    for block, texts in words.items():
        _read_text(block, name, "words")
        _check(isinstance(texts, dict) and texts.keys() <= {"before", "after"}, name, block, "before and after", texts)
        around[block] = (
            _read_text(texts.get("before", ""), name, block),
            _read_text(texts.get("after", ""), name, block),
        )
    view = ReportView(blocks=blocks, title=_read_text(mapping["title"], name, "title", LONGEST_TITLE))
    return view, ReportWords(_read_text(mapping["author"], name, "author", LONGEST_AUTHOR), around)


def _read_text(value: object, name: str, item: str, longest: int = LONGEST_TEXT) -> str:
    is_text = isinstance(value, str) and len(value) <= longest
    _check(is_text, name, item, f"a text of at most {longest:,} characters", value)
    text = str(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as problem:
        _check(False, name, item, "a text that can be written as UTF-8", text[problem.start])
    return text


def _check(holds: bool, name: str, item: str, expected: str, found: object) -> None:
    if not holds:
        raise ReportWordsError(f"{name}: {shorten(item)}: expected {expected}, found {shorten(str(found))!r}.")
