"""Which rows a run is to tune or copy: the ways of choosing them, and the ticket that the form's entries give."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import loaders, state
from dashboard.controls.fields import read_number, read_text
from dashboard.controls.text_fields import build_corpus
from dashboard.controls.ticket_shelf import combine_tickets, read_list, read_ticket_file
from dashboard.loaders import Comparison
from dashboard.loaders.vocabulary import (
    Vocabulary,
    is_fetched,
    list_prompt_token_ids,
    load_matched_ticket,
    load_token_counts,
    load_vocabulary,
    name_text,
)
from dashboard.wording import format_level, format_noun
from kslottery_core.errors import KSLotteryError, RunError, TicketError

if TYPE_CHECKING:
    from kslottery_core.tickets import Ticket

FROM_ALPHA = "The present ticket"
FROM_TOP = "The tokens with the largest D"
FROM_FREQUENT = "The most frequent tokens of the text"
FROM_RANDOM = "Random tokens"
FROM_MATCHED = "Random tokens as frequent as the ticket's"
FROM_PROMPT = "The tokens of the prompt"
FROM_PUBLISHED = "A published ticket (LLaMA-7B)"
FROM_LIST = "A list of tokens, typed"
FROM_FILE = "A ticket or list from a file"
FROM_UNION = "What any of several tickets holds"
FROM_INTERSECTION = "What all of several tickets hold"

NEEDS_A_PAIR = (FROM_ALPHA, FROM_TOP, FROM_MATCHED)
COMBINES = (FROM_UNION, FROM_INTERSECTION)
COUNTS_TOKENS = (FROM_FREQUENT, FROM_MATCHED)
"""Ways for which tokens are counted in a text."""

EXPLANATIONS = {
    FROM_TOP: "However small their D is: an empty ticket can be replaced in this way.",
    FROM_FREQUENT: "To compare with: published tickets hold mostly frequent tokens, so is it frequency that counts?",
    FROM_RANDOM: "To compare with: what any tokens would do, as many as the ticket has.",
    FROM_MATCHED: "To compare with: other tokens, each as frequent in the text as one of the present ticket.",
    FROM_PROMPT: "What surrounds every sentence: the template without the sentence in it.",
    FROM_PUBLISHED: "The ids that the paper's authors published; they fit models with the vocabulary of LLaMA-7B.",
    FROM_LIST: "Ids, ranges and tokens with commas between them: 13, 29871, 5-9, the. Quote a number or a comma.",
    FROM_FILE: "A ticket.json, or a text or JSON file with a list of ids and tokens.",
    FROM_UNION: "Union: every token that at least one of the tickets holds, such as those of several languages.",
    FROM_INTERSECTION: "Intersection: only tokens that every ticket holds, such as those that two seeds agree on.",
}


def list_sources(comparison: Comparison | None) -> tuple[str, ...]:
    """The ways that can be offered; some need an open pair."""
    every = (FROM_ALPHA, *EXPLANATIONS)
    return every if comparison is not None else tuple(way for way in every if way not in NEEDS_A_PAIR)


def get_source(comparison: Comparison | None) -> str:
    """The way that is chosen at present."""
    sources = list_sources(comparison)
    chosen = st.session_state.get("run_ticket_source")
    return chosen if chosen in sources else FROM_ALPHA if FROM_ALPHA in sources else FROM_FILE


def suggest_row_entries(comparison: Comparison | None) -> dict[str, object]:
    """What the fields of the choice begin with: as many rows as the ticket has, or 20 where none wins."""
    from kslottery_core.tickets import load_published_tickets

    size = 20 if comparison is None else _select_at_alpha(comparison).size or 20
    return {
        "run_frequent": size,
        "run_random": size,
        "run_row_seed": 0,
        "run_published": next(iter(load_published_tickets())),
    }


def name_rows(comparison: Comparison | None) -> str:
    """The choice in a few words, for the name of a run."""
    state, source = st.session_state, get_source(comparison)
    seed = f"seed {state.get('run_row_seed')}"
    if source == FROM_ALPHA and comparison is not None:
        alpha, words = state.get_choice().alpha, format_noun(_select_at_alpha(comparison).size, "token")
        if alpha.top_k is not None:
            return f"{words} with the largest D"
        return f"{words} at α {format_level(alpha.significance_level)}"
    return {
        FROM_TOP: f"{format_noun(int(state.get('run_top') or 0), 'token')} with the largest D",
        FROM_FREQUENT: f"{format_noun(int(state.get('run_frequent') or 0), 'frequent token')}",
        FROM_RANDOM: f"{format_noun(int(state.get('run_random') or 0), 'random token')}, {seed}",
        FROM_MATCHED: f"tokens as frequent as the ticket's, {seed}",
        FROM_PROMPT: "tokens of the prompt",
        FROM_PUBLISHED: f"published ticket {state.get('run_published') or ''}".rstrip(),
        FROM_LIST: "list of tokens",
        FROM_FILE: "ticket file",
        FROM_UNION: "union of tickets",
        FROM_INTERSECTION: "intersection of tickets",
    }[source]


def needs_download(comparison: Comparison | None) -> bool:
    """Whether looking at the base model's vocabulary asks the hub for it, and nobody has said yes to that."""
    model, revision = read_text("run_model"), read_text("run_revision") or None
    if comparison is not None and (model, revision) == (comparison.choice.before, comparison.choice.before_revision):
        return False
    return is_fetched(model, revision) and not state.is_download_allowed(("vocabulary", model, revision))


