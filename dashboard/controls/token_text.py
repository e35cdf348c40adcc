"""The parallel text that token frequencies are counted in: chosen once, used by everything that speaks of frequency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import loaders, state
from dashboard.controls.text_fields import describe_lines, mark_problem, needs_columns
from dashboard.loaders import Comparison
from dashboard.loaders.texts import is_on_hub, load_preview, text_exists
from dashboard.loaders.vocabulary import load_pair_counts, name_text
from dashboard.wording import FREQUENCY_NAMES, escape_markdown, shorten
from kslottery_core.errors import CorpusError, KSLotteryError

if TYPE_CHECKING:
    from kslottery_core.corpora import CorpusPreview, CorpusSpec

_COLUMNS = {"source_column": "Source column", "target_column": "Target column"}


class _MissingEntryError(CorpusError):
    """Something was not given yet; nothing is wrong."""


def get_token_spec(comparison: Comparison) -> CorpusSpec | None:
    """The text that frequencies come from; None when none is given or it cannot be read. Draws nothing."""
    try:
        return _find_text(comparison)[0]
    except KSLotteryError:
        return None


def show_token_text(comparison: Comparison) -> CorpusSpec | None:
    """An expander to choose the text; returns what `get_token_spec` does. What is wrong is told in it, and under it."""
    spec, problem = None, None
    try:
        spec, _ = _find_text(comparison)
        load_pair_counts(comparison, spec, state.get_choice().token_text.counted)
    except KSLotteryError as found:
        problem = found
    named = "none chosen" if spec is None else f"{escape_markdown(shorten(name_text(spec)))}, {_name_sides(spec)}"
    if spec is not None:
        named += ", " + ("as read in training" if state.get_choice().token_text.counted == "training" else "text alone")
    with st.expander(f"Text that frequencies are counted in: {named}", key="token_text", icon=":material/bar_chart:"):
        _show_fields(comparison)
        _show_finding(comparison)
    if problem is not None and not isinstance(problem, _MissingEntryError):
        st.caption(mark_problem(problem) + " Frequencies are not measured until then.")
        return None
    return spec


def _name_sides(spec: CorpusSpec) -> str:
    return escape_markdown(f"{shorten(spec.source_name)} and {shorten(spec.target_name)}")


def _get_entry(comparison: Comparison, name: str) -> str:
    """An entry as the person made it; otherwise what the demo was trained on, in the CorpusSpec's usual languages."""
    from kslottery_core.corpora import CorpusSpec

    chosen = getattr(state.get_choice().token_text, name)
    if chosen is not None:
        return chosen
    if not loaders.is_demo(comparison.choice):
        return ""
    return str(loaders.find_demo_text("train") or "") if name == "path" else getattr(CorpusSpec, name)


def _find_text(comparison: Comparison) -> tuple[CorpusSpec, CorpusPreview]:
    """The text as it was entered and its first lines. Raises KSLotteryError with one sentence."""
    from kslottery_core.corpora import CorpusSpec

    spec, preview = _draft(comparison)
    if needs_columns(spec, preview):
        text = state.get_choice().token_text
        chosen = {}
        for name, label in _COLUMNS.items():
            column = getattr(text, name)
            column = column if column in preview.columns else getattr(preview, name)
            if column is None:
                raise _MissingEntryError(f"Choose the {label.lower()} of the text.")
            chosen[name] = column
        spec = CorpusSpec(spec.path, spec.source, spec.target, **chosen)
        preview = load_preview(spec)
    return spec, preview


