"""What a run was asked to do, in full: two runs of one method differ here or nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboard.wording import RULE_NAMES, TICKET_ROW_NAMES, escape_markdown, format_code, format_name, format_noun
from kslottery_core.tuning.settings import TRAINED_METHODS

if TYPE_CHECKING:
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
