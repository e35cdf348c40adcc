"""One sentence of a certification: choosing it, its tokens with their roles, and its margins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard import state
from dashboard.views.certificates.sentence_figure import (
    SentenceNumbers,
    sentence_figure,
    summarise_sentence,
    summarise_sentences,
)
from dashboard.views.certificates.tables import COLUMN_HELP, build_prediction_table
from dashboard.wording import CERTIFIED_TEXTS, escape_markdown, format_code, format_noun, format_number, shorten

if TYPE_CHECKING:
    from kslottery_core.certification import Certification

_VIOLATIONS, _MARGIN, _CERTIFIED, _TEXT = (
    "Violations first",
    "Smallest spare margin first",
    "Most certified first",
    "As in the text",
)
_ORDERS = (_VIOLATIONS, _MARGIN, _CERTIFIED, _TEXT)


def show_sentences(certification: Certification) -> None:
    """The search, the order and the choice of a sentence; then the sentence."""
    view = state.get_choice().certificates
    st.session_state["certificate_text"] = view.text
    text = st.segmented_control(
        "Text after the prompt",
        list(CERTIFIED_TEXTS),
        format_func=CERTIFIED_TEXTS.__getitem__,
        key="certificate_text",
        required=True,
        on_change=lambda: state.change("certificates", text=st.session_state["certificate_text"]),
        help="The reference translation, predicted token by token, or what the embedding-tuned model itself generates.",
    )
    search, order = st.columns([3, 2], vertical_alignment="bottom")
    wanted = search.text_input("Search in the sentences", key="certificate_search", type="search")
    chosen_order = order.selectbox("Order", _ORDERS, key="certificate_order")
    found = order_sentences(find_sentences(certification, text, wanted), chosen_order)
    if not found:
        st.info(f"No sentence contains {format_code(shorten(wanted))}; search for something else.")
        return
    number = _choose(found, len(certification.sentences))
    sentence = certification.sentences[number - 1]
    st.markdown(
        f"**Source** {escape_markdown(sentence.source)}  \n"
        f"**Reference** {escape_markdown(sentence.reference)}  \n"
        f"**Greedy output of the embedding-tuned model** {escape_markdown(sentence.output) or 'none'}"
        + ("" if sentence.ended else " (it did not end within the limit)")
    )
    story = summarise_sentence(certification, number, text)
    with st.container(border=True):
        st.html(sentence_figure(story))
    with st.expander("The numbers of this sentence"):
        st.dataframe(
            build_prediction_table(story),
            hide_index=True,
            key="certificate_predictions",
            column_config=describe_columns(),
            alt="Predictions of the chosen sentence",
        )


def find_sentences(certification: Certification, text: str, wanted: str) -> list[SentenceNumbers]:
    """The sentences whose source, reference or output contains what is wanted."""
    needle = wanted.strip().casefold()
    return [
        numbers
        for numbers, sentence in zip(summarise_sentences(certification, text), certification.sentences, strict=True)
        if needle in f"{sentence.source}\n{sentence.reference}\n{sentence.output}".casefold()
    ]


def order_sentences(sentences: Sequence[SentenceNumbers], order: str) -> list[SentenceNumbers]:
    """Sentences in one of the orders; ties as in the text."""

    def get_spare(numbers: SentenceNumbers) -> float:
        return float("inf") if numbers.spare is None else numbers.spare

    keys = {
        _VIOLATIONS: lambda numbers: (-numbers.violations, get_spare(numbers)),
        _MARGIN: get_spare,
        _CERTIFIED: lambda numbers: -numbers.certified / max(1, numbers.predictions),
        _TEXT: lambda numbers: numbers.number,
    }
    return sorted(sentences, key=keys[order])


def _choose(found: Sequence[SentenceNumbers], total: int) -> int:
    wanted = state.get_choice().certificates.sentence
    by_number = {numbers.number: numbers for numbers in found}
    if wanted is not None and wanted > total:
        st.warning(f"There is no sentence {wanted:,} here; the text has {total:,}.")
    st.session_state["certificate_sentence"] = wanted if wanted in by_number else found[0].number
    return st.selectbox(
        f"Sentence ({len(found):,} of {total:,})",
        list(by_number),
        format_func=lambda number: _name_sentence(by_number[number]),
        key="certificate_sentence",
        on_change=lambda: state.change("certificates", sentence=st.session_state["certificate_sentence"]),
    )


def _name_sentence(numbers: SentenceNumbers) -> str:
    violations = f", {format_noun(numbers.violations, 'violation')}" if numbers.violations else ""
    spare = "" if numbers.spare is None else f", smallest spare margin {format_number(numbers.spare, 2)}"
    return (
        f"{numbers.number}: {numbers.certified} of {numbers.predictions} certified{violations}{spare}. "
        f"{shorten(' '.join(numbers.text.split()), 70)}"
    )


def describe_columns() -> dict[str, Any]:
    """Format and explanation of the columns of a prediction's probabilities, for a table's `column_config`."""
    return {name: st.column_config.NumberColumn(format="%.4f", help=words) for name, words in COLUMN_HELP.items()}
