"""All runs in a table and one of them in full, as they are at this moment."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.controls.navigation import show_link
from dashboard.controls.picture import show_picture
from dashboard.controls.run_summary import RunSummary, summarise_run
from dashboard.views.runs.figures import loss_curve_figure, summarise_loss
from dashboard.wording import (
    METHOD_NAMES,
    NOT_MEASURED,
    PHASE_NAMES,
    RULE_NAMES,
    STATE_NAMES,
    TICKET_ROW_NAMES,
    escape_markdown,
    format_bytes,
    format_code,
    format_count,
    format_moment,
    format_name,
    format_noun,
    format_seconds,
    shorten,
)
from kslottery_core.errors import KSLotteryError
from kslottery_core.tuning.settings import TRAINED_METHODS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kslottery_core.runs import RunRecord, RunSpec
    from kslottery_core.tickets import Ticket


def show_run_details(record: RunRecord) -> None:
    """An expander with the run's models, rows, settings, texts and prompt."""
    spec = record.spec
    with st.expander("What was asked"):
        if spec is None:
            st.caption("The file that says it cannot be read.")
            return
        texts = [
            f"{label}: {format_code(corpus.path)} ({escape_markdown(f'{corpus.source} to {corpus.target}')})"
            for label, corpus in (("Training text", spec.train), ("Test text", spec.test))
            if corpus is not None
        ]
        ticket = [] if spec.ticket is None else [_describe_ticket(spec.ticket)]
        tuned = [] if spec.after is None else [_describe_model("Tuned model", spec.after, spec.after_revision)]
        base = _describe_model("Base model", spec.model, spec.revision)
        lines = [
            base,
            *tuned,
            *ticket,
            *_describe_training(spec),
            *texts,
            f"Folder of the run: {format_code(str(record.folder))}",
        ]
        st.markdown("\n".join(f"- {line}" for line in lines))
        st.markdown("Prompt")
        st.code(spec.prompt, language=None)


def _describe_ticket(ticket: Ticket) -> str:
    rule = format_name(RULE_NAMES, ticket.rule)
    return escape_markdown(f"Ticket: {format_noun(ticket.size, 'token')}, {rule}. {ticket.note or ''}")


def _describe_training(spec: RunSpec) -> list[str]:
    """The settings that tell runs of one method apart; none where nothing is trained."""
    tuning, lora = spec.tuning, spec.tuning.lora
    if spec.method not in TRAINED_METHODS:
        return []
    length = f"{tuning.max_steps:,} steps" if tuning.max_steps else f"{tuning.epochs:g} epochs"
    pairs = tuning.batch_size * tuning.gradient_accumulation
    lines = [f"Learning rate {tuning.learning_rate:g}, {length} of {pairs:,} pairs, seed {tuning.seed}"]
    if spec.method == "lora":
        modules = ", ".join(lora.target_modules) or "all linear layers but the output head"
        lines.append(f"LoRA: rank {lora.rank}, alpha {lora.alpha:g}, dropout {lora.dropout:g}, {modules}")
    elif spec.method == "prefix":
        lines.append(f"Prefix: {format_noun(tuning.prefix.virtual_tokens, 'virtual token')}")
    elif spec.method == "ticket":
        lines.append(f"Rows: {format_name(TICKET_ROW_NAMES, tuning.ticket_rows)}")
    return [escape_markdown(line) for line in lines]


def _describe_model(label: str, source: str, revision: str | None) -> str:
    return f"{label}: {format_code(source)}" + ("" if revision is None else f", revision {format_code(revision)}")


_STATE_COLOURS = {"finished": "green", "running": "blue", "queued": "gray", "cancelled": "gray"}
_COUNTED_PHASES = ("tune", "generate", "score")  # the others are one step that says nothing
_TABLE_ROWS = 8
_RESUMABLE = ("failed", "died", "cancelled")
_FORCED = "kslottery.forced_runs"


