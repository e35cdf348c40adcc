"""Runs as rows: their scores and their cost, on the page and in the file."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from dashboard.controls.run_summary import RunSummary, list_measures
from dashboard.controls.run_tables import COST_COLUMNS, build_comparison_rows
from dashboard.wording import RULE_NAMES, escape_markdown, format_name

_SHORT_EXTRACTIONS = {"whole output": "whole", "first line": "line 1"}
_WORD_COLUMNS = ("Run", "Method", "Rows chosen by")


def show_run_table(runs: Sequence[RunSummary], key: str, words: str = "Runs") -> None:
    """Scores and cost below each other: side by side they would not fit a screen.

    `words` tell those who hear the page which runs these are, where it has several such tables.
    """
    table = pd.DataFrame(build_comparison_rows(runs))
    # A run without a ticket is no missing measurement, so it gets a word of its own.
    table["Ticket (tokens)"] = ["none" if run.ticket_size is None else f"{run.ticket_size:,}" for run in runs]
    table["Rows chosen by"] = [
        "no ticket" if run.ticket_rule is None else format_name(RULE_NAMES, run.ticket_rule) for run in runs
    ]
    number = st.column_config.NumberColumn
    config = {column: number(format="%.1f") for column in table.columns if column not in _WORD_COLUMNS}
    for metric, extraction in list_measures(runs):
        column = f"{metric}, {extraction}"
        short = f"{metric} {_SHORT_EXTRACTIONS.get(extraction, extraction)}"
        config[column] = number(
            short, format="%.1f", width=88, help=escape_markdown(f"{metric} of the {extraction}, 0 to 100")
        )
    config["Outputs that stop (%)"] = number("Stop (%)", format="%.0f", width=66, help="Outputs that end by themselves")
    config["Tuning (s)"] = number(format="%.1f", width=92)
    config["All in all (s)"] = number(format="%.1f", width=92, help="From the device to the end")
    config["Trained parameters"] = number("Parameters", format="localized", width=92, help="Trained parameters")
    config["Peak memory (MB)"] = number("Memory (MB)", format="%.1f", width=98, help="Peak memory while tuning")
    config["Saved (kB)"] = number(format="%.1f", width=92, help="Size of what was saved")
    config["Method"] = st.column_config.TextColumn(width=165)
    config["Rows chosen by"] = st.column_config.TextColumn("Rows", width=110, help="How the ticket's rows were chosen")
    config["Run"] = st.column_config.TextColumn(width=180)
    config["Ticket (tokens)"] = st.column_config.TextColumn(alignment="right")
    # Tickets at alpha need no word on it, and without the column the table fits a screen.
    rules = ["Rows chosen by"] if any(run.ticket_rule not in (None, "alpha") for run in runs) else []
    for part, columns in (
        ("scores", [column for column in table.columns if column not in ("Method", "Rows chosen by", *COST_COLUMNS)]),
        ("cost", ["Run", "Method", *rules, *COST_COLUMNS]),
    ):
        st.dataframe(
            table[columns],
            hide_index=True,
            key=f"{key}_{part}",
            column_config={column: config[column] for column in columns if column in config},
            placeholder="not measured",
            alt=f"{words} with their {part}",
        )
