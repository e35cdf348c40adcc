"""Several after checkpoints beside one before: winners in each, how far they agree, how D grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import loaders, state
from dashboard.controls.alpha_control import show_alpha_control
from dashboard.controls.checkpoint_picker import (
    edit_checkpoints,
    may_open,
    name_checkpoints,
    show_checkpoint_picker,
    show_how_to_begin,
)
from dashboard.controls.empty_ticket import offer_level
from dashboard.controls.metric_row import ShownNumber, show_metric_row
from dashboard.controls.pair_header import make_row_progress, show_no_pair
from dashboard.controls.picture import show_picture
from dashboard.loaders import PairChoice
from dashboard.loaders.series import (
    SeriesComparison,
    SeriesSelection,
    expand_sources,
    load_series,
    load_series_selection,
)
from dashboard.report.csv_file import build_csv
from dashboard.views.checkpoints.figures import (
    WinnerBars,
    growth_figure,
    overlap_figure,
    summarise_growth,
    summarise_overlap,
    summarise_sharing,
    winner_bar_figure,
)
from dashboard.views.checkpoints.tables import build_checkpoint_table, build_overlap_table
from dashboard.wording import escape_markdown, format_code, format_count, format_noun, format_number, format_share
from kslottery_core.errors import KSLotteryError
from kslottery_core.ks import format_statistic

_MOST_ROWS = 10
_MOST_TOKENS = 2000


def build_series_table(
    comparison: SeriesComparison, selection: SeriesSelection, labels: Sequence[str], growth: np.ndarray | None
) -> pd.DataFrame:
    """One row a token, (V,): those in most tickets first, then those of the largest D anywhere."""
    statistics = np.stack([result.statistics for result in comparison.found.results])  # (A, V)
    table = pd.DataFrame(
        {
            "Id": np.arange(comparison.found.vocabulary_size),
            "Token": list(comparison.opened.tokens),
            "In tickets": selection.overlap.holders,
            "Largest D": statistics.max(axis=0),
        }
    )
    if growth is not None:
        table["Growth"] = growth
    for label, values in zip(labels, statistics, strict=True):
        table[_find_free(f"D, {label}", table.columns)] = values
    return table.sort_values(["In tickets", "Largest D", "Id"], ascending=[False, False, True], ignore_index=True)


def _find_free(name: str, taken: Sequence[str]) -> str:
    """Two checkpoints may have one label; two columns may not."""
    number, free = 2, name
    while free in taken:
        number, free = number + 1, f"{name} ({number})"
    return free


def show_tables(checkpoints: pd.DataFrame, overlaps: pd.DataFrame, tokens: pd.DataFrame) -> None:
    """The three tables behind the pictures, one at a time, each with its download."""
    st.header("The numbers")
    first, second, third = st.tabs(["Tokens", "Checkpoints", "Overlaps"])
    with first:
        winners = tokens[tokens["In tickets"] > 0]
        shown = (winners if len(winners) else tokens)[:_MOST_TOKENS]
        what = "that win somewhere" if len(winners) else "by the largest D; none of them wins"
        st.caption(f"{len(shown):,} of {len(tokens):,} tokens, {what}. The download holds all of them.")
        _show_table(shown, "series_tokens", "Tokens with D in each checkpoint")
        _show_download("All tokens as CSV", tokens, "checkpoint-tokens.csv", "series_tokens_csv")
    with second:
        _show_table(checkpoints, "series_checkpoints", "Winners of each checkpoint")
        _show_download("Checkpoints as CSV", checkpoints, "checkpoints.csv", "series_checkpoints_csv")
    with third:
        _show_table(overlaps, "series_overlaps", "Overlap of each two tickets")
        _show_download("Overlaps as CSV", overlaps, "checkpoint-overlaps.csv", "series_overlaps_csv")


def _show_table(table: pd.DataFrame, key: str, alt: str) -> None:
    number = st.column_config.NumberColumn
    config: dict[str, object] = {
        "Id": number(format="%d", width=60),
        "Token": st.column_config.TextColumn(width=120),
        "Share": number(format="%.3g %%"),
        "Winners": number(format="localized"),
        "Rows changed": number(format="localized"),
        "Jaccard": number(format="%.4g"),
        "By chance": number(format="%.4g", help="Expected Jaccard of random tickets of these sizes"),
        "Growth": number(format="%.4f", help="D at the last step minus D at the first; seeds at one step are averaged"),
    }
    config |= {name: number(format="%.4f") for name in table.columns if name.startswith("D, ") or name.endswith(" D")}
    st.dataframe(
        table,
        key=key,
        hide_index=True,
        height=40 + 35 * min(max(len(table), 1), _MOST_ROWS),
        column_config=config,
        placeholder="",
        alt=alt,
    )


def _show_download(label: str, table: pd.DataFrame, file_name: str, key: str) -> None:
    st.download_button(
        label,
        data=lambda: build_csv(table),
        file_name=file_name,
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key=key,
    )


_LINES = 6
_MOST_OPTIONS = 300


@dataclass(frozen=True, eq=False)
class _Shown:
    """What the parts of the page speak of; labels and steps as the person has them."""

    comparison: SeriesComparison
    selection: SeriesSelection
    labels: tuple[str, ...]
    steps: tuple[int | None, ...]


def render() -> None:
    """Show the picker; with checkpoints chosen, what they have in common."""
    st.title("Do the same tokens win again?")
    st.markdown(
        "Several checkpoints tuned from one model (seeds, languages, steps of one training), each compared with the "
        "model as it was before: how many tokens win in each, how far the winners agree, and how D grows."
    )
    choice = _find_before()
    if choice is None:
        show_no_pair()
        return
    name = "that of the bundled demo" if loaders.is_demo(choice) else format_code(choice.before or "")
    st.caption(f"The before model: {name}")
    runs = show_checkpoint_picker(choice)
    sources = expand_sources(state.get_choice().checkpoints.sources)
    if not sources:
        show_how_to_begin(choice, runs)
        return
    if not may_open(choice, sources):
        return
    comparison = _load(choice, sources)
    if comparison is None:
        return
    names = name_checkpoints(sources, runs)
    labels, steps = edit_checkpoints(sources, names, comparison.opened.steps)
    if len(sources) == 1:
        st.info(
            "One checkpoint is no series: name at least two to see what they have in common. The same one named twice "
            "counts once; the Pair page shows a single one."
        )
        return
    show_alpha_control()
    selection = load_series_selection(comparison, state.get_choice().alpha)
    shown = _Shown(comparison, selection, labels, steps)
    _show_numbers(shown)
    _show_no_winner(shown)
    _show_winners(shown)
    _show_overlap(shown)
    growth = replace(comparison.found, steps=steps).compute_growth()
    tokens = build_series_table(comparison, selection, labels, growth)
    _show_growth(shown, tokens)
    show_tables(
        build_checkpoint_table(comparison, selection, labels, steps), build_overlap_table(selection, labels), tokens
    )
    _show_details(comparison)


def _find_before() -> PairChoice | None:
    """A pair's before side is enough here."""
    choice = state.get_choice().pair
    return choice if choice.before else loaders.resolve_choice(choice)


