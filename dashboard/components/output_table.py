"""What each run's model wrote, beside the source and the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from dashboard import loaders
from dashboard.run_summary import RunGroup
from dashboard.wording import escape_markdown, format_code, format_noun, shorten
from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    from kslottery_core.evaluation import Output
    from kslottery_core.runs import RunRecord

PAGE_ROWS = 10
_MOST_RUNS = 3
_MOST_LINES = 6


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
    # About 105 characters fit side by side on a narrow screen; longer texts wrap, and rows grow with the longest.
    longest = max(len(text) for row in shown for text in row.values())
    lines = min(_MOST_LINES, -(-longest * len(shown[0]) // 105))
    row_height = 18 + 19 * lines
    st.dataframe(
        pd.DataFrame(shown),
        hide_index=True,
        row_height=row_height,
        height=40 + row_height * len(shown),
        column_config={name: st.column_config.TextColumn(width=800 // len(shown[0])) for name in shown[0]},
        key="outputs_table",
        alt="Source, reference and the runs' outputs",
    )
    st.caption(f"{format_noun(len(found), 'sentence')} of {len(rows):,}")
