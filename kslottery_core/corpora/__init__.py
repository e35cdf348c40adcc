"""Parallel text and prompts: every rejected line has a number and a reason."""

from kslottery_core.corpora.datasets_package import HUB_PREFIX
from kslottery_core.corpora.flores import list_splits
from kslottery_core.corpora.formats import FORMATS
from kslottery_core.corpora.json_text import ALPACA_PROMPT
from kslottery_core.corpora.languages import match_language
from kslottery_core.corpora.leaks import NEAR_THRESHOLD, Leak, LeakReport, count_leaks, find_leaks
from kslottery_core.corpora.pairs import Corpus, CorpusCounts, CorpusSpec, Rejection, SentencePair, normalise_text
from kslottery_core.corpora.preview import CorpusPreview, preview_corpus
from kslottery_core.corpora.prompts import (
    DEFAULT_PROMPT,
    LANGUAGE_NAMES,
    check_prompt,
    fill_prompt,
    hash_prompt,
    name_language,
)
from kslottery_core.corpora.text import load_corpus
from kslottery_core.corpora.token_counts import (
    Occurrence,
    TokenOccurrences,
    count_tokens,
    find_token_occurrences,
    list_prompt_tokens,
    tally_token_ids,
)

__all__ = [
    "ALPACA_PROMPT",
    "DEFAULT_PROMPT",
    "FORMATS",
    "HUB_PREFIX",
    "LANGUAGE_NAMES",
    "NEAR_THRESHOLD",
    "Corpus",
    "CorpusCounts",
    "CorpusPreview",
    "CorpusSpec",
    "Leak",
    "LeakReport",
    "Occurrence",
    "Rejection",
    "SentencePair",
    "TokenOccurrences",
    "check_prompt",
    "count_leaks",
    "count_tokens",
    "fill_prompt",
    "find_leaks",
    "find_token_occurrences",
    "hash_prompt",
    "list_prompt_tokens",
    "list_splits",
    "load_corpus",
    "match_language",
    "name_language",
    "normalise_text",
    "preview_corpus",
    "tally_token_ids",
]
