"""The stories of the picked tokens: which part of them is open, all of them in one picture, then each on its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from dashboard import loaders, state
from dashboard.controls.picture import show_picture
from dashboard.controls.token_text import get_token_spec
from dashboard.loaders import Comparison, SelectedTicket
from dashboard.loaders.vocabulary import load_pair_counts, name_text
from dashboard.report.csv_file import build_csv
from dashboard.state import STORY_PARTS
from dashboard.views.tokens.figures import (
    MOST_OVERLAID,
    NAMED_COORDINATES,
    cdf_difference_figure,
    coordinate_shift_figure,
    describe_coordinate_shifts,
    occurrences_figure,
    row_histogram_figure,
    sorted_shift_figure,
    summarise_coordinate_shifts,
    summarise_overlaid_token,
    summarise_row_histogram,
    token_cdf_figure,
)
from dashboard.views.tokens.loading import load_occurrences
from dashboard.views.tokens.neighbours import find_neighbours, show_token_neighbours
from dashboard.views.tokens.table import clear_picked_tokens
from dashboard.views.tokens.tickets import find_tickets, show_token_tickets
from dashboard.wording import (
    KIND_NAMES,
    NOT_DEFINED,
    escape_markdown,
    format_name,
    format_noun,
    format_number,
    format_token,
    shorten,
)
from kslottery_core.errors import KSLotteryError
from kslottery_core.ks import format_statistic

if TYPE_CHECKING:
    from kslottery_core.corpora import CorpusSpec, TokenOccurrences

_MOST_STORIES = 6

ShowToken = Callable[[int], None]


def show_token_stories(comparison: Comparison, selection: SelectedTicket, *, has_rows: bool = True) -> None:
    """Show the picked tokens, or how to pick some from the table, if it `has_rows`.

    A problem with one of them is shown in its own card.
    """
    picked = state.get_choice().token_ids
    absent = [token_id for token_id in picked if token_id >= comparison.result.vocabulary_size]
    if absent:
        st.warning(
            f"Token {absent[0]:,} is not in this pair; its ids end at {comparison.result.vocabulary_size - 1:,}."
        )
        state.choose(token_ids=[token_id for token_id in picked if token_id not in absent])
    present = [token_id for token_id in picked if token_id not in absent]
    if not present:
        if has_rows:
            st.info("Tick one or several rows of the table to see how the values of their embeddings moved.")
        return
    heading, clear = st.columns([5, 1], vertical_alignment="bottom")
    heading.header(f"{format_noun(len(present), 'token')} picked")
    clear.button("Clear", on_click=clear_picked_tokens, icon=":material/close:", key="clear_tokens")
    part = _choose_part()
    if part in ("values", "coordinates") and len(present) > 1:
        try:
            show_token_overlay(comparison, selection, present)
        except KSLotteryError as problem:
            st.error(escape_markdown(str(problem)))
    shown = present[:_MOST_STORIES]
    if len(present) > len(shown):
        st.caption(f"The first {_MOST_STORIES} of them are shown in full.")
    try:
        show_token = _prepare(part, comparison, selection, shown)
    except KSLotteryError as problem:
        st.error(escape_markdown(str(problem)))
        return
    if show_token is None:
        return
    for token_id in shown:
        with st.container(border=True):
            _show_title(comparison, selection, token_id)
            try:
                show_token(token_id)
            except KSLotteryError as problem:
                st.error(escape_markdown(str(problem)))


def _choose_part() -> str:
    st.session_state["story_part"] = state.get_choice().story.part
    return st.segmented_control(
        "Part of the story",
        list(STORY_PARTS),
        format_func=STORY_PARTS.__getitem__,
        key="story_part",
        wrap=True,
        required=True,
        on_change=lambda: state.change("story", part=st.session_state["story_part"]),
    )


def _prepare(part: str, comparison: Comparison, selection: SelectedTicket, shown: Sequence[int]) -> ShowToken | None:
    """Find what a part needs for all shown tokens at once; returns what draws one of them, None where nothing can be.

    Raises KSLotteryError.
    """
    if part == "neighbours":
        return partial(show_token_neighbours, comparison, find_neighbours(comparison, shown))
    if part == "text":
        found = find_occurrences(comparison, shown)
        return None if found is None else partial(show_token_occurrences, found)
    if part == "tickets":
        return partial(show_token_tickets, comparison, selection, find_tickets(comparison, selection))
    return partial(show_token_coordinates if part == "coordinates" else show_token_values, comparison)


def _show_title(comparison: Comparison, selection: SelectedTicket, token_id: int) -> None:
    title, badge = st.columns([6, 1], vertical_alignment="center")
    kind = format_name(KIND_NAMES, comparison.pair.token_kinds[token_id]).lower()
    title.markdown(f"### {format_token(comparison.pair.tokens[token_id])} :gray[token {token_id}, {kind}]")
    if selection.winners[token_id]:
        badge.badge("Winner", icon=":material/star:", color="green")
    else:
        badge.badge("Not a winner", color="gray")


def show_token_values(comparison: Comparison, token_id: int) -> None:
    """Show numbers and distributions of one token. Raises KSLotteryError when its rows cannot be read."""
    result = comparison.result
    gap = loaders.load_cdf_gap(comparison, token_id)
    rows = loaders.load_token_rows(comparison, token_id)
    numbers = (
        ("D", format_statistic(gap.statistic), f"{gap.count:,} of {gap.width:,} coordinates"),
        ("p-value", format_number(float(result.p_values[token_id])), "Exact, but not calibrated: the rows are paired"),
        ("L2 shift", format_number(float(result.l2_shift[token_id]), 4), "Distance between the rows"),
        ("Cosine", _write_defined(float(result.cosine[token_id])), "Of the angle between the rows"),
        ("Mean shift", format_number(float(result.mean_shift[token_id])), "Mean after minus mean before"),
        (
            "Spread ratio",
            _write_defined(float(result.spread_ratio[token_id])),
            "Spread after divided by spread before",
        ),
    )
    for column, (label, value, explanation) in zip(st.columns(len(numbers)), numbers, strict=True):
        column.metric(label, value, help=explanation)
    if gap.count == 0 and not result.changed[token_id]:
        st.caption("This row did not change, so both curves are the same.")
    left, right = st.columns(2)
    with left:
        show_picture(
            token_cdf_figure(gap),
            key=f"token_cdf_{token_id}",
            alt=f"Distribution functions of token {token_id} before and after, "
            f"largest gap {format_statistic(gap.statistic)}",
        )
    with right:
        show_picture(
            row_histogram_figure(summarise_row_histogram(*rows)),
            key=f"token_histogram_{token_id}",
            alt=f"Histogram of the values of token {token_id} before and after",
        )


def _write_defined(value: float) -> str:
    """A row of zeros has no direction, and one of equal values no spread; all was measured."""
    return NOT_DEFINED if math.isnan(value) else format_number(value, 4)


def show_token_coordinates(comparison: Comparison, token_id: int) -> None:
    """Show the sorted shifts of one token. Raises KSLotteryError when its rows cannot be read."""
    summary = summarise_coordinate_shifts(*loaders.load_token_rows(comparison, token_id))
    show_picture(
        coordinate_shift_figure(summary),
        key=f"token_shift_{token_id}",
        alt=f"Sorted shifts of the coordinates of token {token_id}",
        caption=describe_coordinate_shifts(summary),
    )


@dataclass(frozen=True, eq=False)
class FoundText:
    """A text and where it holds each of the shown tokens; `in_training` is how often training reads them, if asked."""

    spec: CorpusSpec
    tokens: dict[int, TokenOccurrences]
    in_training: dict[int, int] | None


def find_occurrences(comparison: Comparison, token_ids: Sequence[int]) -> FoundText | None:
    """Look for the tokens in the text that frequencies are counted in; without one, say where to choose it.

    Raises KSLotteryError.
    """
    spec = get_token_spec(comparison)
    if spec is None:
        st.info(
            "No text is chosen, or it cannot be read. Choose one above, where it says which text frequencies are "
            "counted in: then the sentences that hold the token are shown here."
        )
        return None
    with st.spinner("Looking for the tokens in the text…"):
        counts = None
        if state.get_choice().token_text.counted == "training":
            counts = load_pair_counts(comparison, spec, "training")
        in_training = None if counts is None else {token_id: int(counts[token_id]) for token_id in token_ids}
        return FoundText(spec, load_occurrences(comparison, spec, token_ids), in_training)


def show_token_occurrences(found: FoundText, token_id: int) -> None:
    """Show how often the text holds the token, and its first sentences."""
    token, spec = found.tokens[token_id], found.spec
    name = escape_markdown(shorten(name_text(spec)))
    if found.in_training is not None:
        st.markdown(
            f"Training reads the token **{format_noun(found.in_training[token_id], 'time')}**, in prompts and as a "
            "special token too. Below are the sentences alone."
        )
    if not token.total:
        st.markdown(
            f"The token does not occur in {name} ({format_noun(token.read, 'sentence')} on both sides). What a prompt "
            "puts around the sentences is not part of the text."
        )
        return
    shown = "" if token.sentences <= len(token.shown) else f" The first {len(token.shown)} of them:"
    st.markdown(
        f"**{format_noun(token.total, 'occurrence')}** in {token.sentences:,} of the {token.read:,} sentences on both "
        f"sides of {name}.{shown}"
    )
    if not any(sentence.spans for sentence in token.shown):
        st.caption("This tokenizer does not tell which characters a token stands for, so they are not marked.")
    st.html(occurrences_figure(token, {"source": spec.source_name, "target": spec.target_name}))


_MOST_NUMBERS = 20
"""So many tokens' numbers are on the screen; each is computed anew when the page is drawn."""

