"""What a study found: one table, quality against cost, and how a ticket's size depends on the training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import state
from dashboard.controls.alpha_control import show_alpha_control
from dashboard.controls.picture import show_picture
from dashboard.views.studies.figures import (
    COSTS,
    describe_ticket_sizes,
    pareto_figure,
    summarise_ticket_sizes,
    ticket_size_figure,
)
from dashboard.views.studies.loading import complete_intervals, load_study_table, load_ticket_sizes
from dashboard.views.studies.tables import build_result_rows, summarise_pareto
from dashboard.wording import NOT_MEASURED, escape_markdown, format_code, format_noun, format_number, shorten
from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    from kslottery_core.studies import Measure, StudyRecord, StudyRow, StudyTable

_MOST_ROWS = 16


def show_result_table(rows: Sequence[StudyRow], measure: Measure, key: str) -> None:
    """The rows with one measure, its interval, and all costs; sortable by a click on a column's name."""
    table = build_result_rows(rows, [measure])
    qualities = [row.get_quality(measure) for row in rows]
    table["Interval"] = [
        NOT_MEASURED
        if quality is None or quality.low is None or quality.high is None
        else f"{quality.low:.1f} to {quality.high:.1f}"
        for quality in qualities
    ]
    table["Seeds"] = [f"{len(row.seeds)} of {row.planned_seeds}" for row in rows]
    # What an arm has none of is no missing measurement, so it gets a word of its own.
    has_rows = [row.method in ("ticket", "transfer") for row in rows]
    table["Ticket"] = [
        "none" if not has else NOT_MEASURED if row.ticket_size is None else f"{row.ticket_size:,.4g}"
        for row, has in zip(rows, has_rows, strict=True)
    ]
    table["Rows"] = ["none" if row.selection_seconds is None else f"{row.selection_seconds:,.1f}" for row in rows]
    table["Rate"] = ["none" if row.learning_rate is None else format_number(row.learning_rate) for row in rows]
    table["Steps"] = ["none" if row.steps is None else f"{row.steps:,}" for row in rows]
    axes = _list_axes(rows)
    columns = [
        "Arm",
        *axes,
        "Trained parameters",
        "Optimizer (bytes)",
        "Peak memory (bytes)",
        "Step (s)",
        "Total (s)",
    ]
    columns += ["Rows"] if any(row.selection_seconds is not None for row in rows) else []
    columns += ["Saved (bytes)"]
    scores = ["Arm", *axes, measure.name, "Interval", "Outputs that stop (%)", "Ticket"]
    # Below each other: side by side the costs would stand outside a screen of 1280.
    for part, chosen in (("scores", scores), ("costs", columns)):
        st.dataframe(
            table[chosen],
            hide_index=True,
            height=38 + 35 * min(max(len(rows), 1), _MOST_ROWS),
            key=f"{key}_{part}",
            column_config=_configure(measure),
            placeholder=NOT_MEASURED,
            alt=f"Results of the study: {measure.name if part == 'scores' else 'costs'} of every arm",
        )


def _list_axes(rows: Sequence[StudyRow]) -> list[str]:
    """Columns for what differs between rows; the others would repeat one value all the way down."""
    axes = ["Rate"] if len({row.learning_rate for row in rows} - {None}) > 1 else []
    axes += ["Steps"] if len({row.steps for row in rows} - {None}) > 1 else []
    return axes + (["Seeds"] if any(row.planned_seeds > 1 for row in rows) else [])