def _load(choice: PairChoice, sources: tuple[str, ...]) -> SeriesComparison | None:
    place = st.empty()
    try:
        with place.container(), st.spinner("Opening the checkpoints…"):
            comparison = load_series(choice, sources, make_row_progress())
    except KSLotteryError as problem:
        place.empty()
        st.error(escape_markdown(str(problem)))
        return None
    place.empty()
    if comparison.cache_problem:
        reason = escape_markdown(comparison.cache_problem)
        st.warning(f"The result is shown but could not be kept for next time: {reason}")
    return comparison


def _show_numbers(shown: _Shown) -> None:
    overlap, amount = shown.selection.overlap, len(shown.labels)
    level = format_number(state.get_choice().alpha.significance_level, 6)
    sharing, whole = summarise_sharing(overlap), overlap.vocabulary_size
    show_metric_row(
        [
            ShownNumber(f"Tokens winning in all {amount}", format_count(sharing.in_all), f"at α = {level}"),
            ShownNumber("In all, by chance", format_number(overlap.expected_in_all), "if drawn blindly"),
            ShownNumber("In several, not all", format_count(sharing.in_some), format_share(sharing.in_some, whole)),
            ShownNumber("In one only", format_count(sharing.in_one), f"of {whole:,} tokens"),
        ]
    )
    st.caption(
        "p is not calibrated (before and after are the same row, moved), so read α as a dial on D; a correction is for "
        "the tests of one checkpoint. By chance: tickets of the same sizes drawn blindly from all tokens. Checkpoints "
        "share their base and its frequent tokens, so agreeing more than that is no surprise by itself."
    )