def choose_run(records: Sequence[RunRecord]) -> RunRecord:
    """Show the table of runs; returns the chosen one, by default the newest."""
    run_ids = [record.run_id for record in records]
    chosen = state.get_choice().run_id
    place = run_ids.index(chosen) if chosen in run_ids else 0
    if chosen is not None and chosen not in run_ids:
        st.warning(escape_markdown(f"There is no run {shorten(chosen)!r} here; the newest run is shown instead."))
    # The browser remembers a row's number: another list of runs is another table.
    digest = hashlib.sha256(" ".join(run_ids).encode()).hexdigest()[:12]
    event = st.dataframe(
        build_run_table(records),
        key=f"runs_table_{digest}_{state.count_restored()}",
        hide_index=True,
        height=38 + 35 * min(len(records), _TABLE_ROWS),
        on_select="rerun",
        selection_mode="single-row",
        selection_default={"selection": {"rows": [place]}},
        column_config={
            "Run": st.column_config.TextColumn(width=200),
            "State": st.column_config.TextColumn(width=116),
            "Progress": st.column_config.ProgressColumn(format="%.0f %%", min_value=0, max_value=100, width=90),
            "Duration": st.column_config.TextColumn(width=78),
            "Created": st.column_config.TextColumn(width=146),
            "Method": st.column_config.TextColumn(width=160),
        },
        alt="Runs, newest first",
    )
    rows = [row for row in event.selection.rows if row < len(records)]
    record = records[rows[0]] if rows else records[place]
    state.choose(run_id=record.run_id)
    return record


def build_run_table(records: Sequence[RunRecord]) -> pd.DataFrame:
    """One row a run, newest first."""
    rows = []
    for record in records:
        status = record.status
        counted = status.state == "running" and status.total and status.phase in _COUNTED_PHASES
        percent = min(100.0, 100 * status.step / status.total) if counted else None
        state = format_name(STATE_NAMES, status.state)
        if status.state == "running" and status.phase:
            state += f": {format_name(PHASE_NAMES, status.phase).lower()}"
        rows.append(
            {
                "Run": record.name,
                "State": state,
                "Progress": 100.0 if status.state == "finished" else percent,
                "Duration": format_seconds(record.seconds) if record.seconds is not None else "",
                "Created": format_moment(status.created),
                "Method": format_name(METHOD_NAMES, record.spec.method) if record.spec else "",
            }
        )
    return pd.DataFrame(rows)


def show_run(record: RunRecord) -> None:
    """One run in full."""
    status = record.status
    with st.container(border=True):
        title, badge, cancel = st.columns([6, 1.2, 1.2], vertical_alignment="center")
        title.markdown(f"### {escape_markdown(record.name)}")
        badge.badge(format_name(STATE_NAMES, status.state), color=_STATE_COLOURS.get(status.state, "red"))
        if status.live and not record.read_only:
            _show_cancel(record, cancel)
        elif status.state in _RESUMABLE and record.spec is not None and not record.read_only:
            _show_resume(record, cancel)
        if record.problem and record.problem != status.message:
            st.error(escape_markdown(record.problem))
        _show_state(record)
        if record.spec is not None and record.spec.method in TRAINED_METHODS:
            _show_loss(record)
        if record.result is not None:
            _show_result(summarise_run(record))
        bad_end = status.state in ("failed", "died")
        log = record.read_log_tail(40)
        with st.expander("End of the log", expanded=bad_end):
            if log:
                st.code(log, language=None, wrap_lines=True)
            else:
                st.caption("The log is empty.")
        show_run_details(record)


def _show_cancel(record: RunRecord, column: st.delta_generator.DeltaGenerator) -> None:
    """Ask first; force is a second, separate decision, because it loses what the run has not saved."""
    if not record.cancel_requested:
        column.button(
            "Cancel",
            icon=":material/stop_circle:",
            key=f"cancel_{record.run_id}",
            on_click=_ask_to_stop,
            args=(record,),
        )
        return
    column.caption("Stopping…")
    forced = st.session_state.get(_FORCED, {}).get(record.run_id)
    if forced is not None:
        st.warning(" ".join(["It is being stopped by force.", *map(escape_markdown, forced)]))
        return
    words, button = st.columns([5, 1.4], vertical_alignment="center")
    words.warning(
        "This run has been asked to stop. It does so after the present batch and keeps what it has done; a slow batch "
        "or a checkpoint being saved takes its time. Stopping it by force loses all work that is not saved."
    )
    button.button(
        "Stop by force",
        icon=":material/dangerous:",
        key=f"force_{record.run_id}",
        on_click=_stop_by_force,
        args=(record,),
    )


