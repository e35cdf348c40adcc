"""Predictions that were certified and for which the partial model differs all the same, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from dashboard.report.csv_file import build_csv
from dashboard.views.certificates.columns import BOUND, FIRST, MARGIN, SECOND, describe_columns
from dashboard.views.certificates.figures import is_anything_certified
from dashboard.wording import CERTIFIED_TEXTS, format_number
from kslottery_core.ks import format_statistic

if TYPE_CHECKING:
    from kslottery_core.certification import Certification, LostPrediction, TokenProbability, Violation

_LOGITS = ("Margin (logits)", "Least margin (logits)")


def show_violations(certification: Certification) -> None:
    """Every listed violation of the chosen ticket, or that there is none."""
    st.subheader("Violations")
    chosen, last = certification.chosen, certification.levels[-1].name
    total = chosen.predictions.get_level(last).violations + chosen.output_step_violations.get(last, 0)
    if not total:
        st.success(
            "None with this ticket: wherever a prediction was certified, the partial model said the same."
            if is_anything_certified(chosen.predictions) or is_anything_certified(chosen.outputs)
            else "None with this ticket, since nothing was certified.",
            icon=":material/check:",
        )
        _show_lost(certification)
        return
    table = build_violation_table(certification)
    st.dataframe(
        table,
        hide_index=True,
        key="certificate_violations",
        column_config=describe_columns(),
        alt="Certified predictions for which the partial model differs",
    )
    if len(table) < total:
        st.caption(f"The first {len(table):,} of {total:,} are listed; all of them are counted.")
    st.download_button(
        "Violations as CSV",
        data=build_csv(table),
        file_name="violations.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="certificate_violations_csv",
    )
    _show_lost(certification)


def _show_lost(certification: Certification) -> None:
    """Predictions that some larger ticket does not keep: what the ticket's own measured agreement cannot show."""
    tried = certification.chosen.larger_tickets
    if tried is None or not tried.listed:
        return
    st.markdown("**Lost under a larger ticket.** Some ticket that contains this one changes these predictions.")
    st.dataframe(
        pd.DataFrame([_list_lost(certification, one) for one in tried.listed]),
        hide_index=True,
        key="certificate_lost",
        column_config={name: st.column_config.NumberColumn(format="%.3f") for name in _LOGITS},
        placeholder="not a number",
        alt="Predictions that a larger ticket changes",
    )
    total = tried.lost + tried.output_steps_lost
    if len(tried.listed) < total:
        st.caption(f"The first {len(tried.listed):,} of {total:,} are listed; all of them are counted.")


def _list_lost(certification: Certification, one: LostPrediction) -> dict[str, object]:
    return {
        "Sentence": one.sentence + 1,
        "Text": CERTIFIED_TEXTS.get(one.text, one.text),
        "Position": one.position,
        "Source": certification.sentences[one.sentence].source,
        "Tuned model": one.label,
        _LOGITS[0]: one.margin,
        _LOGITS[1]: one.least_margin,
        "Rows that break it": ", ".join(token.label for token in one.kept_before),
    }


def build_violation_table(certification: Certification) -> pd.DataFrame:
    """One row a listed violation; sentences count from 1, positions from 0 as in the sentence view."""
    titles = {level.name: level.title for level in certification.levels}
    return pd.DataFrame([_list_violation(certification, one, titles) for one in certification.chosen.violations])


def _list_violation(certification: Certification, one: Violation, titles: dict[str, str]) -> dict[str, object]:
    def name_top(ranked: tuple[TokenProbability, ...]) -> str:
        return ", ".join(f"{entry.label} {format_number(entry.probability)}" for entry in ranked)

    return {
        "Sentence": one.sentence + 1,
        "Text": CERTIFIED_TEXTS.get(one.text, one.text),
        "Position": one.position,
        "Source": certification.sentences[one.sentence].source,
        "Tuned model": name_top(one.reference_top),
        "Partial model": name_top(one.partial_top),
        FIRST: one.first_probability,
        SECOND: one.second_probability,
        MARGIN: one.first_probability - one.second_probability,
        BOUND: 2 * one.counts / certification.width,
        "Certified by": ", ".join(titles.get(level, level) for level in one.levels),
        "Left behind": ", ".join(
            f"{token.label} (D {format_statistic(token.count / certification.width)})" for token in one.left_behind
        ),
    }
