"""The pair that every page speaks of: opened, compared with progress shown, or the way to choose one."""

from __future__ import annotations

import time

import streamlit as st

from dashboard import loaders, session
from dashboard.components.navigation import name_source, show_link
from dashboard.loaders import Comparison, PairChoice
from dashboard.wording import escape_markdown, format_code, format_noun
from kslottery_core.errors import KSLotteryError
from kslottery_core.progress import OnProgress, ProgressEvent

_REDRAW_SECONDS = 0.2


def load_shown_comparison(*, on_pair_page: bool = False) -> Comparison | None:
    """The comparison of the chosen pair. Without one, or when it cannot be opened, says what to do and returns None."""
    choice = loaders.resolve_choice(session.get_choice().pair)
    if choice is None:
        _show_no_pair(on_pair_page)
        return None
    downloads = loaders.list_downloads(choice)
    if downloads and not session.is_download_allowed(choice):
        _ask_before_download(choice, downloads)
        return None
    place = st.empty()
    try:
        with place.container(), st.spinner("Opening both checkpoints…"):
            comparison = loaders.load_comparison(choice, _make_progress())
    except KSLotteryError as problem:
        place.empty()
        st.error(escape_markdown(str(problem)))
        if not on_pair_page:
            show_link("pair", "Choose another pair")
        return None
    place.empty()
    if comparison.cache_problem:
        reason = escape_markdown(comparison.cache_problem)
        st.warning(f"The result is shown but could not be kept for next time: {reason}")
    return comparison


def _ask_before_download(choice: PairChoice, downloads: tuple[str, ...]) -> None:
    """A link must not make this computer download anything: only a click here does, or one on Compare."""
    names = " and ".join(format_code(name) for name in downloads)
    st.info(
        f"The address asks for {names}, which is no path on this computer. Going on looks it up on the Hugging Face "
        "hub and downloads its embedding and tokenizer files, where they are not here already."
    )
    st.button(
        "Fetch from the hub and compare",
        icon=":material/download:",
        key="allow_download",
        on_click=session.allow_download,
        args=(choice,),
    )


def _make_progress() -> OnProgress:
    bar = st.empty()
    last_drawn = 0.0

    def show(event: ProgressEvent) -> None:
        nonlocal last_drawn
        now = time.monotonic()
        if event.total and (now - last_drawn > _REDRAW_SECONDS or event.step >= event.total):
            last_drawn = now
            bar.progress(
                min(1.0, event.step / event.total),
                text=f"Comparing rows: {event.step:,} of {event.total:,} tokens",
            )

    return show


def _show_no_pair(on_pair_page: bool) -> None:
    if session.get_choice().pair.before or session.get_choice().pair.after:
        st.info("Only one checkpoint is given. A comparison needs the model as it was before tuning and the tuned one.")
    else:
        st.info(
            "No pair is open yet. Choose the model as it was before tuning and the same model after it; "
            "KS-Lottery then shows which token embeddings moved."
        )
    if not on_pair_page:
        show_link("pair", "Choose a pair")


def show_pair_line(comparison: Comparison) -> None:
    """One line that says which pair the numbers below belong to."""
    pair = comparison.pair
    if loaders.is_demo(comparison.choice):
        names = "the bundled demo"
    else:
        names = escape_markdown(f"{name_source(pair.before.source)} → {name_source(pair.after.source)}")
    st.caption(f"Pair: {names}, {format_noun(pair.vocabulary_size, 'token')}, width {pair.width:,}")
