"""What is to be certified, and the work that does it: entries, the button, progress and stopping.

Every entry is part of the session's choice.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard import loaders, state
from dashboard.controls.alpha_control import show_alpha_control
from dashboard.controls.empty_ticket import show_empty_ticket
from dashboard.controls.navigation import show_link
from dashboard.controls.text_fields import describe_lines, needs_columns
from dashboard.loaders import Comparison
from dashboard.loaders.texts import is_on_hub, load_preview, text_exists
from dashboard.state.parameters import MOST_LEFT_BEHIND
from dashboard.views.certificates.loading import CertificateWork, find_work, list_live_works, start_certifying
from dashboard.wording import (
    CERTIFIED_ROWS,
    CERTIFYING_PHASE_NAMES,
    escape_markdown,
    format_name,
    format_noun,
    format_token,
    shorten,
)
from kslottery_core.errors import CertificationError, CorpusError, KSLotteryError

if TYPE_CHECKING:
    from pathlib import Path

    from kslottery_core.certification import CertificationTask
    from kslottery_core.corpora import CorpusSpec
    from kslottery_core.tickets import Ticket

_SHOWN_TOKENS = 24
_COLUMNS = {"source_column": "Source column", "target_column": "Target column"}
_POLL_SECONDS = 1.0
_COUNTED_PHASES = ("ks", "generate", "certify")
_DOUBLE_CLICK_SECONDS = 0.6
_STARTED = "kslottery.certification_started"


@dataclass(frozen=True)
class Entries:
    """A task, or None with the reason in one sentence. `missing`: nothing is wrong, but something has not been entered
    yet. `path` is the text as it was entered."""

    task: CertificationTask | None = None
    problem: str | None = None
    missing: bool = False
    path: str = ""


class _MissingEntryError(CertificationError):
    """Something has not been entered yet."""


def show_certificate_entries(comparison: Comparison) -> Entries:
    """Show every entry and what it names; a wrong one gives one sentence, and stays as it was typed."""
    path = _get_entry(comparison, "path")
    try:
        ticket = _show_ticket(comparison)
    except KSLotteryError as problem:
        ticket = problem
    try:
        spec = _show_text(comparison)
    except KSLotteryError as problem:
        spec = problem
    _show_settings(None if isinstance(spec, KSLotteryError) else spec)
    for entry in (ticket, spec):
        if isinstance(entry, KSLotteryError):
            return Entries(problem=str(entry), missing=isinstance(entry, _MissingEntryError), path=path)
    assert not isinstance(ticket, KSLotteryError)
    assert not isinstance(spec, KSLotteryError)
    try:
        return Entries(_build_task(comparison, ticket, spec), path=path)
    except KSLotteryError as problem:
        return Entries(problem=str(problem), path=path)


def _get_entry(comparison: Comparison, name: str) -> str:
    """An entry as the person made it; otherwise what the demo suggests."""
    from kslottery_core.corpora import CorpusSpec

    chosen = getattr(state.get_choice().certificates, name)
    if chosen is not None:
        return chosen
    if not loaders.is_demo(comparison.choice):
        return ""
    return str(loaders.find_demo_text("test") or "") if name == "path" else getattr(CorpusSpec, name)


def _take(name: str, key: str, empty: Any = "") -> None:
    """What a widget holds becomes the choice; a cleared one becomes `empty`."""
    value = st.session_state[key]
    state.change(
        "certificates", **{name: empty if value is None else value.strip() if isinstance(value, str) else value}
    )


def _show_ticket(comparison: Comparison) -> Ticket:
    rows = state.get_choice().certificates.rows
    st.session_state["certificate_rows"] = rows
    st.segmented_control(
        "Ticket: which rows the partial model takes from the embedding-tuned one",
        list(CERTIFIED_ROWS),
        format_func=CERTIFIED_ROWS.__getitem__,
        key="certificate_rows",
        required=True,
        on_change=_take,
        args=("rows", "certificate_rows", "alpha"),
    )
    if rows == "alpha":
        show_alpha_control(comparison, compact=True)
        selection = loaders.load_selection(comparison, state.get_choice().alpha)
        show_empty_ticket(comparison, selection)
        _show_tokens(selection.ticket)
        return selection.ticket
    ticket = _read_listed(comparison) if rows == "list" else _read_file()
    _show_tokens(ticket)
    return ticket


def _read_listed(comparison: Comparison) -> Ticket:
    from kslottery_core.tickets import create_list_ticket, parse_token_list

    st.session_state["certificate_list"] = state.get_choice().certificates.listed
    st.text_area(
        "Tokens",
        key="certificate_list",
        height=80,
        placeholder='13, 29871, 5-9, the, "7"',
        help="Ids, ranges and tokens with commas between them. Quote a number that is a token, or a comma.",
        on_change=_take,
        args=("listed", "certificate_list"),
    )
    typed, pair = state.get_choice().certificates.listed, comparison.pair
    if not typed:
        raise _MissingEntryError("Enter the tokens of the ticket first, as ids, ranges or tokens: 13, 29871, 5-9, the.")
    return create_list_ticket(
        parse_token_list(typed, pair.vocabulary_size, pair.tokens), pair.vocabulary_size, pair.tokens
    )


def _read_file() -> Ticket:
    from kslottery_core.tickets import Ticket

    upload = st.file_uploader("Ticket file (JSON)", type=["json"], key="certificate_ticket_file")
    if upload is None:
        raise _MissingEntryError(
            "Choose a ticket file first: one that was downloaded from the Alpha page or written on the command line."
        )
    try:
        content = json.loads(upload.getvalue().decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise CertificationError(
            f"{upload.name}: expected a ticket, found no JSON; choose one that was downloaded here."
        ) from None
    return Ticket.from_json(content, upload.name)


def _show_tokens(ticket: Ticket) -> None:
    more = ticket.size - _SHOWN_TOKENS
    names = ticket.tokens or tuple(f"id {token_id}" for token_id in ticket.token_ids)
    st.caption(
        f"{format_noun(ticket.size, 'token')} in the ticket"
        + (": " + " ".join(format_token(name) for name in names[:_SHOWN_TOKENS]) if names else ".")
        + (f" and {more:,} more" if more > 0 else "")
    )


def _show_text(comparison: Comparison) -> CorpusSpec:
    path, source, target, limit = st.columns([4, 1.1, 1.1, 1.5])
    for name in ("path", "source", "target"):
        st.session_state[f"certificate_{name}"] = _get_entry(comparison, name)
    st.session_state["certificate_limit"] = state.get_choice().certificates.limit or None
    path.text_input(
        "Test text",
        key="certificate_path",
        placeholder="/texts/test.jsonl",
        help="Parallel text in any format that the Runs page takes: JSON lines, CSV, TSV, TMX, one of two line-aligned "
        "files, Alpaca instructions, a FLORES folder, or hub:ORGANISATION/NAME.",
        on_change=_take,
        args=("path", "certificate_path"),
    )
    for place, name, label in ((source, "source", "From"), (target, "target", "To")):
        place.text_input(
            label,
            key=f"certificate_{name}",
            placeholder="en" if name == "source" else "ca",
            help="A language's code, or its column.",
            on_change=_take,
            args=(name, f"certificate_{name}"),
        )
    limit.number_input(
        "Sentences at most",
        min_value=1,
        step=10,
        value=None,
        key="certificate_limit",
        placeholder="all",
        help="Use only the first N pairs of the text; empty for all. The time grows with their number.",
        on_change=_take,
        args=("limit", "certificate_limit", 0),
    )
    return _find_text(comparison)


def _find_text(comparison: Comparison) -> CorpusSpec:
    """The text as it was entered, with a line about what was found there. Raises KSLotteryError."""
    from kslottery_core.corpora import CorpusSpec

    path, source, target = (_get_entry(comparison, name) for name in ("path", "source", "target"))
    view = state.get_choice().certificates
    if not path:
        raise _MissingEntryError("Give a test text first: a file of sentence pairs that the models were not tuned on.")
    if not source or not target:
        raise _MissingEntryError("Give both languages of the test text first, such as en and ca.")
    if is_on_hub(path) and not state.is_download_allowed(("text", path)):
        st.button(
            "Fetch the text from the hub",
            icon=":material/download:",
            key="certificate_fetch_text",
            on_click=state.allow_download,
            args=(("text", path),),
        )
        raise _MissingEntryError(f"The text {shorten(path)} is on the hub; fetch it first.")
    if not is_on_hub(path) and not text_exists(path):
        raise CorpusError(f"There is no file at {shorten(path, 200)}; check the path of the test text.")
    spec = CorpusSpec(path, source, target, view.limit or None)
    preview = load_preview(spec)
    if needs_columns(spec, preview):
        found = {"source_column": preview.source_column, "target_column": preview.target_column}
        spec = CorpusSpec(path, source, target, view.limit or None, **_show_columns(preview.columns, found))
        preview = load_preview(spec)
    st.caption(f"Test text: {escape_markdown(preview.format_name)}. {describe_lines(preview)}")
    return spec


def _show_columns(columns: tuple[str, ...], found: dict[str, str | None]) -> dict[str, str]:
    st.markdown(
        "The text has no columns named after these languages. Which column holds which side?"
        if columns
        else "The text has no columns at all."
    )
    chosen = {}
    for (name, label), place in zip(_COLUMNS.items(), st.columns(2), strict=True):
        kept = getattr(state.get_choice().certificates, name)
        key = f"certificate_{name}"
        st.session_state[key] = kept if kept in columns else found[name]
        chosen[name] = place.selectbox(
            label,
            columns,
            index=None,
            key=key,
            placeholder="Choose a column",
            on_change=_take,
            args=(name, key, None),
        )
    missing = [_COLUMNS[name].lower() for name, column in chosen.items() if column is None]
    if missing:
        raise _MissingEntryError(f"Choose the {missing[0]} of the test text first.")
    return {name: str(column) for name, column in chosen.items()}


def _show_settings(spec: CorpusSpec | None) -> None:
    from kslottery_core.corpora import DEFAULT_PROMPT

    usual = (None if spec is None else load_preview(spec).prompt) or DEFAULT_PROMPT
    view = state.get_choice().certificates
    st.session_state["certificate_prompt"] = usual if view.prompt is None else view.prompt
    st.session_state["certificate_new_tokens"] = view.new_tokens
    with st.expander("More settings", expanded=view.prompt is not None):
        st.text_area(
            "Prompt",
            key="certificate_prompt",
            height=110,
            help="{source} stands for the sentence, {source_language} and {target_language} for the languages' names. "
            "Empty for the default one.",
            on_change=_take_prompt,
            args=(usual,),
        )
        new_tokens, larger = st.columns(2)
        st.session_state["certificate_larger_limit"] = view.larger_limit
        larger.number_input(
            "Try every larger ticket: maximum tokens left behind",
            min_value=0,
            max_value=MOST_LEFT_BEHIND,
            step=1,
            key="certificate_larger_limit",
            help="A level without an assumption: where an input leaves at most this many tokens behind, every "
            "combination of their rows is run; each further token doubles the work. 0 turns it off; 6 takes a minute "
            "on the demo.",
            on_change=_take,
            args=("larger_limit", "certificate_larger_limit", 0),
        )
        new_tokens.number_input(
            "New tokens at most",
            min_value=1,
            step=8,
            key="certificate_new_tokens",
            help="The longest greedy output; one that has not ended by then is certified up to that point.",
            on_change=_take,
            args=("new_tokens", "certificate_new_tokens", 64),
        )


def _take_prompt(usual: str) -> None:
    typed = st.session_state["certificate_prompt"]
    state.change("certificates", prompt=typed if typed.strip() and typed != usual else None)


def _build_task(comparison: Comparison, ticket: Ticket, spec: CorpusSpec) -> CertificationTask:
    from kslottery_core.certification import CertificationTask

    choice, view = comparison.choice, state.get_choice().certificates
    return CertificationTask(
        before=choice.before or "",
        after=choice.after or "",
        ticket=ticket,
        corpus=spec,
        prompt=view.prompt,
        max_new_tokens=view.new_tokens,
        larger_ticket_limit=view.larger_limit,
        before_revision=choice.before_revision,
        after_revision=choice.after_revision,
    )


def show_certify_button(
    task: CertificationTask | None, path: Path | None, problem: KSLotteryError | None, *, counted: bool = False
) -> None:
    """The button that starts the work, and why the last attempt failed; nothing while this work is in progress.
    `counted`: the counts of this ticket are known from the certificate of another one."""
    work = None if path is None else find_work(str(path))
    if work is not None and work.live:
        return
    if work is not None and work.state == "failed":
        st.error(escape_markdown(work.problem or ""))
    elif work is not None and work.state == "stopped":
        st.info("Certifying was stopped and nothing was saved; you can start it again.")
    elif counted:
        st.info(
            "The counts below come from the certificate of another α, whose grid includes this ticket. Press Certify "
            "to see its sentences and margins too: both models then run over the text."
        )
    elif path is not None:
        st.info(
            "Nothing is certified yet for this ticket and this text. Press Certify: both models then run over the "
            "text, and the results appear here."
        )
    if problem is not None:
        st.error(escape_markdown(str(problem)))
        show_link("pair", "Choose another pair")
    button, words = st.columns([1.4, 5], vertical_alignment="center")
    button.button(
        "Certify",
        type="primary",
        icon=":material/verified:",
        key="certify",
        disabled=task is None or path is None,
        on_click=_start,
        args=(task, path),
    )
    words.caption(
        "It runs on this computer: seconds for the demo, much longer for a large model. It continues if you leave this "
        "page, and the result is saved."
    )


def _start(task: CertificationTask, path: Path) -> None:
    st.session_state[_STARTED] = time.monotonic()
    start_certifying(task, path)


def watch_works() -> None:
    """All work in progress, with a way to stop it; refreshed every second while there is any.

    Call it at the top level of a page. When a piece of work ends, the whole page is drawn again.
    """
    live = tuple(work.key for work in list_live_works())
    st.fragment(_watch, run_every=_POLL_SECONDS if live else None)(live)


def _watch(before: tuple[str, ...]) -> None:
    works = list_live_works()
    if tuple(work.key for work in works) != before:
        st.rerun()
    for position, work in enumerate(works):
        _show_work(work, position)


def _show_work(work: CertificateWork, position: int) -> None:
    with st.container(border=True):
        st.markdown(f"**{escape_markdown(work.title)}**")
        bar, button = st.columns([6, 1.2], vertical_alignment="center")
        event = work.event
        if work.state == "waiting":
            bar.progress(0.0, text="Waiting for the work above to finish…" if position else "Waiting…")
        elif event is None:
            bar.progress(0.0, text="Starting…")
        elif event.phase == "wait":
            bar.progress(0.0, text=escape_markdown(f"The work {event.message}…"))
        else:
            counted = event.phase in _COUNTED_PHASES and event.total
            share = min(1.0, event.step / event.total) if counted else 0.0
            amount = f": {event.step:,} of {event.total:,}" if counted else "…"
            bar.progress(share, text=f"{format_name(CERTIFYING_PHASE_NAMES, event.phase)}{amount}")
        if work.stop.is_set():
            button.caption("Stopping…")
        else:
            button.button("Stop", icon=":material/stop:", key=f"stop_{work.key}", on_click=_stop, args=(work,))


def _stop(work: CertificateWork) -> None:
    # The second click of a double click on Certify may land where Stop now is.
    if time.monotonic() - st.session_state.get(_STARTED, 0.0) > _DOUBLE_CLICK_SECONDS:
        work.stop.set()