def _draft(comparison: Comparison) -> tuple[CorpusSpec, CorpusPreview]:
    """The text without chosen columns. Raises KSLotteryError with one sentence."""
    from kslottery_core.corpora import CorpusSpec

    path, source, target = (_get_entry(comparison, name) for name in ("path", "source", "target"))
    if not path:
        raise _MissingEntryError("Give a file of sentence pairs, such as the one that the model was tuned on.")
    if is_on_hub(path) and not state.is_download_allowed(("text", path)):
        raise _MissingEntryError(f"The text {shorten(path)} lies on the hub; fetch it first.")
    if not is_on_hub(path) and not text_exists(path):
        raise CorpusError(f"There is no file at {shorten(path, 200)}; check the path of the text.")
    if not source or not target:
        raise _MissingEntryError("Give both languages of the text, such as en and ca.")
    spec = CorpusSpec(path, source, target)
    return spec, load_preview(spec)


def _take(name: str, key: str) -> None:
    """What a field holds becomes the choice; a cleared one goes back to what is suggested."""
    state.change("token_text", **{name: (st.session_state[key] or "").strip() or None})


def _show_fields(comparison: Comparison) -> None:
    path, source, target, counted = st.columns([4, 1, 1, 2])
    for name in ("path", "source", "target"):
        st.session_state[f"token_text_{name}"] = _get_entry(comparison, name)
    path.text_input(
        "Text",
        key="token_text_path",
        placeholder="/texts/train.jsonl",
        help="Parallel text in any format that the Runs page takes. How often each token occurs in both sides is "
        "counted with the tokenizer of the before model.",
        on_change=_take,
        args=("path", "token_text_path"),
    )
    for place, name, label in ((source, "source", "From"), (target, "target", "To")):
        place.text_input(
            label,
            key=f"token_text_{name}",
            placeholder="en" if name == "source" else "ca",
            help="A language's code, or its column.",
            on_change=_take,
            args=(name, f"token_text_{name}"),
        )
    st.session_state["token_text_counted"] = state.get_choice().token_text.counted
    counted.selectbox(
        "Count",
        list(FREQUENCY_NAMES),
        format_func=FREQUENCY_NAMES.__getitem__,
        key="token_text_counted",
        help="In training the model also reads the prompt around every pair, and special tokens.",
        on_change=lambda: state.change("token_text", counted=st.session_state["token_text_counted"]),
    )


def _show_finding(comparison: Comparison) -> None:
    """What lies at the path, in a line, and its columns to choose where the languages are none of them."""
    entered = _get_entry(comparison, "path")
    if is_on_hub(entered) and not state.is_download_allowed(("text", entered)):
        st.button(
            "Fetch the text from the hub",
            icon=":material/download:",
            key="token_text_fetch",
            on_click=state.allow_download,
            args=(("text", entered),),
        )
    try:
        spec, preview = _draft(comparison)
        if needs_columns(spec, preview):
            _show_columns(preview)
        _, preview = _find_text(comparison)
        st.caption(
            f"{escape_markdown(preview.format_name)}. {describe_lines(preview)} Frequencies count the whole text"
            f"{_describe_counting(preview.prompt)}."
        )
    except _MissingEntryError as missing:
        st.caption(escape_markdown(str(missing)))
    except KSLotteryError as problem:
        st.caption(mark_problem(problem))


def _describe_counting(own_prompt: str | None) -> str:
    if state.get_choice().token_text.counted == "text":
        return ", the sentences of both sides alone"
    from kslottery_core.tuning import TokenCounting

    template = "its own prompt" if own_prompt else "the usual prompt"
    return (
        f" as the model reads it in training: every pair in {template}, with special tokens, cut at "
        f"{TokenCounting().max_length} tokens"
    )


def _show_columns(preview: CorpusPreview) -> None:
    st.markdown(
        "The text has no column of these languages. Which of its columns holds which side?"
        if preview.columns
        else "The text has no columns at all."
    )
    for (name, label), place in zip(_COLUMNS.items(), st.columns(2), strict=True):
        kept, key = getattr(state.get_choice().token_text, name), f"token_text_{name}"
        st.session_state[key] = kept if kept in preview.columns else getattr(preview, name)
        place.selectbox(
            label,
            preview.columns,
            index=None,
            key=key,
            placeholder="Choose a column",
            on_change=_take,
            args=(name, key),
        )
