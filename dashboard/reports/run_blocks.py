"""Runs and studies in a report: scores only beside others of the same test, each with its signature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from dashboard import loaders
from dashboard.figures import find_score_end, score_bar_figure, summarise_scores
from dashboard.figures.study import pareto_figure
from dashboard.loaders.studies import load_study_store, load_study_table
from dashboard.reports.block import Block, Picture, Table
from dashboard.reports.context import ReportContext, shorten_digest
from dashboard.reports.run_tables import COST_COLUMNS, build_comparison_rows, build_result_rows, summarise_pareto
from dashboard.run_summary import (
    RunGroup,
    describe_group_differences,
    group_runs,
    group_scores,
    list_measures,
    list_values,
    summarise_run,
)
from dashboard.wording import STUDY_STATE_NAMES, format_moment, format_name, format_noun
from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    from kslottery_core.runs import RunRecord
    from kslottery_core.studies import Measure, StudyRecord, StudyRow, StudyTable

COMPARISON_TITLE = "Comparison of runs"
STUDY_TITLE = "A study"
_USUAL_MEASURE = "BLEU, whole output"
_HIDDEN_COLUMNS = (": low", ": high", ": interval", ": each seed", ": signature")


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


def build_study_block(context: ReportContext) -> Block:
    """The study that the Studies page shows, or the newest: its table and quality against cost."""
    try:
        records = load_study_store().list()
        wanted = context.choice.study.study_id
        record = next((record for record in records if record.study_id == wanted), records[0] if records else None)
        if record is None:
            return Block(STUDY_TITLE, problem="There is no study yet; start one on the Studies page.")
        table = load_study_table(record)
    except KSLotteryError as problem:
        return Block(STUDY_TITLE, problem=str(problem))
    if not table.measures:
        return Block(STUDY_TITLE, problem="The study has no finished run yet; look again when one has ended.")
    return _build_study(context, record, table)


def _build_study(context: ReportContext, record: StudyRecord, table: StudyTable) -> Block:
    languages = list(dict.fromkeys(row.language for row in table.rows))
    language = context.choice.study.language if context.choice.study.language in languages else languages[0]
    names = list(dict.fromkeys(measure.name for measure in table.measures))
    usual = _USUAL_MEASURE if _USUAL_MEASURE in names else names[0]
    name = context.choice.measure if context.choice.measure in names else usual
    measures = [measure for measure in table.measures if (measure.language, measure.name) == (language, name)]
    if not measures:
        return Block(
            STUDY_TITLE, problem=f"No run of {language} has {name} yet; choose another score on the Studies page."
        )
    rows = [row for row in table.rows if row.language == language and row.run_ids]
    arms = tuple(dict.fromkeys(row.label for row in table.rows))
    state = format_name(STUDY_STATE_NAMES, record.status.state).lower()
    pictures, tables = [], []
    for measure in measures:
        scored = [row for row in rows if row.get_quality(measure) is not None]
        pictures.append(_draw_pareto(scored, measure, arms))
        tables.append(
            Table(
                _build_result_table(scored, measure),
                f"{name}: every arm with its costs",
                _sign_measure(measure),
                decimals={measure.name: 1, "Outputs that stop (%)": 1, "All in all (s)": 1, "Choosing rows (s)": 1},
            )
        )
    return Block(
        STUDY_TITLE,
        paragraphs=(
            f"{record.name}, {language}: {state}, begun {format_moment(record.status.created)}. Ways of tuning on one "
            "text, with one prompt and decoding, their quality beside their cost.",
            *(
                ["These scores were not made in the same way (see their signatures), so they stand apart."]
                if len(measures) > 1
                else []
            ),
        ),
        pictures=tuple(pictures),
        tables=tuple(tables),
    )


def _draw_pareto(rows: Sequence[StudyRow], measure: Measure, arms: tuple[str, ...]) -> Picture:
    return Picture(
        pareto_figure(summarise_pareto(rows, measure, arms)),
        alt=f"{measure.name} of every arm against its trained parameters and against its time",
        caption="Ringed and joined: no other row is both better and cheaper, in the measured mean; where intervals "
        "overlap the order may be chance.",
        signature=_sign_measure(measure),
    )


def _build_result_table(rows: Sequence[StudyRow], measure: Measure) -> pd.DataFrame:
    """The page's columns in fewer words; what an arm has none of is no missing measurement."""
    table = build_result_rows(rows, [measure])
    qualities = [row.get_quality(measure) for row in rows]
    kept = [column for column in table.columns if not column.endswith(_HIDDEN_COLUMNS)]
    table = table[[column for column in kept if column not in ("Languages", "Runs", "Seeds planned", "Method")]]
    table.insert(
        table.columns.get_loc(measure.name) + 1,
        "Interval",
        [
            None
            if quality is None or quality.low is None or quality.high is None
            else f"{quality.low:.1f} to {quality.high:.1f}"
            for quality in qualities
        ],
    )
    for column in ("Learning rate", "Steps", "Ticket (tokens)", "Choosing rows (s)"):
        table[column] = [None if pd.isna(value) else value for value in table[column]]
        table[column] = table[column].astype(object).where(table[column].notna(), "none")
    return table


def _sign_measure(measure: Measure) -> str:
    return (
        f"{measure.signature}; decoding {measure.decoding}, prompt {shorten_digest(measure.prompt_hash)}, test text "
        f"{shorten_digest(measure.test_set_hash)}, {format_noun(measure.sentences, 'sentence')}"
    )
