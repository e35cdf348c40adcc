"""The dial that sets the ticket: a handle that is followed in the browser, and told to Python when it comes to rest.

While the handle moves, the browser alone works: it holds the histogram of counts and the p-values (d + 1 numbers each)
and dispatches `kslottery:threshold` on `window`, with `leastCount` (a token wins from this count on; null: none),
`size` and `label`, for other parts of the page to follow.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard import state
from dashboard.loaders import AlphaChoice, Comparison
from dashboard.loaders.dial import load_dial_table
from dashboard.palette import NEUTRAL, WINNER
from dashboard.state import LARGEST_SIGNIFICANCE_LEVEL, LEAST_SIGNIFICANCE_LEVEL

_HERE = Path(__file__).parent
_KEY = "alpha_dial"
_show = st.components.v2.component(
    "kslottery_alpha_dial",
    html='<div class="dial"></div>',
    css=(_HERE / "dial.css").read_text(encoding="utf-8"),
    # One module: Streamlit hands it to the browser as text, where an import of a neighbour has no address.
    js="\n".join(
        (_HERE / name).read_text(encoding="utf-8")
        for name in ("numbers.js", "words.js", "drawing.js", "saving.js", "dial.js")
    ),
)


def show_alpha_dial(comparison: Comparison, alpha: AlphaChoice, *, compact: bool = False) -> None:
    """Show the dial at the present rule; `compact` leaves the histogram out. At least one token has to have a D > 0."""
    table = load_dial_table(comparison, alpha)
    _show(
        key=_KEY,
        data={
            "signature": table.signature,
            "histogram": table.histogram,
            "pValues": table.p_values,
            "unchanged": table.unchanged,
            "mode": "alpha" if alpha.top_k is None else "top",
            "alpha": alpha.significance_level,
            "topK": alpha.top_k,
            "extras": state.describe_rule_extras(alpha),
            "least": LEAST_SIGNIFICANCE_LEVEL,
            "largest": LARGEST_SIGNIFICANCE_LEVEL,
            "compact": compact,
            "colours": {"winner": WINNER, "neutral": NEUTRAL},
        },
        on_chosen_change=_take,
    )


def _take() -> None:
    take_chosen(st.session_state[_KEY].get("chosen"))


def take_chosen(chosen: object) -> None:
    """Choose what the handle was left at: `{"alpha": level}` or `{"top_k": number}`; anything else changes nothing."""
    if not isinstance(chosen, dict):
        return
    level, top_k = chosen.get("alpha"), chosen.get("top_k")
    if isinstance(level, int | float) and LEAST_SIGNIFICANCE_LEVEL <= level <= LARGEST_SIGNIFICANCE_LEVEL:
        state.set_alpha(significance_level=float(level), top_k=None)
    elif isinstance(top_k, int) and not isinstance(top_k, bool) and top_k >= 1:
        state.set_alpha(top_k=top_k)
