"""All finished runs side by side: scores, cost, outputs."""

from __future__ import annotations

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
from dashboard.report.csv_file import build_csv
from dashboard.views.compare.figures import find_score_end, score_bar_figure, summarise_scores
from dashboard.views.compare.output_table import show_outputs
from dashboard.views.compare.run_table import build_comparison_rows, show_run_table
from dashboard.wording import escape_markdown, format_code, format_noun, shorten
from kslottery_core.errors import KSLotteryError


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
