"""The vocabulary of one model, and what rows can be chosen by without a pair: counts in text, tokens of a prompt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard import loaders
from dashboard.loaders import Comparison
from dashboard.loaders.kept_results import list_description_folders
from dashboard.loaders.texts import load_text, sign_text
from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    import numpy as np

    from kslottery_core.checkpoints import EmbeddingMatrix
    from kslottery_core.corpora import CorpusSpec, SentencePair
    from kslottery_core.tickets import Ticket
    from kslottery_core.tuning import PromptPreview, TokenCounting


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """A model's V rows of width d: a label each; `tied` is None when its files do not say. `key` digests its files."""

    model: str
    revision: str | None
    size: int
    width: int
    labels: tuple[str, ...]
    tied: bool | None
    key: str


def is_fetched(model: str, revision: str | None) -> bool:
    """Whether naming this model means asking the hub; what is neither a path nor a hub id is fetched from nowhere."""
    from kslottery_core.checkpoints.sources import find_source

    try:
        return find_source(model, revision).kind == "hub"
    except KSLotteryError:
        return False


@st.cache_resource(
    max_entries=8, show_spinner="Reading the vocabulary…", validate=lambda opened: opened[0].key == _sign(opened[1])
)
def _open(model: str, revision: str | None) -> tuple[Vocabulary, EmbeddingMatrix]:
    from kslottery_core.checkpoints import label_tokens, open_embedding

    described = list_description_folders(loaders.DEMO_PATH)
    matrix = open_embedding(model, revision=revision, description_folders=described)
    size, width = matrix.shape
    labels, _ = label_tokens(matrix.token_strings, matrix.special_token_ids, size)
    return Vocabulary(model, revision, size, width, tuple(labels), matrix.tied, _sign(matrix)), matrix


def _sign(matrix: EmbeddingMatrix) -> str:
    return matrix.file_signature


def load_vocabulary(model: str, revision: str | None) -> Vocabulary:
    """Read the header of a model and its token names. Raises KSLotteryError."""
    return _open(model, revision)[0]


@st.cache_resource(max_entries=4, show_spinner=False)
def _load_tokenizer(key: str, model: str, revision: str | None) -> Any:
    from kslottery_core.checkpoints import load_tokenizer

    return load_tokenizer(model, revision=revision)


def get_tokenizer(vocabulary: Vocabulary) -> Any:
    """The model's tokenizer, loaded once. Raises KSLotteryError."""
    return _load_tokenizer(vocabulary.key, vocabulary.model, vocabulary.revision)


@st.cache_resource(max_entries=8, show_spinner="Counting tokens in the text…")
def _count(key: str, signature: str, spec: CorpusSpec, counting: TokenCounting, _vocabulary: Vocabulary) -> np.ndarray:
    return counting.count(get_tokenizer(_vocabulary), load_text(spec), spec, _vocabulary.size)


def load_token_counts(vocabulary: Vocabulary, spec: CorpusSpec, counting: TokenCounting) -> np.ndarray:
    """Occurrences of every token in a text, (V,) int64. Raises KSLotteryError."""
    return _count(vocabulary.key, sign_text(spec), spec, counting, vocabulary)


def get_pair_vocabulary(comparison: Comparison) -> Vocabulary:
    """The vocabulary of a pair's before model, whose tokenizer reads the texts; opens nothing anew."""
    choice, matrix = comparison.choice, comparison.pair.before
    rows, width = matrix.shape
    return Vocabulary(
        choice.before or "", choice.before_revision, rows, width, comparison.pair.tokens, matrix.tied, _sign(matrix)
    )


def load_pair_counts(comparison: Comparison, spec: CorpusSpec, counted: str) -> np.ndarray:
    """Occurrences of every token of a pair in a text, (V,) int64; `counted` is one of `tuning.COUNTED`.

    What training reads is counted with the usual prompt and length. Raises KSLotteryError.
    """
    from kslottery_core.tuning import TokenCounting

    counts = load_token_counts(get_pair_vocabulary(comparison), spec, TokenCounting(counted))
    return counts[: comparison.pair.vocabulary_size]


@st.cache_resource(max_entries=8, show_spinner="Drawing tokens of the same frequency…")
def _match(
    keys: tuple[str, str],
    spec: CorpusSpec,
    counting: TokenCounting,
    token_ids: tuple[int, ...],
    seed: int,
    _like: Ticket,
    _vocabulary: Vocabulary,
) -> Ticket:
    from kslottery_core.tickets import select_matched_ticket

    counts = load_token_counts(_vocabulary, spec, counting)
    text = counting.describe(name_text(spec))
    return select_matched_ticket(_like, counts, seed, tokens=_vocabulary.labels, text=text)


def load_matched_ticket(
    vocabulary: Vocabulary, spec: CorpusSpec, counting: TokenCounting, like: Ticket, seed: int
) -> Ticket:
    """Other tokens than those of `like`, as frequent in a text. Raises KSLotteryError."""
    return _match((vocabulary.key, sign_text(spec)), spec, counting, like.token_ids, seed, like, vocabulary)


def list_prompt_token_ids(
    vocabulary: Vocabulary, template: str, *, source_language: str, target_language: str
) -> tuple[int, ...]:
    """The ids of a template's own tokens. Raises KSLotteryError."""
    from kslottery_core.corpora import list_prompt_tokens

    return list_prompt_tokens(
        get_tokenizer(vocabulary), template, source_language=source_language, target_language=target_language
    )


def load_prompt_preview(vocabulary: Vocabulary, pair: SentencePair, spec: CorpusSpec, template: str) -> PromptPreview:
    """One example as the model reads it in training. Raises KSLotteryError."""
    from kslottery_core.tuning import preview_prompt

    return preview_prompt(get_tokenizer(vocabulary), pair, spec, template)


def name_text(spec: CorpusSpec) -> str:
    """The last part of a text's path."""
    return Path(spec.path).name or spec.path
