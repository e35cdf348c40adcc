"""The columns in which tables of certified predictions say how sure the embedding-tuned model is."""

from __future__ import annotations

from typing import Any

import streamlit as st

FIRST, SECOND, MARGIN, BOUND = "First choice", "Second choice", "Margin", "Bound"

_HELP = {
    FIRST: "Probability that the embedding-tuned model gives its most likely token",
    SECOND: "Probability that it gives the second most likely token",
    MARGIN: "First choice minus second choice",
    BOUND: "Twice the sum of D over the changed tokens left behind; the KS bound certifies what has a margin above it",
}


def describe_columns() -> dict[str, Any]:
    """Format and explanation of each of these columns, for a table's `column_config`."""
    return {name: st.column_config.NumberColumn(format="%.4f", help=words) for name, words in _HELP.items()}
