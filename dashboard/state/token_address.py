"""What the Tokens page puts into the address, and how it is read back. Knows no Streamlit."""

from __future__ import annotations

from dataclasses import replace

from dashboard.state.address_problem import describe_refused, describe_unknown
from dashboard.state.choice import (
    LARGEST_SIGNIFICANCE_LEVEL,
    LEAST_SIGNIFICANCE_LEVEL,
    SEARCH_MODES,
    OverlapView,
    TokenFilter,
    TokenOrder,
    TokenText,
)
from dashboard.wording import KIND_NAMES, ORDER_NAMES, SCRIPT_NAMES, shorten

MOST_SETS = 12
"""So many sets are held against the present ticket at most: more make a picture that nobody reads."""

_LONGEST_ENTRY = 2000
_MOST_DIGITS = 12
_NONE = "none"

_TEXT_ENTRIES = {
    "counted-text": "path",
    "counted-from": "source",
    "counted-to": "target",
    "counted-from-column": "source_column",
    "counted-to-column": "target_column",
}
_SWITCHES = {"winners": "winners", "changed": "changed", "in-prompt": "in_prompt"}
_ANSWERS = {"yes": True, "no": False}
_LISTS = {"kinds": ("kinds", "kind", KIND_NAMES), "scripts": ("scripts", "script", SCRIPT_NAMES)}
_BOUNDS = {"frequency-from": "least_frequency", "frequency-to": "most_frequency"}


def build_filter_address(wanted: TokenFilter) -> dict[str, str]:
    """The query parameters of the search and the filters; what has its default value is left out."""
    words = {value: word for word, value in _ANSWERS.items()}
    parts = {
        "search": wanted.search,
        "in": wanted.mode if wanted.mode != TokenFilter().mode else "",
        **{name: ",".join(getattr(wanted, entry)) for name, (entry, _, _) in _LISTS.items()},
        **{name: words.get(getattr(wanted, entry), "") for name, entry in _SWITCHES.items()},
        **{name: "" if (bound := getattr(wanted, entry)) is None else str(bound) for name, entry in _BOUNDS.items()},
    }
    return {name: text for name, text in parts.items() if text}


def read_filter_address(address: dict[str, str], wanted: TokenFilter) -> tuple[TokenFilter, list[str]]:
    """Apply query parameters; returns the filter with one sentence for each value that cannot be used."""
    problems = []
    if "search" in address:
        wanted = replace(wanted, search=address["search"][:_LONGEST_ENTRY])
    if address.get("in") in SEARCH_MODES:
        wanted = replace(wanted, mode=address["in"])
    elif "in" in address:
        problems.append(describe_unknown("in", address["in"], SEARCH_MODES))
    for name, (entry, noun, known) in _LISTS.items():
        if name in address:
            parts = [part for part in address[name].split(",") if part]
            unknown = [part for part in parts if part not in known]
            if unknown:
                problems.append(
                    f"The address asks for tokens of {noun} {shorten(unknown[0])!r}; expected some of "
                    f"{', '.join(known)}."
                )
            wanted = replace(wanted, **{entry: tuple(dict.fromkeys(part for part in parts if part in known))})
    for name, entry in _SWITCHES.items():
        if address.get(name) in _ANSWERS:
            wanted = replace(wanted, **{entry: _ANSWERS[address[name]]})
        elif name in address:
            problems.append(describe_unknown(name, address[name], _ANSWERS))
    for name, entry in _BOUNDS.items():
        number = _read_number(address.get(name, ""))
        if number is not None:
            wanted = replace(wanted, **{entry: number})
        elif name in address:
            problems.append(describe_refused(name, address[name], "a whole number from 0 on"))
    return wanted, problems


def build_order_address(order: TokenOrder) -> dict[str, str]:
    """The query parameters of the table's order and page; what has its default value is left out."""
    default = TokenOrder()
    parts = {
        "sort": order.column if order.column != default.column else "",
        "direction": "rising" if order.rising else "",
        "table-page": str(order.page) if order.page != default.page else "",
    }
    return {name: text for name, text in parts.items() if text}