def load_base_vocabulary() -> Vocabulary:
    """The vocabulary of the base model that the form names. Raises KSLotteryError."""
    if not read_text("run_model"):
        raise RunError("The base model is missing; give a model folder, a GGUF file or a hub id.")
    return load_vocabulary(read_text("run_model"), read_text("run_revision") or None)


def find_tied(comparison: Comparison | None) -> bool | None:
    """Whether the base model shares input and output embedding; None when that cannot be told without more."""
    if not read_text("run_model") or needs_download(comparison):
        return None
    try:
        return load_base_vocabulary().tied
    except KSLotteryError:
        return None


def choose_ticket(comparison: Comparison | None) -> Ticket:
    """The ticket that the form's entries give; it may be empty. Raises KSLotteryError with one sentence."""
    from kslottery_core.tickets import intersect_tickets, load_published_ticket, select_top_k_ticket, unite_tickets

    source = get_source(comparison)
    if source == FROM_PUBLISHED:
        return load_published_ticket(str(st.session_state.get("run_published")))
    if source == FROM_FILE:
        return _read_file()
    if source in COMBINES:
        combine = unite_tickets if source == FROM_UNION else intersect_tickets
        return combine_tickets(comparison, combine, lambda upload: read_ticket_file(upload, load_base_vocabulary))
    if comparison is not None and source == FROM_TOP:
        return select_top_k_ticket(comparison.result, int(read_number("run_top")), tokens=comparison.pair.tokens)
    if comparison is not None and source == FROM_ALPHA:
        return _select_at_alpha(comparison)
    vocabulary = load_base_vocabulary()
    like = None if comparison is None else _select_at_alpha(comparison)
    return replace(_choose_in_vocabulary(source, vocabulary, like), width=vocabulary.width)


def _select_at_alpha(comparison: Comparison) -> Ticket:
    return loaders.load_selection(comparison, state.get_choice().alpha).ticket


def _choose_in_vocabulary(source: str, vocabulary: Vocabulary, like: Ticket | None) -> Ticket:
    from kslottery_core.corpora import hash_prompt
    from kslottery_core.tickets import (
        create_prompt_ticket,
        select_frequent_ticket,
        select_random_ticket,
    )

    labels = vocabulary.labels
    if source == FROM_LIST:
        return read_list(read_text("run_list"), vocabulary, "named in the run form")
    if source == FROM_RANDOM:
        count, seed = int(read_number("run_random")), int(read_number("run_row_seed"))
        return select_random_ticket(vocabulary.size, count, seed, tokens=labels)
    if source == FROM_PROMPT:
        for side in ("source", "target"):
            if not read_text(f"run_{side}"):
                raise RunError(f"The {side} language is missing; the prompt names it, so its tokens depend on it.")
        template = st.session_state["run_prompt"]
        ids = list_prompt_token_ids(
            vocabulary, template, source_language=read_text("run_source"), target_language=read_text("run_target")
        )
        return create_prompt_ticket(ids, vocabulary.size, prompt_hash=hash_prompt(template), tokens=labels)
    if source == FROM_MATCHED and like is not None and not like.size:
        raise TicketError("The present ticket is empty, so there is nothing to match; raise α, or choose by a number.")
    if not read_text("run_train"):
        raise RunError("The text to count tokens in is missing; give a file of sentence pairs below.")
    spec = build_corpus("train")
    if source == FROM_MATCHED and like is not None:
        return load_matched_ticket(vocabulary, spec, like, int(read_number("run_row_seed")))
    counts = load_token_counts(vocabulary, spec)
    return select_frequent_ticket(counts, int(read_number("run_frequent")), tokens=labels, text=name_text(spec))


def _read_file() -> Ticket:
    upload = st.session_state.get("run_ticket_file")
    if upload is None:
        raise RunError("The ticket is missing; choose a ticket file, or open a pair and select one there.")
    return read_ticket_file(upload, load_base_vocabulary)