def _show_no_winner(shown: _Shown) -> None:
    results = shown.comparison.found.results
    if shown.selection.overlap.in_any:
        return
    if not any(result.changed_count for result in results):
        st.warning("**No row differs** in any of these checkpoints. Choose ones whose embeddings were tuned.")
        return
    largest = max(float(result.statistics.max()) for result in results)
    st.info(f"**No token wins in any checkpoint at this α.** The largest D of all is {format_statistic(largest)}.")
    offer_level(shown.selection.least_level, "raise_series_alpha")


def _show_winners(shown: _Shown) -> None:
    overlap = shown.selection.overlap
    st.header("Winners in each checkpoint")
    bars = WinnerBars(
        labels=shown.labels,
        winners=tuple(overlap.sizes.tolist()),
        thresholds=shown.selection.thresholds,
        vocabulary_size=overlap.vocabulary_size,
    )
    show_picture(winner_bar_figure(bars), key="series_winners", alt="Number of winning tokens of each checkpoint")


def _show_overlap(shown: _Shown) -> None:
    if len(shown.labels) < 2:
        return
    summary = summarise_overlap(shown.labels, shown.selection.overlap)
    st.header("How far the winners agree")
    st.caption("Jaccard: tokens that win in both, as a share of those that win in either. 1 is the same ticket.")
    show_picture(
        overlap_figure(summary),
        key="series_overlap",
        config={"displayModeBar": False},
        alt="Jaccard of each two checkpoints, observed beside expected by chance",
    )


def _show_growth(shown: _Shown, tokens: pd.DataFrame) -> None:
    found, picked = shown.comparison.found, state.get_choice().token_ids
    has_steps = "Growth" in tokens
    st.header("How D grows" if has_steps else "D in each checkpoint")
    order, words = ("Growth", "that grow most") if has_steps else ("Largest D", "with the largest D")
    ranked = tokens.sort_values([order, "Id"], ascending=[False, True], ignore_index=True)
    present = [token_id for token_id in picked if token_id < found.vocabulary_size]
    followed = present or ranked["Id"][:_LINES].tolist()
    names = dict(zip(tokens["Id"].tolist(), tokens["Token"].tolist(), strict=True))
    st.session_state["series_followed"] = followed
    choose, scale = st.columns([5, 1.2], vertical_alignment="bottom")
    choose.multiselect(
        "Tokens to follow" if present else f"Tokens to follow (now the {_LINES} {words})",
        list(
            dict.fromkeys([*followed, *tokens["Id"][:_MOST_OPTIONS].tolist(), *ranked["Id"][:_MOST_OPTIONS].tolist()])
        ),
        format_func=lambda token_id: f"{names[token_id]} ({token_id})",
        key="series_followed",
        on_change=lambda: state.choose(token_ids=st.session_state["series_followed"]),
    )
    st.session_state["series_log_steps"] = state.get_choice().checkpoints.log_steps
    scale.toggle(
        "Log steps",
        key="series_log_steps",
        disabled=not has_steps,
        on_change=lambda: state.change("checkpoints", log_steps=st.session_state["series_log_steps"]),
    )
    lines = summarise_growth(
        shown.labels,
        shown.steps,
        shown.comparison.groups,
        [names[token_id] for token_id in followed],
        found.get_statistics(followed),
        shown.selection.thresholds,
    )
    show_picture(
        growth_figure(lines, log_steps=state.get_choice().checkpoints.log_steps),
        key="series_growth",
        alt="D of the followed tokens in each checkpoint, with the D from which a token wins",
    )
    missing = shown.steps.count(None)
    if not has_steps:
        st.caption("Lines need two different steps; give them under Labels and steps above.")
    elif missing:
        st.caption(f"{format_noun(missing, 'checkpoint')} without a step {'is' if missing == 1 else 'are'} left out.")
    if has_steps and len(lines.trainings) > 1:
        st.caption(
            "Checkpoints whose names differ in the step alone are one training and share a line. Colours tell tokens "
            "apart, kinds of lines trainings."
        )


def _show_details(comparison: SeriesComparison) -> None:
    opened, found = comparison.opened, comparison.found
    with st.expander("What was compared"):
        st.markdown(
            f"**Before** {format_code(opened.before.source)}, tensor {format_code(opened.before.parameter)}  \n"
            f"{format_noun(found.vocabulary_size, 'row')} of {found.width:,} values in each of "
            f"{format_noun(len(opened.pairs), 'checkpoint')}"
        )
        notes = dict.fromkeys([*opened.notes, *found.notes])
        st.markdown("\n".join(f"- {escape_markdown(note)}" for note in notes))