_SHARE = f"Share of {NAMED_COORDINATES} (%)"


def show_token_overlay(comparison: Comparison, selection: SelectedTicket, token_ids: Sequence[int]) -> None:
    """Show two or more tokens in one picture each way. Raises KSLotteryError when a row cannot be read."""
    overlaid = token_ids[:MOST_OVERLAID]
    tokens = [
        summarise_overlaid_token(
            token_id,
            comparison.pair.tokens[token_id],
            loaders.load_cdf_gap(comparison, token_id),
            *loaders.load_token_rows(comparison, token_id),
        )
        for token_id in overlaid
    ]
    with st.container(border=True):
        st.markdown("### All picked tokens")
        if len(token_ids) > len(overlaid):
            st.caption(f"The pictures show the first {len(overlaid)} of {format_noun(len(token_ids), 'token')}.")
        left, right = st.columns(2)
        names = ", ".join(token.name for token in tokens)
        with left:
            show_picture(
                cdf_difference_figure(tokens),
                key="token_overlay_differences",
                alt=f"Distribution function after minus before of the tokens {names}",
                caption="Where a line is above zero, more coordinates lie at or below that value after tuning than "
                "before. A diamond marks the largest gap D.",
            )
        with right:
            show_picture(
                sorted_shift_figure(tokens),
                key="token_overlay_shifts",
                alt=f"Sorted shifts of the coordinates of the tokens {names}",
                caption="The shifts of each token's coordinates, smallest first.",
            )
        listed = token_ids[:_MOST_NUMBERS]
        table = build_token_numbers(comparison, selection, listed)
        number = st.column_config.NumberColumn
        st.dataframe(
            table,
            hide_index=True,
            key="token_overlay_numbers",
            placeholder="not defined",
            column_config={
                "D": number(format="%.4f", help="Largest gap between the two distributions, 0 to 1"),
                "k": number(format="%d", help="D as a whole number of coordinates"),
                "p": number(format="%.3g", help="Exact p-value; not calibrated: before and after are paired"),
                "Gap at": number(format="%.4g", help="The value at which the gap is largest"),
                "L2 shift": number(format="%.4g", help="Distance between the rows"),
                "Cosine": number(format="%.4f", help="Of the angle between the rows"),
                "Mean shift": number(format="%.3g", help="Mean after minus mean before"),
                "Spread ratio": number(format="%.4f", help="Spread after divided by spread before"),
                _SHARE: number(
                    format="%.3g",
                    help=f"How much of the squared L2 shift lies in the {NAMED_COORDINATES} coordinates that moved "
                    "furthest",
                ),
            },
            alt="Numbers of the picked tokens",
        )
        if len(token_ids) > len(listed):
            st.caption(
                f"The table holds the first {len(listed)} of {format_noun(len(token_ids), 'token')}, the CSV file all "
                "of them."
            )
        st.download_button(
            "These numbers as CSV",
            data=lambda: build_csv(build_token_numbers(comparison, selection, token_ids)),
            file_name="picked-tokens.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
            key="token_overlay_csv",
        )


def build_token_numbers(comparison: Comparison, selection: SelectedTicket, token_ids: Sequence[int]) -> pd.DataFrame:
    """One row a token with every number of its story; empty where a number is not defined."""
    result, pair = comparison.result, comparison.pair
    rows = []
    for token_id in token_ids:
        gap = loaders.load_cdf_gap(comparison, token_id)
        shifts = summarise_coordinate_shifts(*loaders.load_token_rows(comparison, token_id))
        rows.append(
            {
                "Id": token_id,
                "Token": pair.tokens[token_id],
                "Winner": bool(selection.winners[token_id]),
                "D": gap.statistic,
                "k": gap.count,
                "p": float(result.p_values[token_id]),
                "Gap at": gap.gap_value if gap.count else None,
                "L2 shift": float(result.l2_shift[token_id]),
                "Cosine": float(result.cosine[token_id]),
                "Mean shift": float(result.mean_shift[token_id]),
                "Spread ratio": float(result.spread_ratio[token_id]),
                _SHARE: None if shifts.largest_share is None else 100 * shifts.largest_share,
            }
        )
    return pd.DataFrame(rows)
