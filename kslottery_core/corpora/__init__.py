"""Parallel text and prompts: every rejected line has a number and a reason."""

from kslottery_core.corpora.prompts import (
    DEFAULT_PROMPT,
    LANGUAGE_NAMES,
    check_prompt,
    fill_prompt,
    hash_prompt,
    name_language,
)
from kslottery_core.corpora.text import Corpus, CorpusSpec, Rejection, SentencePair, count_leaks, load_corpus

__all__ = [
    "DEFAULT_PROMPT",
    "LANGUAGE_NAMES",
    "Corpus",
    "CorpusSpec",
    "Rejection",
    "SentencePair",
    "check_prompt",
    "count_leaks",
    "fill_prompt",
    "hash_prompt",
    "load_corpus",
    "name_language",
]
