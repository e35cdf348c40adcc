"""A look at the run form's texts before anything starts: lines, columns, shared sentences, an example as tokens."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.controls.fields import name_training_field, read_text
from dashboard.controls.text_fields import PART_NAMES, build_corpus, describe_lines, may_look
from dashboard.loaders import Comparison
from dashboard.loaders.texts import load_leaks, load_preview, load_text
from dashboard.loaders.vocabulary import load_prompt_preview
from dashboard.views.runs.row_choice import load_base_vocabulary, needs_download
from dashboard.wording import escape_markdown, format_code, format_noun, format_share, shorten
from kslottery_core.errors import KSLotteryError
from kslottery_core.tuning.settings import TRAINED_METHODS, TuningSettings

if TYPE_CHECKING:
    from kslottery_core.corpora import CorpusPreview, CorpusSpec
    from kslottery_core.tuning import PromptPreview

OPEN_PREVIEW = "run_text_preview"
"""Session key of the expander; what is in it is read only while it is open."""

SHARED, TOKENS = "Shared sentences", "As the model reads it"
_SHOWN_REJECTIONS = 50
_SHOWN_LEAKS = 100
_SHOWN_CHARACTERS = 160
_SHOWN_LABELS = 512
# Both grounds: the colours are thin layers over whatever the page's background is.
_CHIPS = (
    "<style>.kslottery-tokens{line-height:2.1;font-family:var(--st-code-font,monospace);font-size:.85rem}"
    ".kslottery-tokens span{padding:.12rem .3rem;border-radius:.3rem;margin-right:.2rem;white-space:pre;"
    "background:rgba(138,143,152,.18);display:inline-block;line-height:1.5;max-width:100%;overflow-wrap:anywhere}"
    ".kslottery-tokens span.learned{background:rgba(0,158,115,.28)}</style>"
)


def show_text_preview(method: str, comparison: Comparison | None) -> None:
    """An expander with what the named texts hold; nothing when none is named."""
    parts = [part for part in ("train", "test") if read_text(f"run_{part}")]
    if method not in TRAINED_METHODS:
        parts = [part for part in parts if part == "test"]
    if not parts:
        return
    expander = st.expander("Look at the texts", icon=":material/visibility:", key=OPEN_PREVIEW, on_change="rerun")
    if not expander.open:
        return
    names = [PART_NAMES[part].capitalize() for part in parts]
    names += [SHARED] if len(parts) == 2 else []
    with expander:
        tabs = st.tabs([*names, TOKENS], key=f"run_text_tabs_{len(names)}", on_change="rerun")
        for tab, name in zip(tabs, (*parts, *names[len(parts) :], TOKENS), strict=True):
            if not tab.open:
                continue
            with tab:
                try:
                    if name == SHARED:
                        _show_leaks(build_corpus("train"), build_corpus("test"))
                    elif name == TOKENS:
                        _show_tokens(build_corpus(parts[0]), method, comparison)
                    else:
                        _show_lines(name, build_corpus(name))
                except KSLotteryError as problem:
                    st.warning(escape_markdown(str(problem)))


def _ask_first(spec: CorpusSpec) -> bool:
    """Say where the button is for a text that has to be fetched."""
    if not may_look(spec):
        st.caption("This text lies on the hub. It is fetched when you ask for that above.")
        return True
    return False


def _show_lines(part: str, spec: CorpusSpec) -> None:
    if _ask_first(spec):
        return
    preview = load_preview(spec)
    columns = ", ".join(format_code(str(name)) for name in preview.columns[:24]) or "none"
    more = len(preview.columns) - 24
    st.markdown(
        f"{escape_markdown(preview.format_name[:1].upper() + preview.format_name[1:])}. Columns or languages: {columns}"
        + (f" and {more} more" if more > 0 else "")
        + f". Source: {_name_column(preview.source_column)}, target: {_name_column(preview.target_column)}."
    )
    st.caption(describe_lines(preview))
    if preview.prompt is not None:
        st.caption("This text brings its own prompt template, which is used instead of the run's.")
    if preview.pairs:
        rows = [
            {"Line": line, "Source": pair.source, "Target": pair.target}
            for line, pair in zip(preview.lines, preview.pairs, strict=True)
        ]
        st.dataframe(
            pd.DataFrame(rows),
            hide_index=True,
            key=f"preview_pairs_{part}",
            column_config={
                "Line": st.column_config.NumberColumn(width=60, format="%d"),
                "Source": st.column_config.TextColumn(width=340),
                "Target": st.column_config.TextColumn(width=340),
            },
            alt=f"First pairs of the {PART_NAMES[part]}",
        )
    _show_rejections(part, preview, spec.max_rejected_share)


def _name_column(name: str | None) -> str:
    return "not found" if name is None else format_code(str(name))


def _show_rejections(part: str, preview: CorpusPreview, limit: float) -> None:
    if not preview.rejected:
        return
    if preview.counts.rejected > limit * preview.counts.read:
        st.warning(
            f"{format_share(preview.counts.rejected, preview.counts.read)} of these lines are rejected; a run refuses "
            f"a text with more than {limit:.0%}."
        )
    st.markdown(f"**Rejected: {format_noun(preview.counts.rejected, 'line')}**")
    rows = [
        {"Line": rejection.line, "Reason": rejection.reason, "Text": shorten(rejection.text, _SHOWN_CHARACTERS)}
        for rejection in preview.rejected[:_SHOWN_REJECTIONS]
    ]
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        key=f"preview_rejected_{part}",
        column_config={
            "Line": st.column_config.NumberColumn(width=60, format="%d"),
            "Reason": st.column_config.TextColumn(width=300),
            "Text": st.column_config.TextColumn(width=380),
        },
        alt=f"Rejected lines of the {PART_NAMES[part]}",
    )
    if len(preview.rejected) > _SHOWN_REJECTIONS:
        st.caption(f"And {len(preview.rejected) - _SHOWN_REJECTIONS:,} more.")


def _show_leaks(train: CorpusSpec, test: CorpusSpec) -> None:
    if _ask_first(train) or _ask_first(test):
        return
    report = load_leaks(train, test)
    found = [*report.exact, *report.near]
    st.markdown(
        f"**{len(report.exact):,} of {format_noun(report.tested, 'test sentence')}** "
        f"{'stands' if len(report.exact) == 1 else 'stand'} in the training text word for word, "
        f"**{len(report.near):,}** nearly."
    )
    st.caption(
        f"Source sentences are compared. Nearly: character {report.shingle_length}-grams with a Jaccard similarity of "
        f"at least {report.threshold:g}. A score on sentences that were learned says little about others; the run's "
        "result repeats this count."
    )
    if not found:
        return
    texts = [
        dict(zip(corpus.lines, (pair.source for pair in corpus.pairs), strict=False))
        for corpus in (load_text(train), load_text(test))
    ]
    rows = [
        {
            "Test line": leak.test_line,
            "Training line": leak.train_line,
            "Likeness": leak.similarity,
            "Test sentence": texts[1].get(leak.test_line, ""),
            "Training sentence": texts[0].get(leak.train_line, ""),
        }
        for leak in found[:_SHOWN_LEAKS]
    ]
    number = st.column_config.NumberColumn
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        height=min(38 + 35 * len(rows), 300),
        key="preview_leaks",
        column_config={
            "Test line": number(width=70, format="%d"),
            "Training line": number(width=90, format="%d"),
            "Likeness": number(width=75, format="%.2f"),
        },
        alt="Test sentences that the training text holds",
    )
    if len(found) > _SHOWN_LEAKS:
        st.caption(f"And {len(found) - _SHOWN_LEAKS:,} more.")


def _show_tokens(spec: CorpusSpec, method: str, comparison: Comparison | None) -> None:
    if _ask_first(spec):
        return
    preview = load_preview(spec)
    if not preview.pairs:
        st.caption("No line of this text gives a pair, so there is no example to show.")
        return
    if needs_download(comparison):
        model, revision = read_text("run_model"), read_text("run_revision") or None
        st.caption(f"To cut an example into tokens, the vocabulary of {format_code(model)} has to be fetched.")
        st.button(
            "Fetch it from the hub",
            icon=":material/download:",
            key="fetch_tokenizer",
            on_click=state.allow_download,
            args=(("vocabulary", model, revision),),
        )
        return
    places = {f"Line {line:,}": pair for line, pair in zip(preview.lines, preview.pairs, strict=True)}
    if st.session_state.get("run_preview_line") not in places:
        st.session_state["run_preview_line"] = next(iter(places))
    chosen = st.segmented_control("Example", list(places), key="run_preview_line", required=True)
    template = preview.prompt or st.session_state["run_prompt"]
    with st.spinner("Loading the tokenizer…"):
        shown = load_prompt_preview(load_base_vocabulary(), places[chosen], spec, template)
    longest = st.session_state.get(name_training_field("max_length", method)) or TuningSettings().max_length
    _show_chips(shown, method in TRAINED_METHODS, longest)


def _show_chips(shown: PromptPreview, trained: bool, longest: int) -> None:
    learned = len(shown.labels) - shown.prompt_length
    if trained:
        st.markdown(
            f"{format_noun(shown.prompt_length, 'token')} of the prompt, read and not learned (grey); "
            f"**{format_noun(learned, 'token')}** of the answer, which count for the loss (green), the last of them "
            "says that the answer ends."
        )
        if len(shown.labels) > longest:
            st.warning(
                f"This example has {len(shown.labels):,} tokens; what lies beyond {longest:,} is cut off."
                + (" Nothing is left to learn, so the run would not start." if shown.prompt_length >= longest else "")
            )
    else:
        st.markdown(
            f"{format_noun(shown.prompt_length, 'token')} of the prompt, which the model reads (grey); the others are "
            f"the reference, {format_noun(learned, 'token')} with its end, which it is compared with (green)."
        )
    chips = "".join(
        f'<span class="{"learned" if place >= shown.prompt_length else "read"}">{html.escape(label)}</span>&#8203;'
        for place, label in enumerate(shown.labels[:_SHOWN_LABELS])
    )
    st.html(f'{_CHIPS}<div class="kslottery-tokens">{chips}</div>')
