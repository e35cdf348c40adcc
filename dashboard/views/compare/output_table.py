"""What each run's model wrote, beside the source and the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from dashboard import loaders
from dashboard.controls.run_summary import RunGroup
from dashboard.report.csv_file import build_csv
from dashboard.wording import escape_markdown, format_code, format_noun, shorten
from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    from kslottery_core.evaluation import Output
    from kslottery_core.runs import RunRecord

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
