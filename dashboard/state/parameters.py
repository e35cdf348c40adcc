"""The one table of what an address holds: each parameter with its name, pages, field of the choice and text.

Knows no Streamlit. A new parameter is one line of `PARAMETERS`; its default is that of its field in `choice`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dashboard.state.choice import (
    LARGEST_SIGNIFICANCE_LEVEL,
    LEAST_SIGNIFICANCE_LEVEL,
    MOST_PICKED,
    SEARCH_MODES,
    STORY_PARTS,
    Choice,
)
from dashboard.state.report_words import LONGEST_TITLE
from dashboard.wording import (
    CERTIFIED_KINDS,
    CERTIFIED_ROWS,
    CERTIFIED_TEXTS,
    FREQUENCY_NAMES,
    KIND_NAMES,
    MAP_ACROSS,
    MAP_UP,
    MEASURE_NAMES,
    ORDER_NAMES,
    SCRIPT_NAMES,
    UNIT_NAMES,
    format_level,
    shorten,
)
from kslottery_core.ks import P_VALUE_METHODS
from kslottery_core.tickets import CORRECTIONS

MOST_SETS = 12
"""At most this many sets are compared with the present ticket: more make a picture that nobody reads."""

MOST_LEFT_BEHIND = 16
"""Tokens left behind up to which every larger ticket may be tried: twice as many models with each one more."""

_MOST_CHECKPOINTS = 64
_MOST_BLOCKS = 100
_MOST_SENTENCES = 1_000_000
_LONGEST_TEXT, _LONGEST_NAME, _LONGEST_BLOCK = 2000, 400, 40
_MOST_ID_DIGITS = 9  # no vocabulary needs more, and Python refuses to read thousands
_GROUPED = re.compile(r"\d{1,3}(?:([, ])\d{3})(?:\1\d{3})*")
_NONE, _ALL = "none", "all"

KEEP = object()
"""What a reader returns for the value where the choice stays as it is."""

Reading = tuple[Any, list[str]]
"""A value, or `KEEP`, and one sentence for each part of the text that cannot be used."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of the address.

    `part` is the field of `Choice` that is a record and holds `field`; None where `field` is one of `Choice` itself.
    `pages` are those whose address holds it; None for all. `read` gets its name, its text and the value so far; `write`
    gets a value that is not the default, and an empty text is left out. `absent` replaces the value where an address
    does not name the parameter. `clears` are fields of the part that return to their defaults where it does. `needs`
    says whether a choice has use for it; it is then written even as the default.
    """

    name: str
    part: str | None
    field: str
    read: Callable[[str, str, Any], Reading]
    write: Callable[[Any], str] = str
    pages: tuple[str, ...] | None = None
    absent: Any = KEEP
    clears: tuple[str, ...] = ()
    needs: Callable[[Choice], bool] | None = None

    def get(self, choice: Choice) -> Any:
        """The value of this parameter in a choice."""
        return getattr(choice if self.part is None else getattr(choice, self.part), self.field)

    def stands_on(self, page: str) -> bool:
        """Whether the address of this page holds it."""
        return self.pages is None or page in self.pages


def describe_refused(name: str, found: str, expected: str) -> str:
    """What an address asked for by the parameter `name`, and what was expected instead. Plain text."""
    return f"The address asks for {name} = {shorten(found)}; expected {expected}."


def read_token_id(text: str) -> int | None:
    """A token id, or None for what is none, thousands of digits too."""
    return int(text) if text.isdecimal() and len(text) <= _MOST_ID_DIGITS else None


def read_level(text: str) -> float | None:
    """A significance level that can be set; None for what is no number or beyond the least or the largest."""
    try:
        level = float(text)
    except ValueError:
        return None
    return level if LEAST_SIGNIFICANCE_LEVEL <= level <= LARGEST_SIGNIFICANCE_LEVEL else None


def read_top_k(text: str) -> int | None:
    """A number of tokens, from 1, with or without commas or spaces between thousands. None for anything else."""
    text = text.strip()
    if _GROUPED.fullmatch(text):
        text = re.sub(r"[, ]", "", text)
    return (read_token_id(text) or None) if text.isascii() else None


def read_levels(text: str) -> tuple[tuple[float, ...], list[str]]:
    """The levels of alpha in a text such as `0.01, 0.5`, each once, ascending; and what is wrong with the others."""
    levels, problems = [], []
    for part in text.replace(";", ",").split(","):
        if not part.strip():
            continue
        level = read_level(part)
        if level is None:
            problems.append(
                f"{shorten(part.strip())} is no level of α: expected numbers from {LEAST_SIGNIFICANCE_LEVEL:g} to "
                f"{LARGEST_SIGNIFICANCE_LEVEL:g} with commas between them, such as 0.01, 0.5."
            )
        else:
            levels.append(level)
    distinct = sorted(set(levels))
    if len(distinct) > MOST_SETS:
        problems.append(f"{len(distinct):,} levels are too many; the lowest {MOST_SETS} of them are taken.")
    return tuple(distinct[:MOST_SETS]), problems


def _read_text(
    longest: int = _LONGEST_TEXT, *, stripped: str | None = None, may_be_empty: bool = False
) -> Callable[[str, str, Any], Reading]:
    """Any text, without the characters `stripped` at its ends (None: white space); an empty one says nothing."""

    def read(name: str, text: str, _: Any) -> Reading:
        kept = text.strip(stripped)[:longest]
        return (kept if may_be_empty or text.strip() else KEEP), []

    return read


def _read_word(known: Iterable[str] | Mapping[str, Any]) -> Callable[[str, str, Any], Reading]:
    """One of some words; a mapping gives the value that each stands for."""
    values = known if isinstance(known, Mapping) and _are_values(known) else {word: word for word in known}

    def read(name: str, text: str, _: Any) -> Reading:
        if text in values:
            return values[text], []
        return KEEP, [describe_refused(name, text, f"one of {', '.join(values)}")]

    return read


def _are_values(known: Mapping[str, Any]) -> bool:
    return all(isinstance(value, bool) for value in known.values())


def _read_number(
    expected: str, *, least: int = 1, most: int = 10**12 - 1, words: Mapping[str, int] | None = None
) -> Callable[[str, str, Any], Reading]:
    """A whole number from `least` to `most`, or a word that stands for one."""

    def read(name: str, text: str, _: Any) -> Reading:
        if words and text in words:
            return words[text], []
        is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(most))
        number = int(text) if is_number else -1
        return (number, []) if least <= number <= most else (KEEP, [describe_refused(name, text, expected)])

    return read


def _read_words_of(noun: str, known: Mapping[str, str]) -> Callable[[str, str, Any], Reading]:
    """Some of the known words, with commas between them."""

    def read(name: str, text: str, _: Any) -> Reading:
        parts = [part for part in text.split(",") if part]
        unknown = [part for part in parts if part not in known]
        problems = [
            f"The address asks for tokens of {noun} {shorten(part)!r}; expected some of {', '.join(known)}."
            for part in unknown[:1]
        ]
        return tuple(dict.fromkeys(part for part in parts if part in known)), problems

    return read


def _read_lines(name: str, text: str, _: Any) -> Reading:
    lines = [line.strip()[:_LONGEST_TEXT] for line in text.splitlines() if line.strip()]
    return tuple(dict.fromkeys(lines))[: 2 * MOST_SETS], []


def _read_sets(name: str, text: str, value: Any) -> Reading:
    return ((), []) if text == _NONE else _read_lines(name, text, value)


def _read_compared_levels(name: str, text: str, _: Any) -> Reading:
    levels, wrong = read_levels("" if text == _NONE else text)
    return levels, [f"The address asks for {name} = {shorten(text)}; {problem}" for problem in wrong]


def _read_alpha(name: str, text: str, value: float) -> Reading:
    level = read_level(text)
    if level is not None:
        return level, []
    return KEEP, [
        f"The address asks for α = {shorten(text)}; expected a number from {LEAST_SIGNIFICANCE_LEVEL:g} to "
        f"{LARGEST_SIGNIFICANCE_LEVEL:g}, so α stays at {format_level(value)}."
    ]


def _read_top(name: str, text: str, _: Any) -> Reading:
    top_k = read_top_k(text)
    if top_k is not None:
        return top_k, []
    found = shorten(text)
    return KEEP, [f"The address asks for the {found!r} tokens with the largest D; expected a whole number from 1."]


def _read_token_ids(name: str, text: str, _: Any) -> Reading:
    ids = {part: read_token_id(part) for part in (part.strip() for part in text.split(",")) if part}
    problems = [
        f"The address asks for token {shorten(part)!r}; expected token ids, whole numbers from 0."
        for part in [part for part, token_id in ids.items() if token_id is None][:1]
    ]
    token_ids = tuple(dict.fromkeys(token_id for token_id in ids.values() if token_id is not None))
    if len(token_ids) > MOST_PICKED:
        problems.append(
            f"The address asks for {len(token_ids):,} tokens; no more than {MOST_PICKED} are picked together, so the "
            f"first {MOST_PICKED} are taken."
        )
    return token_ids[:MOST_PICKED], problems


def _read_checkpoints(name: str, text: str, _: Any) -> Reading:
    sources = tuple(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    if len(sources) <= _MOST_CHECKPOINTS:
        return sources, []
    problem = f"The address names {len(sources):,} checkpoints; the first {_MOST_CHECKPOINTS} of them are taken."
    return sources[:_MOST_CHECKPOINTS], [problem]


def _read_runs(name: str, text: str, _: Any) -> Reading:
    return tuple(part for part in text.split(",") if part), []


def _read_blocks(name: str, text: str, _: Any) -> Reading:
    names = [part.strip()[:_LONGEST_BLOCK] for part in text.split(",") if part.strip()]
    return tuple(dict.fromkeys(part for part in names[:_MOST_BLOCKS] if part != _NONE)), []


def _read_presenting(name: str, text: str, _: Any) -> Reading:
    problems = [] if text in ("yes", "no") else [describe_refused(name, text, "yes or no")]
    return text == "yes", problems


def _write_word(words: Mapping[str, Any]) -> Callable[[Any], str]:
    return {value: word for word, value in words.items()}.__getitem__


def _write_list(separator: str, *, empty: str = "") -> Callable[[Iterable[Any]], str]:
    return lambda values: separator.join(map(str, values)) or empty


def _write_text(value: str | None) -> str:
    return value or ""


def _write_number(value: int | None) -> str:
    return "" if value is None else str(value)


_LOG = {"log": True, "linear": False}
_ODDS = {"log": True, "odds": False}
_ANSWERS = {"yes": True, "no": False}
_SHOWN = {"shown": True, "hidden": False}
_DIRECTIONS = {"rising": True, "falling": False}
_COUNT = f"a whole number from 1 to {_MOST_SENTENCES:,}"
_ON_TOKENS, _ON_LAYERS, _ON_CHECKPOINTS = ("tokens",), ("layers", "report"), ("checkpoints", "report")
_ON_STUDIES, _ON_CERTIFICATES, _ON_REPORT = ("studies", "report"), ("certificates",), ("report",)
_ON_TOKENS_AND_REPORT, _ON_CERTIFICATES_AND_REPORT = ("tokens", "report"), ("certificates", "report")


def _text(name: str, part: str | None, field: str, pages: tuple[str, ...], **how: Any) -> Parameter:
    clears = how.pop("clears", ())
    return Parameter(name, part, field, _read_text(**how), _write_text, pages, clears=clears)


def _word(
    name: str, part: str, field: str, known: Iterable[str] | Mapping[str, Any], pages: tuple[str, ...] | None
) -> Parameter:
    write = _write_word(known) if isinstance(known, Mapping) and _are_values(known) else str
    return Parameter(name, part, field, _read_word(known), write, pages)


def _number(name: str, part: str, field: str, pages: tuple[str, ...], expected: str, **bounds: Any) -> Parameter:
    return Parameter(name, part, field, _read_number(expected, **bounds), _write_number, pages)


PARAMETERS = (
    Parameter("alpha", "alpha", "significance_level", _read_alpha, clears=("top_k",)),
    _word("correction", "alpha", "correction", CORRECTIONS, None),
    _word("p", "alpha", "p_value_method", P_VALUE_METHODS, None),
    Parameter("top", "alpha", "top_k", _read_top, _write_number),
    Parameter("tokens", None, "token_ids", _read_token_ids, _write_list(","), ("tokens", "checkpoints", "report")),
    _text("search", "token_filter", "search", _ON_TOKENS, stripped="", may_be_empty=True),
    _word("in", "token_filter", "mode", SEARCH_MODES, _ON_TOKENS),
    Parameter("kinds", "token_filter", "kinds", _read_words_of("kind", KIND_NAMES), _write_list(","), _ON_TOKENS),
    Parameter(
        "scripts", "token_filter", "scripts", _read_words_of("script", SCRIPT_NAMES), _write_list(","), _ON_TOKENS
    ),
    _word("winners", "token_filter", "winners", _ANSWERS, _ON_TOKENS),
    _word("changed", "token_filter", "changed", _ANSWERS, _ON_TOKENS),
    _word("in-prompt", "token_filter", "in_prompt", _ANSWERS, _ON_TOKENS),
    _number("frequency-from", "token_filter", "least_frequency", _ON_TOKENS, "a whole number from 0 on", least=0),
    _number("frequency-to", "token_filter", "most_frequency", _ON_TOKENS, "a whole number from 0 on", least=0),
    _word("sort", "token_order", "column", ORDER_NAMES, _ON_TOKENS),
    _word("direction", "token_order", "rising", _DIRECTIONS, _ON_TOKENS),
    _number("table-page", "token_order", "page", _ON_TOKENS, "a whole number from 1 on"),
    _text("counted-text", "token_text", "path", _ON_TOKENS_AND_REPORT),
    _word("counted", "token_text", "counted", list(FREQUENCY_NAMES), _ON_TOKENS_AND_REPORT),
    _text("counted-from", "token_text", "source", _ON_TOKENS_AND_REPORT),
    _text("counted-to", "token_text", "target", _ON_TOKENS_AND_REPORT),
    _text("counted-from-column", "token_text", "source_column", _ON_TOKENS_AND_REPORT),
    _text("counted-to-column", "token_text", "target_column", _ON_TOKENS_AND_REPORT),
    _word("overlap", "overlap", "shown", _SHOWN, _ON_TOKENS),
    Parameter("levels", "overlap", "levels", _read_compared_levels, _write_list(",", empty=_NONE), _ON_TOKENS),
    Parameter("sets", "overlap", "sets", _read_sets, _write_list("\n", empty=_NONE), _ON_TOKENS),
    Parameter("members", "overlap", "members", _read_lines, _write_list("\n"), _ON_TOKENS),
    _word("across", "token_map", "x", MAP_ACROSS, _ON_TOKENS_AND_REPORT),
    _word("up", "token_map", "y", MAP_UP, _ON_TOKENS_AND_REPORT),
    _word("map-scale", "token_map", "log_x", _LOG, _ON_TOKENS_AND_REPORT),
    _word("story", "story", "part", STORY_PARTS, _ON_TOKENS),
    _word("unit", "layers", "unit", UNIT_NAMES, _ON_LAYERS),
    _word("colour", "layers", "measure", MEASURE_NAMES, _ON_LAYERS),
    _word("scale", "layers", "log_scale", _LOG, _ON_LAYERS),
    _text("matrices", "layers", "pattern", _ON_LAYERS, longest=_LONGEST_NAME),
    _text("matrix", "layers", "parameter", _ON_LAYERS, longest=_LONGEST_NAME, stripped=""),
    Parameter("checkpoints", "checkpoints", "sources", _read_checkpoints, _write_list("\n"), _ON_CHECKPOINTS),
    _word("steps", "checkpoints", "log_steps", _LOG, _ON_CHECKPOINTS),
    _text("study", "studies", "study_id", _ON_STUDIES, longest=_LONGEST_NAME, stripped="", clears=("language",)),
    _text("languages", "studies", "language", _ON_STUDIES, longest=_LONGEST_NAME, stripped=""),
    _text("tokens-named", "certificates", "listed", _ON_CERTIFICATES, stripped="\r\n"),
    _text("text", "certificates", "path", _ON_CERTIFICATES, stripped="\r\n"),
    _text("from", "certificates", "source", _ON_CERTIFICATES, stripped="\r\n"),
    _text("to", "certificates", "target", _ON_CERTIFICATES, stripped="\r\n"),
    _text("from-column", "certificates", "source_column", _ON_CERTIFICATES, stripped="\r\n"),
    _text("to-column", "certificates", "target_column", _ON_CERTIFICATES, stripped="\r\n"),
    _text("prompt", "certificates", "prompt", _ON_CERTIFICATES, stripped="\r\n"),
    _word("rows", "certificates", "rows", CERTIFIED_ROWS, _ON_CERTIFICATES),
    _word("count", "certificates", "kind", CERTIFIED_KINDS, _ON_CERTIFICATES_AND_REPORT),
    _word("shown", "certificates", "text", CERTIFIED_TEXTS, _ON_CERTIFICATES),
    _word("axis", "certificates", "log_axis", _ODDS, _ON_CERTIFICATES_AND_REPORT),
    _number(
        "larger-tickets",
        "certificates",
        "larger_limit",
        _ON_CERTIFICATES,
        f"a whole number from 1 to {MOST_LEFT_BEHIND}",
        most=MOST_LEFT_BEHIND,
    ),
    Parameter(
        "sentences",
        "certificates",
        "limit",
        _read_number(f"{_COUNT}, or {_ALL}", most=_MOST_SENTENCES, words={_ALL: 0}),
        lambda limit: str(limit or _ALL),
        _ON_CERTIFICATES,
    ),
    _number("new-tokens", "certificates", "new_tokens", _ON_CERTIFICATES, _COUNT, most=_MOST_SENTENCES),
    _number("sentence", "certificates", "sentence", _ON_CERTIFICATES, _COUNT, most=_MOST_SENTENCES),
    Parameter("blocks", "report", "blocks", _read_blocks, _write_list(",", empty=_NONE), _ON_REPORT),
    _text("title", "report", "title", _ON_REPORT, longest=LONGEST_TITLE, stripped="", may_be_empty=True),
    # Only an address that says so goes on presenting, and only then the slide stands in it.
    Parameter("present", "report", "presenting", _read_presenting, _write_word(_ANSWERS), _ON_REPORT, absent=False),
    Parameter(
        "slide",
        "report",
        "slide",
        _read_number("a whole number from 1", most=9999),
        pages=_ON_REPORT,
        needs=lambda choice: choice.report.presenting,
    ),
    _text("run", None, "run_id", ("runs",), stripped=""),
    Parameter("runs", None, "compared_runs", _read_runs, _write_list(","), ("compare", "report")),
    _text("score", None, "measure", ("compare", "studies", "report"), stripped=""),
)
"""In the order in which problems are reported."""
