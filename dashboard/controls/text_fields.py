"""The texts of the run form: where they lie, their languages, which column holds which side, and what is left out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import state
from dashboard.controls.fields import KEEP, read_number, read_text
from dashboard.loaders.texts import is_on_hub, load_preview, text_exists
from dashboard.wording import escape_markdown, format_code, format_noun
from kslottery_core.errors import CorpusError, KSLotteryError, RunError
from kslottery_core.tuning.settings import TRAINED_METHODS

if TYPE_CHECKING:
    from kslottery_core.corpora import CorpusPreview, CorpusSpec

PART_NAMES = {"train": "training text", "test": "test text"}
NAMED_COLUMNS = ("jsonl", "json", "csv", "tsv", "datasets")
"""Formats whose columns have names that a person chose; the others know their languages by code or place."""

_SIDES = ("source", "target")
_USUAL_SPLITS = {"train": ("train", "dev"), "test": ("test", "devtest")}
_HELP = (
    "Parallel text: JSON lines or a JSON list, CSV, TSV, TMX, one of two line-aligned files (train.en beside "
    "train.ca), Alpaca instructions, a FLORES folder, or hub:ORGANISATION/NAME where the package datasets is installed."
)


def show_text_fields(method: str, *, counts_tokens: bool) -> None:
    """Paths and languages, what is found there in one line each, and columns to choose where they are not found.

    `counts_tokens`: the training text is needed to choose rows by, even where nothing is trained on it.
    """
    trained = method in TRAINED_METHODS
    train, test, source, target = st.columns([3, 3, 1.3, 1.3])
    if trained or counts_tokens:
        train.text_input(
            "Training text" if trained else "Text to count tokens in",
            key="run_train",
            placeholder="/texts/train.jsonl",
            help=_HELP,
            **KEEP,
        )
    test.text_input(
        "Test text",
        key="run_test",
        placeholder="/texts/test.jsonl",
        help="Translated and scored afterwards. Leave it empty to tune only. The formats are those of training texts.",
        **KEEP,
    )
    source.text_input(
        "From", key="run_source", placeholder="en", help="Source language: its code, or its column.", **KEEP
    )
    target.text_input(
        "To", key="run_target", placeholder="ca", help="Target language: its code, or its column.", **KEEP
    )
    parts = ("train", "test") if trained or counts_tokens else ("test",)
    findings = [_show_finding(part) for part in parts if read_text(f"run_{part}")]
    if findings:
        st.caption("  \n".join(findings))


def show_filters() -> None:
    """What of the training text is left out; in the part of the form that most people never open."""
    shortest, longest, ratio, repeated = st.columns(4, vertical_alignment="bottom")
    characters = "Characters; a training pair with a side beyond it is left out. Empty for no such filter."
    shortest.number_input(
        "Shortest sentence", min_value=1, value=None, step=1, key="run_min_characters", help=characters, **KEEP
    )
    longest.number_input(
        "Longest sentence", min_value=1, value=None, step=10, key="run_max_characters", help=characters, **KEEP
    )
    ratio.number_input(
        "Length ratio at most",
        min_value=1.0,
        value=None,
        step=0.5,
        key="run_max_length_ratio",
        help="Leave training pairs out whose longer side has more than so many times the characters of the shorter.",
        **KEEP,
    )
    repeated.checkbox(
        "Drop repeated pairs", key="run_drop_duplicates", help="Keep the first of equal training pairs.", **KEEP
    )


def show_rejection_limit(place: st.delta_generator.DeltaGenerator) -> None:
    """From how many unusable lines on a text is refused."""
    place.number_input(
        "Rejected lines at most (%)",
        min_value=0.0,
        max_value=100.0,
        value=None,
        step=5.0,
        format="%.4g",
        key="run_rejected_percent",
        help="A text with a larger share of lines that give no pair is refused, training and test text alike.",
        **KEEP,
    )


def draft_corpus(part: str) -> CorpusSpec:
    """The text as the form names it, without chosen columns. Raises KSLotteryError for a missing or wrong entry."""
    from kslottery_core.corpora import CorpusSpec

    path, words, entries = read_text(f"run_{part}"), PART_NAMES[part], st.session_state
    if not path:
        raise RunError(f"The {words} is missing; give a file of sentence pairs.")
    if not is_on_hub(path) and not text_exists(path):
        raise RunError(f"There is no file at {path}; check the path of the {words}.")
    for side in _SIDES:
        if not read_text(f"run_{side}"):
            raise RunError(f"The {side} language is missing; give the language or column of the {words}, such as en.")
    spec = CorpusSpec(
        path,
        read_text("run_source"),
        read_text("run_target"),
        entries.get(f"run_{part}_limit"),
        split=_read_split(part, path),
        subset=(read_text(f"run_{part}_subset") or None) if is_on_hub(path) else None,
        max_rejected_share=read_number("run_rejected_percent") / 100,
    )
    if part == "test":
        return spec
    return replace(
        spec,
        min_characters=entries.get("run_min_characters"),
        max_characters=entries.get("run_max_characters"),
        max_length_ratio=entries.get("run_max_length_ratio"),
        drop_duplicates=bool(entries.get("run_drop_duplicates")),
    )


def build_corpus(part: str) -> CorpusSpec:
    """The text that the form asks for, with the columns chosen. Raises KSLotteryError with one sentence."""
    spec = draft_corpus(part)
    if not may_look(spec):
        return spec
    try:
        preview = load_preview(spec)
    except KSLotteryError:
        return spec  # whoever reads it says what is wrong
    if not needs_columns(spec, preview):
        return spec
    chosen = {}
    for side in _SIDES:
        key = _name_column_field(part, side)
        column = st.session_state.get(key)
        column = column if column in preview.columns else getattr(preview, f"{side}_column")
        if column is None:
            raise CorpusError(
                f"The column of the {side} sentences in the {PART_NAMES[part]} is not chosen; it has "
                f"{', '.join(map(repr, preview.columns)) or 'none'}."
            )
        chosen[f"{side}_column"] = column
    return replace(spec, **chosen)


def needs_columns(spec: CorpusSpec, preview: CorpusPreview) -> bool:
    """Whether the languages are no columns of this text, and a person can say which ones hold the two sides."""
    return preview.format in NAMED_COLUMNS and not {spec.source, spec.target} <= set(preview.columns)


def may_look(spec: CorpusSpec) -> bool:
    """Whether looking into the text needs no download, or one that was asked for by a click."""
    return not is_on_hub(spec.path) or state.is_download_allowed(("text", spec.path))


def _read_split(part: str, path: str) -> str | None:
    """The split of a text that has several: the one chosen, or the usual one for training or testing."""
    from kslottery_core.corpora import list_splits

    chosen = read_text(f"run_{part}_split")
    if is_on_hub(path):
        return chosen or None
    splits = list_splits(path)
    if chosen in splits or not splits:
        return chosen if splits else None
    return next((split for split in _USUAL_SPLITS[part] if split in splits), splits[0])


def _show_split(part: str) -> None:
    """Ask for the split, and on the hub for the subset, of a text that has such."""
    from kslottery_core.corpora import list_splits

    path, words, key = read_text(f"run_{part}"), PART_NAMES[part], f"run_{part}_split"
    if is_on_hub(path):
        split, subset = st.columns(2)
        split.text_input(f"Split of the {words}", key=key, placeholder=_USUAL_SPLITS[part][0], **KEEP)
        subset.text_input(
            f"Subset of the {words}",
            key=f"run_{part}_subset",
            placeholder="none",
            help="Some data sets hold several, such as one a language pair: ro-en.",
            **KEEP,
        )
        return
    splits = list_splits(path)
    if len(splits) > 1:
        st.session_state[key] = _read_split(part, path)
        st.selectbox(f"Split of the {words}", splits, key=key, width=320, **KEEP)


def _name_column_field(part: str, side: str) -> str:
    return f"run_{part}_{side}_column"


def _show_finding(part: str) -> str:
    """One line on what lies at the path; asks for the columns where it has none of these languages."""
    words = PART_NAMES[part].capitalize()
    _show_split(part)
    try:
        spec = draft_corpus(part)
        if not may_look(spec):
            st.button(
                f"Fetch the {PART_NAMES[part]} from the hub and look",
                icon=":material/download:",
                key=f"fetch_{part}",
                on_click=state.allow_download,
                args=(("text", spec.path),),
            )
            return f"{words}: lies on the hub."
        preview = load_preview(spec)
        if needs_columns(spec, preview):
            _show_columns(part, spec, preview)
            preview = load_preview(build_corpus(part))
    except KSLotteryError as problem:
        return mark_problem(problem)
    return f"{words}: {escape_markdown(preview.format_name)}. {describe_lines(preview)}"


def mark_problem(problem: KSLotteryError) -> str:
    """What is wrong with an entry before Start is pressed, as Markdown: a remark, no alarm."""
    return f":orange[:material/warning:] {escape_markdown(str(problem))}"


def describe_lines(preview: CorpusPreview) -> str:
    """What became of the lines that were looked at, as Markdown."""
    text = escape_markdown(f"{'' if preview.complete else 'The first '}{preview.counts.describe()}.")
    if not preview.counts.accepted:
        text = f":orange[:material/warning:] {text}"
        if preview.source_column is None or preview.target_column is None:
            found = format_noun(len(preview.columns), "language or column", "languages or columns")
            names = ", ".join(format_code(str(name)) for name in preview.columns[:12])
            text += f" It has {found}: {names}." if preview.columns else ""
    return text


def _show_columns(part: str, spec: CorpusSpec, preview: CorpusPreview) -> None:
    missing = " or ".join(format_code(name) for name in (spec.source, spec.target) if name not in preview.columns)
    st.markdown(
        f"The {PART_NAMES[part]} has no column {missing}. Which of its columns holds which side?"
        if preview.columns
        else f"The {PART_NAMES[part]} has no columns at all."
    )
    for side, place in zip(_SIDES, st.columns(2), strict=True):
        key = _name_column_field(part, side)
        if st.session_state.get(key) not in preview.columns:  # another file: its own suggestion
            st.session_state[key] = getattr(preview, f"{side}_column")
        place.selectbox(
            f"{'Source' if side == 'source' else 'Target'} column of the {PART_NAMES[part]}",
            preview.columns,
            index=None,
            key=key,
            placeholder="Choose a column",
            **KEEP,
        )