def _configure(measure: Measure) -> dict[str, object]:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    width = 92
    return {
        "Arm": text(width=170, pinned=True),
        measure.name: number(
            measure.metric, format="%.1f", width=92, help=escape_markdown(f"{measure.name}, 0 to 100, mean over seeds")
        ),
        "Interval": text(width=100, help="What it is stands below the table"),
        "Outputs that stop (%)": number("Stop (%)", format="%.0f", width=92, help="Outputs that end by themselves"),
        "Ticket": text(width=92, alignment="right", help="Tokens whose rows are trained or copied, mean over seeds"),
        "Rate": text(width=66, alignment="right", help="Learning rate"),
        "Steps": text(width=60, alignment="right", help="Training steps"),
        "Seeds": text(width=64, alignment="right", help="Finished, of those planned"),
        "Trained parameters": number("Parameters", format="localized", width=width, help="Trained parameters"),
        "Optimizer (bytes)": number("Optimizer", format="bytes", width=width, help="Memory of the optimizer's state"),
        "Peak memory (bytes)": number("Memory", format="bytes", width=width, help="Peak memory while tuning"),
        "Step (s)": number(format="%.3f", width=width, help="One training step, the median"),
        "Total (s)": number(format="%.1f", width=width, help="The run from the device to the end"),
        "Rows": text(
            "Rows (s)",
            width=70,
            alignment="right",
            help="On top of the run: the embedding tuning that its rows are read from",
        ),
        "Saved (bytes)": number("Saved", format="bytes", width=width, help="Size on disk of what was saved"),
    }


def show_download(table: StudyTable, name: str) -> None:
    """All rows with all measures as a file, the same as `kslottery study show --csv` writes."""
    from kslottery_core.studies import format_study_csv

    st.download_button(
        "All of this as CSV",
        data=lambda: format_study_csv(table).encode("utf-8"),
        file_name=f"{name}.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="study_csv",
    )


_USUAL_MEASURE = "BLEU, whole output"


def show_results(record: StudyRecord) -> None:
    """The results that are there, while the study lives too; intervals are computed once it has ended.

    The page is shown whole before that: it may take a while, and any click on the page goes first.
    """
    st.header("Results")
    try:
        table = load_study_table(record)
    except KSLotteryError as problem:
        st.error(escape_markdown(str(problem)))
        return
    if not table.measures:
        st.caption("They begin with the first run that has finished.")
        return
    language, name = _choose_shown(table)
    rows = [row for row in table.rows if row.language == language]
    arms = tuple(dict.fromkeys(row.label for row in table.rows))
    shown = [measure for measure in table.measures if (measure.language, measure.name) == (language, name)]
    if not shown:
        st.caption(f"No run of this language has {escape_markdown(name)} yet.")
    if len(shown) > 1:
        st.warning("These scores were not made in the same way (below each table it says how), so they stand apart.")
    waiting = st.empty()
    begun = [row for row in rows if row.run_ids]
    for place, measure in enumerate(shown):
        kept = [row for row in begun if row.get_quality(measure) is not None] if len(shown) > 1 else begun
        _show_measure(kept, measure, place, arms=arms, live=record.status.live)
    if len(begun) < len(rows):
        missing = len(rows) - len(begun)
        have = "has" if missing == 1 else "have"
        st.caption(
            f"{format_noun(missing, 'other row')} of this study {have} no finished run and {have} no place here."
        )
    show_download(table, record.study_id)
    _show_notes(rows)
    _show_ticket_sizes(record, language)
    if not record.status.live:
        with waiting, st.spinner("Computing intervals: a bootstrap over the sentences of every run…", show_time=True):
            found_more = complete_intervals(record)
        if found_more:
            st.rerun()


def _show_notes(rows: Sequence[StudyRow]) -> None:
    notes = dict.fromkeys(note for row in rows for note in row.notes)
    if notes:
        with st.expander(f"Notes of the runs ({len(notes):,})"):
            st.markdown("\n".join(f"- {escape_markdown(note)}" for note in notes))


