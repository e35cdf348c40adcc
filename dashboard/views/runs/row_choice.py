"""Which rows a run is to tune or copy: the ways of choosing them, and the ticket that the form's entries give."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import loaders, state
from dashboard.controls.fields import KEEP, name_training_field, read_number, read_text
from dashboard.controls.text_fields import build_corpus, mark_problem
from dashboard.controls.ticket_shelf import UPLOADED, combine_tickets, read_list, read_ticket_file, show_ticket_shelf
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
from dashboard.wording import (
    FREQUENCY_NAMES,
    escape_markdown,
    format_code,
    format_level,
    format_noun,
    format_number,
    format_share,
    format_token,
)
from kslottery_core.errors import KSLotteryError, RunError, TicketError

if TYPE_CHECKING:
    from kslottery_core.tickets import Ticket
    from kslottery_core.tuning import TokenCounting

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
        "run_counted": "training",
        "run_published": next(iter(load_published_tickets())),
    }


def name_rows(comparison: Comparison | None) -> str:
    """The choice in a few words, for the name of a run."""
    entries, source = st.session_state, get_source(comparison)
    seed = f"seed {entries.get('run_row_seed')}"
    if source == FROM_ALPHA and comparison is not None:
        alpha, words = state.get_choice().alpha, format_noun(_select_at_alpha(comparison).size, "token")
        if alpha.top_k is not None:
            return f"{words} with the largest D"
        return f"{words} at α {format_level(alpha.significance_level)}"
    return {
        FROM_TOP: f"{format_noun(int(entries.get('run_top') or 0), 'token')} with the largest D",
        FROM_FREQUENT: f"{format_noun(int(entries.get('run_frequent') or 0), 'frequent token')}",
        FROM_RANDOM: f"{format_noun(int(entries.get('run_random') or 0), 'random token')}, {seed}",
        FROM_MATCHED: f"tokens as frequent as the ticket's, {seed}",
        FROM_PROMPT: "tokens of the prompt",
        FROM_PUBLISHED: f"published ticket {entries.get('run_published') or ''}".rstrip(),
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
    spec, counting = build_corpus("train"), _build_counting()
    if source == FROM_MATCHED and like is not None:
        return load_matched_ticket(vocabulary, spec, counting, like, int(read_number("run_row_seed")))
    counts = load_token_counts(vocabulary, spec, counting)
    text = counting.describe(name_text(spec))
    return select_frequent_ticket(counts, int(read_number("run_frequent")), tokens=labels, text=text)


def _build_counting() -> TokenCounting:
    """What the form counts: training as it would be, with its prompt and length, or the text alone."""
    from kslottery_core.corpora import check_prompt
    from kslottery_core.tuning import TokenCounting, TuningSettings

    entries = st.session_state
    check_prompt(entries["run_prompt"])
    length = entries.get(name_training_field("max_length", entries.get("run_method"))) or TuningSettings.max_length
    return TokenCounting(entries.get("run_counted") or "training", entries["run_prompt"], int(length))


def _read_file() -> Ticket:
    upload = st.session_state.get("run_ticket_file")
    if upload is None:
        raise RunError("The ticket is missing; choose a ticket file, or open a pair and select one there.")
    return read_ticket_file(upload, load_base_vocabulary)


_SHOWN_TOKENS = 24


def show_row_source(comparison: Comparison | None) -> None:
    """Ask how rows are chosen, and show which ones that gives."""
    st.session_state["run_ticket_source"] = get_source(comparison)
    with st.container(border=True):
        widths = [1, 1] if get_source(comparison) == FROM_PUBLISHED else [2, 1, 1]  # its names are long
        choose, *entries = st.columns(widths, vertical_alignment="bottom")
        source = choose.selectbox(
            "Ticket: which rows",
            list_sources(comparison),
            key="run_ticket_source",
            help="The ticket is the method's own choice. The others are what to compare it with: equally many rows, "
            "frequent or random, show what is due to these tokens and what to their number or frequency.",
            **KEEP,
        )
        if source in EXPLANATIONS:
            st.caption(EXPLANATIONS[source])
        _show_entries(source, entries[0], entries[-1])
        if source in COMBINES:
            show_ticket_shelf(comparison)
        _show_preview(source, comparison)


def _show_entries(source: str, first: st.delta_generator.DeltaGenerator, second: st.delta_generator.DeltaGenerator):
    if source == FROM_TOP:
        first.number_input("Number of tokens", min_value=1, value=20, step=1, key="run_top", **KEEP)
    elif source in (FROM_FREQUENT, FROM_RANDOM):
        key = "run_frequent" if source == FROM_FREQUENT else "run_random"
        first.number_input("Number of tokens", min_value=1, value=None, step=1, key=key, **KEEP)
    if source in (FROM_RANDOM, FROM_MATCHED):
        (second if source == FROM_RANDOM else first).number_input(
            "Seed of the choice",
            min_value=0,
            value=None,
            step=1,
            key="run_row_seed",
            help="The same seed draws the same tokens again; several seeds show how much is chance.",
            **KEEP,
        )
    if source in (FROM_FREQUENT, FROM_MATCHED):
        second.selectbox(
            "Count",
            list(FREQUENCY_NAMES),
            format_func=FREQUENCY_NAMES.__getitem__,
            key="run_counted",
            help="In training the model also reads the prompt around every pair, and special tokens.",
            **KEEP,
        )
    if source == FROM_PUBLISHED:
        names = _name_published()
        if st.session_state.get("run_published") not in names:
            st.session_state["run_published"] = next(iter(names))
        first.selectbox("Published for", list(names), format_func=names.__getitem__, key="run_published", **KEEP)
    elif source == FROM_LIST:
        st.text_area("Tokens of the list", key="run_list", height=80, placeholder='13, 29871, 5-9, the, "7"', **KEEP)
    elif source == FROM_FILE:
        st.file_uploader("Ticket or list (JSON or text)", type=["json", "txt"], key="run_ticket_file")


def _name_published() -> dict[str, str]:
    from kslottery_core.corpora import name_language
    from kslottery_core.tickets import load_published_tickets

    names = {}
    for name, ticket in load_published_tickets().items():
        language = name_language(name.split("@")[0].removeprefix("en-"))
        which = " (en-ca)" if name.startswith("en-") else ""
        names[name] = (
            f"{language}{which}, α {format_level(ticket.significance_level)}: {format_noun(ticket.size, 'token')}"
        )
    return names


def _show_preview(source: str, comparison: Comparison | None) -> None:
    """What the choice gives: how many, the first ones, what it shares with the ticket, how it was chosen."""
    if source == FROM_FILE and st.session_state.get("run_ticket_file") is None:
        return
    if source == FROM_LIST and not read_text("run_list"):
        return
    model, revision = read_text("run_model"), read_text("run_revision") or None
    needs_no_vocabulary = (FROM_ALPHA, FROM_TOP, FROM_PUBLISHED, *(() if st.session_state.get(UPLOADED) else COMBINES))
    if source not in needs_no_vocabulary and needs_download(comparison):
        st.caption(f"To show these tokens, the vocabulary of {format_code(model)} has to be fetched from the hub.")
        st.button(
            "Fetch it and show the tokens",
            icon=":material/download:",
            key="fetch_vocabulary",
            on_click=state.allow_download,
            args=(("vocabulary", model, revision),),
        )
        return
    try:
        ticket = choose_ticket(comparison)
    except KSLotteryError as problem:
        st.caption(mark_problem(problem))
        return
    _show_size(source, ticket, comparison)
    if ticket.size:
        more = ticket.size - _SHOWN_TOKENS
        st.markdown(
            " ".join(format_token(label) for label in _name_tokens(ticket, comparison)[:_SHOWN_TOKENS])
            + (f" and {more:,} more" if more > 0 else "")
        )
    if ticket.note and source != FROM_ALPHA:
        st.caption(escape_markdown(ticket.note))
    if ticket.size:
        _warn_of_misfit(ticket, comparison)


def _name_tokens(ticket: Ticket, comparison: Comparison | None) -> tuple[str, ...]:
    """Labels of the ticket's tokens; ids where neither the ticket nor a pair of the same vocabulary knows them."""
    if ticket.tokens:
        return ticket.tokens
    if comparison is not None and comparison.pair.vocabulary_size == ticket.vocabulary_size:
        return tuple(comparison.pair.tokens[token_id] for token_id in ticket.token_ids)
    return tuple(f"id {token_id}" for token_id in ticket.token_ids)


