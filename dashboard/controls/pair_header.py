"""The pair that every page speaks of: opened, compared with progress shown, or the way to choose one."""

from __future__ import annotations

import time

import streamlit as st

from dashboard import loaders, state
from dashboard.controls.navigation import show_link
from dashboard.loaders import Comparison, PairChoice
from dashboard.loaders.scan import is_adapter
from dashboard.wording import escape_markdown, format_code, format_noun, name_source
from kslottery_core.errors import KSLotteryError
from kslottery_core.progress import OnProgress, ProgressEvent

_REDRAW_SECONDS = 0.2


def find_shown_pair(*, on_pair_page: bool = False, all_weights: bool = False) -> PairChoice | None:
    """The chosen pair, if it may be opened. Otherwise says what to do and returns None.

    `all_weights`: more than the embedding will be read, which for a hub id is another thing to agree to.
    """
    choice = loaders.resolve_choice(state.get_choice().pair)
    if choice is None:
        show_no_pair(on_pair_page)
        return None
    downloads = loaders.list_downloads(choice)
    if downloads and not state.is_download_allowed((choice, "all weights") if all_weights else choice):
        _ask_before_download(choice, downloads, all_weights)
        return None
    return choice


def load_shown_comparison(*, on_pair_page: bool = False) -> Comparison | None:
    """The comparison of the chosen pair. Without one, or when it cannot be opened, says what to do and returns None."""
    choice = find_shown_pair(on_pair_page=on_pair_page)
    if choice is None:
        return None
    place = st.empty()
    try:
        with place.container(), st.spinner("Opening both checkpoints…"):
            comparison = loaders.load_comparison(choice, make_row_progress())
    except KSLotteryError as problem:
        place.empty()
        st.error(escape_markdown(str(problem)))
        if is_adapter(choice):
            show_link("layers", "See which matrices this adapter changes")
        if not on_pair_page:
            show_link("pair", "Choose another pair")
        offer_demo()
        return None
    place.empty()
    if comparison.cache_problem:
        reason = escape_markdown(comparison.cache_problem)
        st.warning(f"The result is shown but could not be kept for next time: {reason}")
    return comparison


def _ask_before_download(choice: PairChoice, downloads: tuple[str, ...], all_weights: bool) -> None:
    """A link must not make this computer download anything: only a click here does, or one on Compare."""
    names = " and ".join(format_code(name) for name in downloads)
    files = "all its weights" if all_weights else "its embedding and tokenizer files"
    st.info(
        f"The address asks for {names}, which is no path on this computer. Going on looks it up on the Hugging Face "
        f"hub and downloads {files}, where they are not here already."
    )
    st.button(
        "Fetch all weights from the hub" if all_weights else "Fetch from the hub and compare",
        icon=":material/download:",
        key="allow_download",
        on_click=state.allow_download,
        args=((choice, "all weights") if all_weights else choice,),
    )


def make_row_progress() -> OnProgress:
    """A bar for rows compared, drawn where the page is at present."""
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


def show_no_pair(on_pair_page: bool = False) -> None:
    """What a pair is and the way to choose one."""
    if state.get_choice().pair.before or state.get_choice().pair.after:
        st.info("Only one checkpoint is given. A comparison needs the model as it was before tuning and the tuned one.")
    else:
        st.info(
            "No pair is open yet. Choose the model as it was before tuning and the same model after it; "
            "KS-Lottery then shows which token embeddings moved."
        )
    if not on_pair_page:
        show_link("pair", "Choose a pair")
    offer_demo()


def offer_demo() -> None:
    """A button that opens the bundled pair; nothing where there is none, or where it is what is open."""
    demo = loaders.resolve_choice(PairChoice())
    if demo is not None and state.get_choice().pair not in (PairChoice(), demo):
        st.button(
            "Open the bundled demo",
            icon=":material/play_arrow:",
            key="open_demo",
            on_click=state.set_pair,
            args=(PairChoice(),),
        )


def show_pair_line(comparison: Comparison) -> None:
    """One line that says which pair the numbers below belong to."""
    pair = comparison.pair
    tokens = format_noun(pair.vocabulary_size, "token")
    st.caption(f"Pair: {name_pair(comparison.choice)}, {tokens}, width {pair.width:,}")


def name_pair(choice: PairChoice) -> str:
    """Both sides by the ends of their names, as Markdown."""
    if loaders.is_demo(choice):
        return "the bundled demo"
    return escape_markdown(f"{name_source(choice.before or '')} → {name_source(choice.after or '')}")
