"""What the alpha dial computes with in the browser: two tables of d + 1 numbers, however large the vocabulary."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import streamlit as st

from dashboard.loaders import AlphaChoice, Comparison


@dataclass(frozen=True)
class DialTable:
    """Histogram and (corrected) p-values of one comparison under one rule, ready to be sent.

    `histogram` is base64 of little-endian uint32 (d + 1,), tokens with each count; `p_values` of little-endian float64
    (d + 1,): text keeps every bit of them and is a tenth of the work of a JSON list. `signature` is another one where
    any of the numbers is; `unchanged` tokens have a count of 0 and a row that is the same before and after.
    """

    signature: str
    histogram: str
    p_values: str
    unchanged: int


@st.cache_resource(max_entries=32, show_spinner=False)
def _build(key: str, correction: str, p_value_method: str, _comparison: Comparison) -> DialTable:
    from kslottery_core.tickets import compute_adjusted_p_values

    result = _comparison.result
    p_values = compute_adjusted_p_values(result.histogram, correction, p_value_method)
    return DialTable(
        signature=f"{key} {correction} {p_value_method}",
        histogram=base64.b64encode(result.histogram.astype("<u4").tobytes()).decode(),
        p_values=base64.b64encode(p_values.astype("<f8").tobytes()).decode(),
        unchanged=result.vocabulary_size - result.changed_count,
    )


def load_dial_table(comparison: Comparison, alpha: AlphaChoice) -> DialTable:
    """The tables for the correction and the p-value of a rule; its alpha plays no part."""
    return _build(comparison.key, alpha.correction, alpha.p_value_method, comparison)