def _show_resume(record: RunRecord, column: st.delta_generator.DeltaGenerator) -> None:
    from kslottery_core.runs import find_resume_step

    step = find_resume_step(record)
    begins = "begins anew, since no checkpoint was written" if step is None else f"goes on from step {step:,}"
    column.button(
        "Resume",
        icon=":material/resume:",
        key=f"resume_{record.run_id}",
        help=f"The run {begins}, with the settings it was started with; its numbers are those of a run never stopped.",
        on_click=_resume,
        args=(record,),
    )


def _resume(record: RunRecord) -> None:
    from dashboard.loaders import load_run_store
    from kslottery_core.runs import resume_run

    try:
        resume_run(load_run_store(), record.run_id)
    except KSLotteryError as problem:
        st.toast(escape_markdown(str(problem)), icon=":material/error:")


def _ask_to_stop(record: RunRecord) -> None:
    from kslottery_core.runs import cancel_run

    try:
        st.toast(escape_markdown(cancel_run(record)))
    except KSLotteryError as problem:
        st.toast(escape_markdown(str(problem)), icon=":material/error:")


def _stop_by_force(record: RunRecord) -> None:
    from kslottery_core.runs import cancel_run

    told: list[str] = []  # filled by the thread, since the page does not wait for the end
    st.session_state[_FORCED] = {**st.session_state.get(_FORCED, {}), record.run_id: told}

    def stop() -> None:
        try:
            told.append(cancel_run(record, wait=True, grace_seconds=0))
        except KSLotteryError as problem:
            told.append(str(problem))

    threading.Thread(target=stop, daemon=True).start()


def _show_state(record: RunRecord) -> None:
    status = record.status
    if status.state == "queued":
        reason = f": it {escape_markdown(status.message)}" if status.message else ""
        st.info(f"This run has not begun{reason}.")
    elif status.state == "running":
        phase = format_name(PHASE_NAMES, status.phase) if status.phase else "Starting"
        remaining = record.remaining_seconds
        ending = (
            f", about {format_seconds(remaining)} left in this phase"
            if remaining is not None and remaining >= 1
            else ""
        )
        if status.total and status.phase in _COUNTED_PHASES:
            share, counted = min(1.0, status.step / status.total), f": {status.step:,} of {status.total:,}"
        else:
            share, counted = 0.0, "…"
        st.progress(share, text=f"{escape_markdown(phase)}{counted}{ending}")
        if status.message:
            st.caption(escape_markdown(status.message))
    elif status.state in ("failed", "died", "broken"):
        st.error(_make_sentence(status.message or "It ended without saying why; the log below may tell."))
    elif status.state == "cancelled":
        st.warning(_make_sentence(status.message or "It was cancelled."))


def _make_sentence(message: str) -> str:
    text = message[:1].upper() + message[1:]
    return escape_markdown(text if text.endswith((".", "!", "?")) else text + ".")


def _show_loss(record: RunRecord) -> None:
    loss = summarise_loss(record.read_metrics())
    if loss.steps:
        show_picture(loss_curve_figure(loss), key=f"loss_{record.run_id}", alt="Training loss against step")
    elif record.status.live:
        st.caption("The loss curve begins with the first training step.")


def _show_result(summary: RunSummary) -> None:
    if summary.scores:
        st.markdown("**Scores on the test text**")
        columns = st.columns(max(4, len(summary.scores)))
        for column, score in zip(columns, summary.scores, strict=False):
            column.metric(
                escape_markdown(f"{score.metric}, {score.extraction}"),
                f"{score.value:.1f}",
                help=f"Signature: {format_code(score.signature)}. Decoding: {format_code(score.decoding)}. "
                f"{score.sentences:,} sentences.",
            )
    else:
        st.caption("No score: the run was not tested, or not to its end.")
    costs = (
        ("Outputs that stop", NOT_MEASURED if summary.stopped_share is None else f"{summary.stopped_share:.0%}"),
        ("Trained parameters", format_count(summary.trained_parameters)),
        ("Tuning time", format_seconds(summary.tuning_seconds)),
        ("Peak memory", format_bytes(summary.peak_memory_bytes)),
        ("Saved", format_bytes(summary.saved_bytes)),
    )
    st.caption(" · ".join(f"{label}: {value}" for label, value in costs))
    for note in summary.notes:
        st.caption(escape_markdown(note))
    if summary.scores:
        show_link("compare", "Compare with other runs")
