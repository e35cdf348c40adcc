"""All finished runs side by side: scores, cost, outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from dashboard import loaders, state
from dashboard.controls.navigation import show_link
from dashboard.controls.picture import show_picture
from dashboard.controls.run_summary import (
    RunGroup,
    RunSummary,
    describe_group_differences,
    group_runs,
    group_scores,
    list_measures,
    list_values,
    summarise_run,
)
from dashboard.controls.run_tables import COST_COLUMNS, build_comparison_rows
from dashboard.report.csv_file import build_csv
from dashboard.views.compare.figures import find_score_end, score_bar_figure, summarise_scores
from dashboard.wording import RULE_NAMES, escape_markdown, format_code, format_name, format_noun, shorten
from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    from kslottery_core.evaluation import Output
    from kslottery_core.runs import RunRecord

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
    config["Total (s)"] = number(format="%.1f", width=92, help="From the device to the end")
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


PAGE_ROWS = 10
_MOST_RUNS = 3
_MOST_LINES = 40  # of a page of rows; of more the table scrolls, so that a run that rambles leaves the page usable
_MOST_HEIGHT = 720  # pixels


def build_output_rows(outputs: Mapping[str, Sequence[Output]]) -> tuple[list[dict[str, str]], tuple[str, ...]]:
    """Source, reference and each run's text, one row a test sentence, and why a run is not among them.

    Runs without outputs are left out; those that were made on other sentences than the first are told.
    """
    from kslottery_core.evaluation import align_outputs

    aligned: dict[str, Sequence[Output]] = {}
    problems = []
    for name, lines in outputs.items():
        if lines:
            try:
                align_outputs({**dict(list(aligned.items())[:1]), name: lines})
            except KSLotteryError as problem:
                problems.append(str(problem))
                continue
            aligned[name] = lines
    rows = [
        {"Source": row.source, "Reference": row.reference, **dict(zip(aligned, row.texts, strict=True))}
        for row in align_outputs(aligned)
    ]
    return rows, tuple(problems)


def show_outputs(groups: Sequence[RunGroup], records: dict[str, RunRecord]) -> None:
    """The outputs of up to three runs of one test, searchable, a page at a time."""
    st.header("Outputs side by side")
    group = groups[0]
    if len(groups) > 1:
        place = st.selectbox(
            "Outputs of",
            range(len(groups)),
            format_func=lambda place: f"Test {place + 1}: {groups[place].test_name}, {groups[place].decoding}",
            key="outputs_group",
        )
        group = groups[place]
    outputs: dict[str, Sequence[Output]] = {}
    for run in group.runs[:_MOST_RUNS]:
        is_taken = run.name in ("Source", "Reference", *outputs)
        try:
            outputs[f"{run.name} ({run.run_id})" if is_taken else run.name] = loaders.load_outputs(records[run.run_id])
        except KSLotteryError as problem:
            st.warning(escape_markdown(str(problem)))
    rows, problems = build_output_rows(outputs)
    for problem in problems:
        st.warning(escape_markdown(problem))
    if not rows:
        st.caption("These runs kept no outputs.")
        return
    if len(group.runs) > _MOST_RUNS:
        st.caption(f"The first {_MOST_RUNS} of {len(group.runs)} runs; choose others in the list of runs above.")
    _show_rows(rows)


def _write_lines(text: str) -> str:
    """A text in one piece, its line breaks as signs: scores may count the first line alone."""
    return " ⏎ ".join(escape_markdown(line) for line in text.splitlines())


def _show_rows(rows: list[dict[str, str]]) -> None:
    search, page = st.columns([4, 1], vertical_alignment="bottom")
    wanted = search.text_input("Search in sources, references and outputs", key="outputs_search", type="search")
    found = [row for row in rows if not wanted or any(wanted.casefold() in text.casefold() for text in row.values())]
    if not found:
        st.info(f"No sentence holds {format_code(shorten(wanted))}; search for something else.")
        return
    pages = -(-len(found) // PAGE_ROWS)
    at = page.number_input(f"Page of {pages}", min_value=1, max_value=pages, value=1, key=f"outputs_page_{pages}")
    shown = found[(int(at) - 1) * PAGE_ROWS :][:PAGE_ROWS]
    # A static table wraps whatever its cells hold, where st.dataframe cuts a cell at its row's height without a sign.
    # About 105 characters fit side by side on a narrow screen, and a row is as high as its longest text.
    lines = sum(-(-max(len(text) for text in row.values()) * len(row) // 105) for row in shown)
    with st.container(key="outputs_table"):
        st.table(
            pd.DataFrame([{escape_markdown(name): _write_lines(text) for name, text in row.items()} for row in shown]),
            hide_index=True,
            height=_MOST_HEIGHT if lines > _MOST_LINES else "content",
            alt="Source, reference and the runs' outputs",
        )
    breaks = "; ⏎ is a line break" if any("\n" in text for row in shown for text in row.values()) else ""
    st.caption(f"{format_noun(len(found), 'sentence')} of {len(rows):,}{breaks}")
    st.download_button(
        "Outputs as CSV",
        data=lambda: build_csv(pd.DataFrame(found)),
        file_name="outputs.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="outputs_csv",
    )


def render() -> None:
    """Show the chosen runs group by group: only runs tested in the same way stand in one ranking."""
    st.title("Compare runs")
    try:
        records = {
            record.run_id: record for record in loaders.load_run_store().list() if record.status.state == "finished"
        }
    except KSLotteryError as problem:
        st.error(escape_markdown(str(problem)))
        return
    if not records:
        st.info(
            "No run has finished yet. Score the base model first, then tune a ticket: the two then stand side by side."
        )
        show_link("runs", "Start a run")
        return
    summaries = [summarise_run(record) for record in records.values()]
    chosen = _choose_runs(summaries)
    groups = group_runs(chosen)
    differences = describe_group_differences(groups)
    if differences:
        st.warning(
            f"These runs differ in {' and '.join(differences)}, so their scores must not be ranked together. "
            "They are shown in groups of the same test."
        )
    measure = _choose_measure(chosen)
    axis_end = None if measure is None else find_score_end(list_values(chosen, measure))
    for number, group in enumerate(groups):
        _show_group(group, number, measure, axis_end, several=len(groups) > 1)
    unscored = [run for run in chosen if not run.scores]
    if unscored:
        st.header("Runs without a score")
        show_run_table(unscored, "runs_without_score", "Runs without a score")
    st.download_button(
        "All of this as CSV",
        data=build_csv(pd.DataFrame(build_comparison_rows(chosen, with_signatures=True))),
        file_name="runs.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="runs_csv",
    )
    if groups:
        show_outputs(groups, records)


def _choose_runs(summaries: list[RunSummary]) -> list[RunSummary]:
    names = {run.run_id: run.name for run in summaries}
    picked = [run_id for run_id in state.get_choice().compared_runs if run_id in names]
    st.session_state["compared_runs"] = picked
    st.multiselect(
        "Runs",
        list(names),
        format_func=lambda run_id: f"{names[run_id]} ({run_id})" if _is_repeated(names, run_id) else names[run_id],
        key="compared_runs",
        placeholder="All finished runs",
        on_change=lambda: state.choose(compared_runs=st.session_state["compared_runs"]),
    )
    return [run for run in summaries if not picked or run.run_id in picked]


def _is_repeated(names: dict[str, str], run_id: str) -> bool:
    return list(names.values()).count(names[run_id]) > 1


def _choose_measure(runs: list[RunSummary]) -> tuple[str, str] | None:
    measures = list_measures(runs)
    if not measures:
        return None
    names = {f"{metric}, {extraction}": (metric, extraction) for metric, extraction in measures}
    wanted = state.get_choice().measure
    if wanted is not None and wanted not in names:
        st.caption(f"No run here has the score {format_code(shorten(wanted))}.")
    st.session_state["compared_measure"] = wanted if wanted in names else next(iter(names))
    chosen = st.selectbox(
        "Score to show",
        list(names),
        key="compared_measure",
        on_change=lambda: state.choose(measure=st.session_state["compared_measure"]),
    )
    return names[chosen]


def _show_group(
    group: RunGroup, number: int, measure: tuple[str, str] | None, axis_end: float | None, *, several: bool
) -> None:
    title = f"Test {number + 1}: {group.test_name}" if several else f"Test: {group.test_name}"
    st.header(escape_markdown(title))
    st.caption(
        f"{format_noun(group.sentences, 'sentence')}, decoding: {escape_markdown(group.decoding)}, "
        f"prompt fingerprint {escape_markdown(group.prompt_hash)}"
    )
    if measure is not None:
        _show_bars(group, number, measure, axis_end)
    show_run_table(group.runs, f"comparison_{number}", f"Runs of {title}" if several else "Runs")
    with st.expander("What these scores measure"):
        _show_signatures(group)


def _show_bars(group: RunGroup, number: int, measure: tuple[str, str], axis_end: float | None) -> None:
    by_signature = group_scores(group, measure)
    if not by_signature:
        st.caption(f"No run of this test has {escape_markdown(f'{measure[0]} of the {measure[1]}')}.")
    if len(by_signature) > 1:
        st.warning("These scores were computed by different rules (their signatures differ), so they stand apart.")
    for place, rows in enumerate(by_signature.values()):
        bars = summarise_scores(f"{measure[0]}, {measure[1]}", rows)
        show_picture(
            score_bar_figure(bars, axis_end=axis_end),
            key=f"bars_{number}_{place}",
            alt=f"{measure[0]} of {measure[1]} of each run",
        )


def _show_signatures(group: RunGroup) -> None:
    rows = [
        {
            "Run": run.name,
            "Score": f"{score.metric}, {score.extraction}",
            "Value": score.value,
            "Signature": score.signature,
            "Decoding": score.decoding,
            "Prompt fingerprint": score.prompt_hash,
            "Test text fingerprint": score.test_set_hash,
        }
        for run in group.runs
        for score in run.scores
    ]
    st.dataframe(
        pd.DataFrame(rows), hide_index=True, column_config={"Value": st.column_config.NumberColumn(format="%.2f")}
    )
    for note in dict.fromkeys(note for run in group.runs for note in run.notes):
        st.caption(escape_markdown(note))
