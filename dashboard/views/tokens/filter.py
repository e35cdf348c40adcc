"""The search and the filters of the tokens: everything on the page below them shows what passes."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.loaders import Comparison
from dashboard.state import SEARCH_MODES, TokenFilter
from dashboard.views.tokens.search_loading import TokenSearchError, load_prompt_mask, load_search_mask
from dashboard.wording import KIND_NAMES, SCRIPT_NAMES, escape_markdown, format_code, format_name, shorten
from kslottery_core.errors import KSLotteryError

_WIDGETS = {entry: f"token_{entry}" for entry in TokenFilter.__dataclass_fields__} | {"mode": "token_search_mode"}
_LISTS = {"kinds": ("Kinds", KIND_NAMES), "scripts": ("Scripts", SCRIPT_NAMES)}
_SWITCHES = {
    "winners": ("Winners", {"all": "All", "yes": "Winners", "no": "Not winners"}),
    "changed": ("Rows", {"all": "All", "yes": "Changed", "no": "Not changed"}),
    "in_prompt": ("Prompt template", {"all": "All", "yes": "In the template", "no": "Not in the template"}),
}
_ANSWERS = {"all": None, "yes": True, "no": False}
_PATTERN_SIGNS = re.compile(r"^\^|\$$|\[.+\]|\(.+\)|[.)\]][*+?]|\w\*|\\\w|\w\|\w|\{\d+,?\d*\}")
_MODE_LABEL = "Search in"
_BOUNDS = {"least_frequency": "Frequency from", "most_frequency": "Frequency to"}


def filter_tokens(
    table: pd.DataFrame, wanted: TokenFilter, *, found: np.ndarray | None = None, in_prompt: np.ndarray | None = None
) -> pd.DataFrame:
    """The rows of the token table (V rows, with `winner` and where measured `frequency`) that pass, in its order.

    `found` (V,) in the table's order is what the search finds; `in_prompt` (V,) by token id says which tokens are the
    prompt's; None leaves either filter out. Raises TokenSearchError for a range of frequencies that holds no number.
    """
    keep = np.ones(len(table), dtype=bool) if found is None else found.copy()
    for entry, column in (("winners", "winner"), ("changed", "changed")):
        asked = getattr(wanted, entry)
        if asked is not None:
            keep &= table[column].to_numpy() == asked
    if wanted.in_prompt is not None and in_prompt is not None:
        keep &= in_prompt[table["token_id"].to_numpy()] == wanted.in_prompt
    for column, names in (("kind", wanted.kinds), ("script", wanted.scripts)):
        if names:
            column_values = table[column].array
            codes = column_values.categories.get_indexer(list(names))
            keep &= np.isin(column_values.codes, codes[codes >= 0])
    least, most = wanted.least_frequency, wanted.most_frequency
    if least is not None and most is not None and least > most:
        raise TokenSearchError(
            f"The frequencies from {least:,} to {most:,} hold no number: expected the first not above the second. "
            "Change one of the two."
        )
    if "frequency" in table:
        if least is not None:
            keep &= table["frequency"].to_numpy() >= least
        if most is not None:
            keep &= table["frequency"].to_numpy() <= most
    return table if keep.all() else table[keep]


def show_token_filter(comparison: Comparison, table: pd.DataFrame) -> pd.DataFrame:
    """The search field and the filters; returns the tokens that pass them.

    Each entry writes the session's choice, so that the address restores it. Raises KSLotteryError with one sentence
    for an entry that cannot be understood.
    """
    wanted = state.get_choice().token_filter
    present = {
        entry: [name for name in names if name in table[entry.removesuffix("s")].array.categories]
        for entry, (_, names) in _LISTS.items()
    }
    wanted = replace(
        wanted, **{entry: tuple(n for n in getattr(wanted, entry) if n in names) for entry, names in present.items()}
    )
    for entry, key in _WIDGETS.items():
        value = getattr(wanted, entry)
        if entry in _SWITCHES:
            value = next(word for word, answer in _ANSWERS.items() if answer is value)
        st.session_state[key] = list(value) if entry in _LISTS else value
    _show_widgets(present, has_frequency="frequency" in table)
    in_prompt = None if wanted.in_prompt is None else _find_prompt_tokens(comparison)
    found = load_search_mask(comparison, wanted.search, wanted.mode)
    if wanted.mode == "text" and found is not None and not found.any() and _PATTERN_SIGNS.search(wanted.search.strip()):
        st.info(
            f"No token holds the signs {format_code(shorten(wanted.search))}: {SEARCH_MODES['text']} looks for these "
            f"very signs; to search with a pattern, choose {SEARCH_MODES['pattern']} under “{_MODE_LABEL}”."
        )
    return filter_tokens(table, wanted, found=found, in_prompt=in_prompt)


def _show_widgets(present: dict[str, list[str]], *, has_frequency: bool) -> None:
    search, mode, winners, changed, in_prompt = st.columns([3, 2, 1.6, 1.6, 2], vertical_alignment="bottom")
    search.text_input(
        "Search", key=_WIDGETS["search"], placeholder="the, 13, ^␣[A-Z]", type="search", on_change=_take_filter
    )
    mode.selectbox(
        _MODE_LABEL,
        list(SEARCH_MODES),
        format_func=SEARCH_MODES.__getitem__,
        key=_WIDGETS["mode"],
        on_change=_take_filter,
    )
    helps = {"in_prompt": "Tokens of the default prompt template, without those of the sentence in it"}
    for place, entry in ((winners, "winners"), (changed, "changed"), (in_prompt, "in_prompt")):
        label, answers = _SWITCHES[entry]
        place.selectbox(
            label,
            list(answers),
            format_func=answers.__getitem__,
            key=_WIDGETS[entry],
            help=helps.get(entry),
            on_change=_take_filter,
        )
    kinds, scripts, least, most = st.columns([3, 3, 1.5, 1.5], vertical_alignment="bottom")
    for place, (entry, (label, names)) in zip((kinds, scripts), _LISTS.items(), strict=True):
        place.multiselect(
            label,
            present[entry],
            format_func=lambda name, names=names: format_name(names, name),
            key=_WIDGETS[entry],
            placeholder=f"All {label.lower()}",
            on_change=_take_filter,
        )
    for place, (entry, label) in zip((least, most), _BOUNDS.items(), strict=True):
        place.number_input(
            label,
            min_value=0,
            value=None,
            step=1,
            key=_WIDGETS[entry],
            placeholder="any" if has_frequency else "no text",
            disabled=not has_frequency,
            help="Occurrences in the text that frequencies are counted in" + ("" if has_frequency else "; choose one"),
            on_change=_take_filter,
        )


def _take_filter() -> None:
    values = {entry: st.session_state[key] for entry, key in _WIDGETS.items()}
    values |= {entry: tuple(values[entry] or ()) for entry in _LISTS}
    values |= {entry: _ANSWERS[values[entry]] for entry in _SWITCHES}
    state.choose(token_filter=TokenFilter(**{**values, "search": values["search"] or ""}))


def clear_token_filter() -> None:
    """Search for nothing and let every token pass."""
    state.choose(token_filter=TokenFilter())


def _find_prompt_tokens(comparison: Comparison) -> np.ndarray | None:
    """The tokens of the default template, in the languages of the counted text; says which, or what is missing."""
    from kslottery_core.corpora import DEFAULT_PROMPT, CorpusSpec, name_language

    # Only what the address restores: what stands in the run form would be another filter behind the same link.
    text = state.get_choice().token_text
    languages = {f"{side}_language": getattr(text, side) or getattr(CorpusSpec, side) for side in ("source", "target")}
    try:
        mask = load_prompt_mask(comparison, DEFAULT_PROMPT, **languages)
    except KSLotteryError as problem:
        st.warning(f"Whether a token is in the prompt template is not known: {escape_markdown(str(problem))}")
        return None
    words = format_code(DEFAULT_PROMPT)
    named = " to ".join(escape_markdown(name_language(code)) for code in languages.values())
    st.caption(f"The prompt template is the default one, for translating from {named}: {words}")
    return mask
