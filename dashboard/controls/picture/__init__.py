"""A Plotly picture as every page shows it: with a caption, and with buttons that save it as SVG or PNG."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard.wording import escape_markdown

if TYPE_CHECKING:
    import plotly.graph_objects as go

_HERE = Path(__file__).parent
_show_buttons = st.components.v2.component(
    "kslottery_picture_download",
    css=(_HERE / "download.css").read_text(encoding="utf-8"),
    js=(_HERE / "download.js").read_text(encoding="utf-8"),
)
_PNG_SCALE = 2  # pixels for each pixel on the screen, so that a slide shows it sharp
HEAD_START_SECONDS = 0.3
_HEAD_START_KEY = "kslottery.head_start_over"


def show_picture(
    figure: go.Figure,
    *,
    key: str,
    alt: str,
    caption: str | None = None,
    config: dict[str, Any] | None = None,
    **arguments: Any,
) -> Any:
    """Show a figure as `st.plotly_chart` does and return its event; `alt` and `caption` are plain text.

    The saved file is called like `key`. A `config` without tool bar keeps none but what saving needs.
    """
    _let_the_numbers_paint()
    # Plotly's own button that uploads a picture stays away, whatever its next version has switched on.
    config = {"displaylogo": False, "showSendToCloud": False, "plotlyServerURL": "", **(config or {})}
    if config.get("displayModeBar") is False:
        config |= {"displayModeBar": True, "modeBarButtons": [["toImage"]]}
    with st.container(key=f"picture_{key}", gap="xxsmall"):
        event = st.plotly_chart(figure, key=key, alt=alt, config=config, **arguments)
        if caption:
            st.caption(escape_markdown(caption))
        _show_buttons(key=f"{key}_download", data={"name": key.replace("_", "-"), "picture": alt, "scale": _PNG_SCALE})
    return event


def _let_the_numbers_paint() -> None:
    """Hold the first picture of the page that a session opens with back for a moment.

    With it the browser loads Plotly, nearly 5 MB, and paints nothing while it reads them: numbers sent at the same time
    come up to a second later than numbers sent well before. The picture itself is hardly later for it.
    """
    if _HEAD_START_KEY not in st.session_state:
        time.sleep(HEAD_START_SECONDS)
        end_head_start()


def end_head_start() -> None:
    """The session's first page is through: on the next one the browser has something to show anyway."""
    st.session_state[_HEAD_START_KEY] = True