def _show_size(source: str, ticket: Ticket, comparison: Comparison | None) -> None:
    alpha = state.get_choice().alpha
    if source == FROM_ALPHA:
        place = escape_markdown(state.describe_place(alpha))
        st.caption(
            f"{format_noun(ticket.size, 'token')} {place}."
            if ticket.size
            else f"No token wins {place}: raise α, or take the tokens with the largest D."
        )
        return
    size = f"**{format_noun(ticket.size, 'token')}**, {format_share(ticket.size, ticket.vocabulary_size)} of "
    size += f"{ticket.vocabulary_size:,}."
    st.markdown(size + _describe_overlap(ticket, comparison, escape_markdown(state.describe_place(alpha))))


def _describe_overlap(ticket: Ticket, comparison: Comparison | None, place: str) -> str:
    from kslottery_core.tickets import compute_overlap

    if comparison is None:
        return ""
    at_alpha = loaders.load_selection(comparison, state.get_choice().alpha).ticket
    if not at_alpha.size:
        return f" The ticket {place} is empty."
    if at_alpha.vocabulary_size != ticket.vocabulary_size:
        return " The open pair has another vocabulary, so the two tickets cannot be compared."
    overlap = compute_overlap([at_alpha, ticket])
    if ticket.rule == "matched":  # they were drawn outside it, so chance is no measure here
        return f" None of them is in the ticket {place} ({format_noun(at_alpha.size, 'token')}), by intent."
    shared = "None" if not overlap.in_all else f"{overlap.in_all:,}"
    return (
        f" {shared} of them {'is' if overlap.in_all < 2 else 'are'} also in the ticket {place} "
        f"({format_noun(at_alpha.size, 'token')}); by chance it would be {format_number(overlap.expected_in_all, 2)}."
    )


def _warn_of_misfit(ticket: Ticket, comparison: Comparison | None) -> None:
    """Say at once that a ticket belongs to another model; whether it does is asked again at Start."""
    from kslottery_core.tickets import check_ticket_fits

    if not read_text("run_model") or needs_download(comparison):
        return
    try:
        vocabulary = load_base_vocabulary()
        check_ticket_fits(ticket, vocabulary.size, vocabulary.width)
    except KSLotteryError as problem:
        st.caption(mark_problem(problem))
