"""The map of all tokens: every token a point, winners lit while alpha moves, tokens picked by a box or a click.

Two components share the work. One holds the tokens, packed once a pair and text: its bytes stay the same, so Streamlit
tells the browser to take those that it has. The other, without anything to see, holds the few settings that change with
alpha, the filter and the axes.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from dashboard import state
from dashboard.loaders import Comparison, SelectedTicket
from dashboard.palette import MARK, NEUTRAL, WINNER
from dashboard.state import MOST_PICKED, TokenMapView
from dashboard.views.tokens.loading import PackedTokens, load_packed_tokens
from dashboard.views.tokens.table import pick_tokens
from dashboard.wording import (
    MAP_ACROSS,
    MAP_LOG,
    MAP_UP,
    format_count,
    format_noun,
    name_map_axis,
    title_map_axis,
)

if TYPE_CHECKING:
    import pandas as pd

_FOLDER = Path(__file__).parent
_MAP, _SETTINGS = "token_map", "token_map_settings"
_MESSAGE = "kslottery.token_map_message"
_WIDGETS = {"x": "token_map_across", "y": "token_map_up", "log_x": "token_map_log"}


def _read_scripts(*names: str) -> str:
    """Scripts joined into one, as a component takes it, in an order in which each knows those before it."""
    return "\n".join((_FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in names)


_mount_settings = st.components.v2.component("kslottery_token_map_settings", js=_read_scripts("settings"))
_mount_map = st.components.v2.component(
    "kslottery_token_map",
    js=_read_scripts("tokens", "axes", "layers", "finding", "export", "parts", "gestures", "map"),
    css=(_FOLDER / "map.css").read_text(encoding="utf-8"),
)


def show_token_map(
    comparison: Comparison, selection: SelectedTicket, table: pd.DataFrame, counts: np.ndarray | None
) -> None:
    """Show the tokens of `table`, the filtered token table, out of all V of the pair.

    `counts` (V,) are the tokens' occurrences in the chosen text, None where none is chosen. What is picked here becomes
    the session's tokens before the page is drawn again.
    """
    has_text, total = counts is not None, comparison.result.vocabulary_size
    view = limit_view(state.get_choice().token_map, has_text)
    _show_axes(view, has_text)
    packed = load_packed_tokens(comparison, counts)
    settings = build_settings(packed, view, selection.winners, table["token_id"].to_numpy())
    choice = state.get_choice()
    settings |= {"picked": list(choice.token_ids), "rule": state.describe_rule(choice.alpha)}
    message = st.session_state.pop(_MESSAGE, None)
    if message:
        st.info(message)
    with st.container(gap=None):
        _mount_settings(key=_SETTINGS, data=settings)
        _mount_map(key=_MAP, data=packed.payload, on_picked_change=partial(_take_picked, total))
    st.caption(_describe(view, table, total))


def limit_view(view: TokenMapView, has_text: bool) -> TokenMapView:
    """What can be shown of a view: without a text there is no frequency, and some values have no log scale."""
    across = view.x if view.x != "frequency" or has_text else "l2_shift"
    return TokenMapView(across, view.y, view.log_x and across in MAP_LOG)


def _show_axes(view: TokenMapView, has_text: bool) -> None:
    st.session_state[_WIDGETS["x"]], st.session_state[_WIDGETS["y"]] = view.x, view.y
    st.session_state[_WIDGETS["log_x"]] = view.log_x
    name_axis = partial(name_map_axis, counted=state.get_choice().token_text.counted)
    across, up, scale = st.columns([3, 3, 2], vertical_alignment="bottom")
    across.selectbox(
        "Across",
        [name for name in MAP_ACROSS if has_text or name != "frequency"],
        format_func=name_axis,
        key=_WIDGETS["x"],
        on_change=_take_axis,
        args=("x",),
        help=None if has_text else "Frequency is offered once a text is chosen that tokens are counted in.",
    )
    up.selectbox("Up", MAP_UP, format_func=name_axis, key=_WIDGETS["y"], on_change=_take_axis, args=("y",))
    scale.toggle(
        "Log scale across",
        key=_WIDGETS["log_x"],
        disabled=view.x not in MAP_LOG,
        on_change=_take_axis,
        args=("log_x",),
        help="0 has a place of its own, left of the dashed line.",
    )


def _take_axis(name: str) -> None:
    state.change("token_map", **{name: st.session_state[_WIDGETS[name]]})


def _take_picked(vocabulary_size: int) -> None:
    """What was picked in the map becomes the session's tokens, before the page is drawn again."""
    found = choose_picked(st.session_state[_MAP].get("picked"), state.get_choice().token_ids, vocabulary_size)
    if found is not None:
        token_ids, st.session_state[_MESSAGE] = found
        pick_tokens(token_ids)