def _choose_shown(table: StudyTable) -> tuple[str, str]:
    """The language pair and the name of the measure; what the address asks for and is not here is told."""
    languages = list(dict.fromkeys(row.language for row in table.rows))
    names = list(dict.fromkeys(measure.name for measure in table.measures))
    choice = state.get_choice()
    usual = _USUAL_MEASURE if _USUAL_MEASURE in names else names[0]
    for wanted, known, words in (
        (choice.studies.language, languages, "No text here has the languages"),
        (choice.measure, names, "No run here has the score"),
    ):
        if wanted is not None and wanted not in known:
            st.caption(f"{words} {format_code(shorten(wanted))}.")
    st.session_state["study_measure"] = choice.measure if choice.measure in names else usual
    columns = st.columns(2) if len(languages) > 1 else [st.container()]
    columns[0].selectbox(
        "Score to show",
        names,
        key="study_measure",
        on_change=lambda: state.choose(measure=st.session_state["study_measure"]),
    )
    if len(languages) == 1:
        return languages[0], st.session_state["study_measure"]
    st.session_state["study_language"] = (
        choice.studies.language if choice.studies.language in languages else languages[0]
    )
    columns[1].selectbox(
        "Languages",
        languages,
        key="study_language",
        on_change=lambda: state.change("studies", language=st.session_state["study_language"]),
    )
    return st.session_state["study_language"], st.session_state["study_measure"]


def _show_measure(rows: Sequence[StudyRow], measure: Measure, place: int, *, arms: tuple[str, ...], live: bool) -> None:
    show_result_table(rows, measure, key=f"study_table_{place}")
    qualities = [quality for row in rows if (quality := row.get_quality(measure)) is not None]
    kinds = dict.fromkeys(quality.interval_kind for quality in qualities if quality.interval_kind is not None)
    interval = f" Interval: {' or '.join(kinds)}." if kinds else ""
    if live and not kinds:
        interval = " Intervals are computed when the study has ended."
    st.caption(
        escape_markdown(
            f"{format_noun(measure.sentences, 'test sentence')}, decoding: {measure.decoding}.{interval} "
            f"Signature: {measure.signature}"
        )
    )
    summary = summarise_pareto(rows, measure, arms)
    st.markdown("**Quality against cost**")
    show_picture(
        pareto_figure(summary),
        key=f"study_pareto_{place}",
        alt=f"{measure.name} of every arm against its trained parameters and against its time",
    )
    missing = [
        f"{summary.count_unmeasured(cost):,} without {words}"
        for cost, words in zip(COSTS, ("a number of parameters", "a time"), strict=True)
        if summary.count_unmeasured(cost)
    ]
    st.caption(
        "Ringed and joined: no other row is both better and cheaper, in the measured mean; where intervals overlap "
        "the order may be chance. A copied ticket trains nothing. The time of an arm with KS rows or copied rows "
        "contains that of the embedding tuning which they come from."
        + (f" Left out: {', '.join(missing)}." if missing else "")
    )


def _show_ticket_sizes(record: StudyRecord, language: str) -> None:
    st.header("How many tokens win, and after how much training")
    if record.spec is None or record.spec.embedding_arm is None:
        st.caption(
            "A ticket is read from an embedding tuning, and this study has none; tick Embedding tuning in a new one."
        )
        return
    show_alpha_control(with_rule=False)
    level = state.get_choice().alpha.significance_level
    try:
        sizes = summarise_ticket_sizes(load_ticket_sizes(record, level), language, level)
    except KSLotteryError as problem:
        st.warning(escape_markdown(str(problem)))
        return
    if not sizes.cells:
        st.caption("It begins with the first embedding tuning that has finished.")
        return
    st.markdown(escape_markdown(describe_ticket_sizes(sizes)))
    if sizes.varies:
        show_picture(
            ticket_size_figure(sizes),
            key="study_ticket_sizes",
            config={"displayModeBar": False},
            alt="Number of winning tokens after each learning rate and number of training steps",
        )
        return
    st.info(
        f"One learning rate ({format_number(sizes.learning_rates[0])}) and one number of steps ({sizes.steps[0]:,}) "
        "say nothing about how the size grows. Start a study with several learning rates of Embedding tuning, or with "
        "several numbers of steps such as 100, 300: a ticket must be compared with one of equally long training."
    )
