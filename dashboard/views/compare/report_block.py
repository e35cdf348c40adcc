"""Runs in a report: scores only beside others of the same test, each with its signature."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from dashboard import loaders
from dashboard.controls.run_summary import (
    RunGroup,
    describe_group_differences,
    group_runs,
    group_scores,
    list_measures,
    list_values,
    summarise_run,
)
from dashboard.controls.run_tables import COST_COLUMNS, build_comparison_rows
from dashboard.report.block import Block, Picture, Table
from dashboard.report.context import ReportContext, shorten_digest
from dashboard.views.compare.figures import find_score_end, score_bar_figure, summarise_scores
from dashboard.wording import format_noun
from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    from kslottery_core.runs import RunRecord

COMPARISON_TITLE = "Comparison of runs"
_USUAL_MEASURE = "BLEU, whole output"


def build_comparison_block(context: ReportContext) -> Block:
    """The runs of the Compare page, in groups of the same test."""
    try:
        records = [record for record in loaders.load_run_store().list() if record.status.state == "finished"]
    except KSLotteryError as problem:
        return Block(COMPARISON_TITLE, problem=str(problem))
    chosen = set(context.choice.compared_runs) & {record.run_id for record in records}
    kept = [record for record in records if (record.run_id in chosen if chosen else _starts_here(context, record))]
    others = len(records) - len(kept)
    runs = [summarise_run(record) for record in kept]
    groups = group_runs(runs)
    if not groups:
        problem = "No run with a score has finished; start one on the Runs page."
        if others:
            problem = (
                f"No scored run starts from this pair's before model ({format_noun(others, 'finished run')} of other "
                "models); choose runs on the Compare page, or start one on the Runs page."
            )
        return Block(COMPARISON_TITLE, problem=problem)
    measures = list_measures(runs)
    names = {f"{metric}, {extraction}": (metric, extraction) for metric, extraction in measures}
    measure = names.get(context.choice.measure or "", measures[0])
    differences = describe_group_differences(groups)
    paragraphs = [f"{format_noun(len(runs), 'finished run')}; shown is {measure[0]} of the {measure[1]}, 0 to 100."]
    if others and not chosen:
        paragraphs.append(
            f"All start from this pair's before model; {format_noun(others, 'finished run')} of other models "
            f"{'is' if others == 1 else 'are'} left out."
        )
    if differences:
        paragraphs.append(
            f"The runs differ in {' and '.join(differences)}, so they stand in groups of the same test; scores of "
            "different groups must not be ranked together."
        )
    pictures: list[Picture] = []
    tables = []
    axis_end = find_score_end(list_values(runs, measure))
    for number, group in enumerate(groups, 1):
        title = f"Test {number}: {group.test_name}" if len(groups) > 1 else f"Test: {group.test_name}"
        pictures += _draw_group(group, measure, title, axis_end)
        tables += _build_tables(group, f"{title}, {format_noun(group.sentences, 'sentence')}")
    return Block(COMPARISON_TITLE, tuple(paragraphs), tuple(pictures), tuple(tables))


def _starts_here(context: ReportContext, record: RunRecord) -> bool:
    """Whether a run began with the embedding of the open pair's before side; without a pair every run may be shown."""
    if context.comparison is None:
        return True
    found = (record.result or {}).get("fingerprints", {}).get("model")
    return found is not None and found == context.comparison.result.fingerprint_before


def _draw_group(group: RunGroup, measure: tuple[str, str], title: str, axis_end: float) -> list[Picture]:
    pictures = []
    for signature, rows in group_scores(group, measure).items():
        bars = summarise_scores(f"{measure[0]}, {measure[1]}", rows)
        pictures.append(
            Picture(
                score_bar_figure(bars, axis_end=axis_end),
                alt=f"{measure[0]} of the {measure[1]} of each run; {title}",
                caption=f"{title}: {measure[0]} of the {measure[1]}, {format_noun(group.sentences, 'sentence')}",
                signature=f"{signature}; {_sign_test(group)}",
                title=title,
            )
        )
    return pictures


def _sign_test(group: RunGroup) -> str:
    prompt, text = shorten_digest(group.prompt_hash), shorten_digest(group.test_set_hash)
    return f"decoding {group.decoding}, prompt {prompt}, test text {text}"


def _build_tables(group: RunGroup, title: str) -> list[Table]:
    """Scores and cost below each other: side by side they would not fit a page."""
    rows = pd.DataFrame(build_comparison_rows(group.runs))
    # A run without a ticket is no missing measurement, so it gets a word of its own.
    rows["Ticket (tokens)"] = ["none" if run.ticket_size is None else f"{run.ticket_size:,}" for run in group.runs]
    rows["Rows chosen by"] = rows["Rows chosen by"].where(rows["Rows chosen by"].notna(), "no ticket")
    signatures = dict.fromkeys(f"{score.metric} {score.signature}" for run in group.runs for score in run.scores)
    signature = "; ".join([*signatures, _sign_test(group)])
    decimals = dict.fromkeys((column for column in rows.columns if column != "Trained parameters"), 1)
    scores = [column for column in rows.columns if column not in ("Method", "Rows chosen by", *COST_COLUMNS)]
    return [
        Table(rows[columns], f"{title}: {words}", signature, decimals=decimals)
        for words, columns in (("scores", scores), ("cost", ["Run", "Method", "Rows chosen by", *COST_COLUMNS]))
    ]