def build_settings(
    packed: PackedTokens, view: TokenMapView, winners: np.ndarray, shown_ids: np.ndarray
) -> dict[str, Any]:
    """What the browser is told beside the tokens: axes, which of them are drawn, which are lit.

    `winners` (V,) is a mask by token id, `shown_ids` are the ids that the filter leaves. Winners that are the first
    rows, as those of an alpha or the k largest are, are sent as their number; others as one bit a row.
    """
    lit = winners[packed.token_ids]
    size = int(lit.sum())
    shown = np.zeros(len(packed.token_ids), dtype=bool)
    shown[shown_ids] = True
    shown = shown[packed.token_ids]
    return {
        "signature": packed.signature,
        "x": _describe_axis(view.x, view.log_x),
        "y": _describe_axis(view.y, False),
        "lit": size,
        "lit_mask": None if lit[:size].all() else _pack_mask(lit),
        "shown": None if shown.all() else _pack_mask(shown),
        "most_picked": MOST_PICKED,
        "colours": {"winner": WINNER, "neutral": NEUTRAL, "mark": MARK},
    }


def _describe_axis(name: str, log: bool) -> dict[str, Any]:
    counted = state.get_choice().token_text.counted
    title = title_map_axis(name, counted) + (" (log scale)" if log else "")
    return {"name": name, "label": name_map_axis(name, counted), "title": title, "log": log}


def _pack_mask(mask: np.ndarray) -> str:
    return base64.b64encode(np.packbits(mask).tobytes()).decode()


def _describe(view: TokenMapView, table: pd.DataFrame, total: int) -> str:
    unplaced = int(table["cosine"].isna().sum()) if "cosine" in (view.x, view.y) else 0
    drawn = len(table) - unplaced
    amount = (
        f"Every one of the {format_noun(total, 'token')} is drawn."
        if drawn == total
        else f"{format_count(drawn)} of {format_noun(total, 'token')} drawn"
        + ("." if len(table) == total else ", as the search and the filters say.")
    )
    if unplaced:
        amount += f" {format_noun(unplaced, 'token')} cannot be placed: a row of zeros has no cosine."
    return (
        f"{amount} Drag a box to pick the tokens inside, hold Shift to add to those picked, click to pick one. Hold "
        "Ctrl and turn the wheel to zoom, or press plus and minus; Shift and the arrow keys move the picture; a double "
        "click shows the whole of it. The table holds the same tokens."
    )


def choose_picked(
    picked: object, token_ids: Sequence[int], vocabulary_size: int
) -> tuple[tuple[int, ...], str | None] | None:
    """The tokens to pick after what the map sent, with a sentence where it was too many; None when nothing fits.

    `picked` comes from the browser: the ids in a box, largest D first, how many were inside, and whether they are
    added to `token_ids`, the present ones.
    """
    if not isinstance(picked, dict) or not isinstance(picked.get("token_ids"), list):
        return None
    sent = [i for i in picked["token_ids"] if isinstance(i, int) and 0 <= i < vocabulary_size]
    if not sent:
        return None
    chosen = tuple(dict.fromkeys([*token_ids, *sent] if picked.get("add") else sent))
    inside = picked.get("inside")
    if isinstance(inside, int) and inside > MOST_PICKED:
        if picked.get("add") and token_ids:
            added = len(set(chosen[:MOST_PICKED]) - set(token_ids))
            return chosen[:MOST_PICKED], (
                f"The box holds {format_count(inside)} tokens; {format_count(added)} more of them are picked, with the "
                f"largest D, since no more than {MOST_PICKED} are picked together."
            )
        return chosen[:MOST_PICKED], (
            f"The box holds {format_count(inside)} tokens; the {MOST_PICKED} with the largest D are picked. "
            "A smaller box, "
            "or a filter, picks all of its tokens."
        )
    if len(chosen) > MOST_PICKED:
        left_out = format_noun(len(chosen) - MOST_PICKED, "token")
        return chosen[:MOST_PICKED], f"No more than {MOST_PICKED} tokens are picked together; {left_out} left out."
    return chosen, None