def read_order_address(address: dict[str, str], order: TokenOrder) -> tuple[TokenOrder, list[str]]:
    """Apply query parameters; returns the order with one sentence for each value that cannot be used."""
    problems = []
    if address.get("sort") in ORDER_NAMES:
        order = replace(order, column=address["sort"])
    elif "sort" in address:
        problems.append(describe_unknown("sort", address["sort"], ORDER_NAMES))
    if address.get("direction") in ("rising", "falling"):
        order = replace(order, rising=address["direction"] == "rising")
    elif "direction" in address:
        problems.append(describe_unknown("direction", address["direction"], ("rising", "falling")))
    if "table-page" in address:
        page = _read_number(address["table-page"])
        if page:
            order = replace(order, page=page)
        else:
            problems.append(describe_refused("table-page", address["table-page"], "a whole number from 1 on"))
    return order, problems


def build_token_text_address(text: TokenText) -> dict[str, str]:
    """The query parameters of the text that frequencies come from; what is not chosen is left out."""
    return {name: value for name, entry in _TEXT_ENTRIES.items() if (value := getattr(text, entry))}


def read_token_text_address(address: dict[str, str], text: TokenText) -> TokenText:
    """Apply query parameters; whether there is such a text is the page's business."""
    found = {
        entry: address[name].strip()[:_LONGEST_ENTRY]
        for name, entry in _TEXT_ENTRIES.items()
        if address.get(name, "").strip()
    }
    return replace(text, **found)


def build_overlap_address(view: OverlapView) -> dict[str, str]:
    """The query parameters of the sets that are held against each other; keys stand one a line, for paths in them."""
    default, address = OverlapView(), {"overlap": "shown"} if view.shown else {}
    if view.levels != default.levels:
        address["levels"] = ",".join(map(str, view.levels)) or _NONE
    if view.sets is not None:
        address["sets"] = "\n".join(view.sets) or _NONE
    if view.members:
        address["members"] = "\n".join(view.members)
    return address


def read_overlap_address(address: dict[str, str], view: OverlapView) -> tuple[OverlapView, list[str]]:
    """Apply query parameters; which sets there are is the page's business."""
    problems = []
    if address.get("overlap") in ("shown", "hidden"):
        view = replace(view, shown=address["overlap"] == "shown")
    elif "overlap" in address:
        problems.append(describe_unknown("overlap", address["overlap"], ("shown", "hidden")))
    if "levels" in address:
        levels, wrong = read_levels("" if address["levels"] == _NONE else address["levels"])
        view = replace(view, levels=levels)
        problems += [f"The address asks for levels = {shorten(address['levels'])}; {problem}" for problem in wrong]
    if "sets" in address:
        view = replace(view, sets=() if address["sets"] == _NONE else _read_lines(address["sets"]))
    if "members" in address:
        view = replace(view, members=_read_lines(address["members"]))
    return view, problems


def read_levels(text: str) -> tuple[tuple[float, ...], list[str]]:
    """The levels of alpha in a text such as `0.01, 0.5`, each once, ascending; and what is wrong with the others."""
    levels, problems = [], []
    for part in text.replace(";", ",").split(","):
        if not part.strip():
            continue
        try:
            level = float(part)
        except ValueError:
            level = float("nan")
        if LEAST_SIGNIFICANCE_LEVEL <= level <= LARGEST_SIGNIFICANCE_LEVEL:
            levels.append(level)
        else:
            problems.append(
                f"{shorten(part.strip())} is no level of α: expected numbers from {LEAST_SIGNIFICANCE_LEVEL:g} to "
                f"{LARGEST_SIGNIFICANCE_LEVEL:g} with commas between them, such as 0.01, 0.5."
            )
    distinct = sorted(set(levels))
    if len(distinct) > MOST_SETS:
        problems.append(f"{len(distinct):,} levels are too many; the lowest {MOST_SETS} of them are taken.")
    return tuple(distinct[:MOST_SETS]), problems


def _read_lines(text: str) -> tuple[str, ...]:
    lines = [line.strip()[:_LONGEST_ENTRY] for line in text.splitlines() if line.strip()]
    return tuple(dict.fromkeys(lines))[: 2 * MOST_SETS]


def _read_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else None
