"""A study in a report: scores only beside others of the same test, each with its signature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from dashboard.report.block import Block, Picture, Table
from dashboard.report.context import ReportContext, shorten_digest
from dashboard.views.studies.figures import pareto_figure
from dashboard.views.studies.loading import load_study_store, load_study_table
from dashboard.views.studies.tables import build_result_rows, summarise_pareto
from dashboard.wording import STUDY_STATE_NAMES, format_moment, format_name, format_noun
from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    from kslottery_core.studies import Measure, StudyRecord, StudyRow, StudyTable

STUDY_TITLE = "A study"
_USUAL_MEASURE = "BLEU, whole output"


_HIDDEN_COLUMNS = (": low", ": high", ": interval", ": each seed", ": signature")


def build_study_block(context: ReportContext) -> Block:
    """The study that the Studies page shows, or the newest: its table and quality against cost."""
    try:
        records = load_study_store().list()
        wanted = context.choice.studies.study_id
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
    language = context.choice.studies.language if context.choice.studies.language in languages else languages[0]
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
                decimals={measure.name: 1, "Outputs that stop (%)": 1, "Total (s)": 1, "Choosing rows (s)": 1},
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
