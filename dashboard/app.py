"""The Streamlit entry point: `streamlit run dashboard/app.py`. It arranges the pages and leaves everything to them."""

import importlib
import sys
from functools import partial
from pathlib import Path

import streamlit as st

# Streamlit puts this file's folder on the path, not the folder above it: without an installed package neither
# `dashboard` nor `kslottery_core` would be found from another directory.
_ROOT = str(Path(__file__).resolve().parents[1])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

from dashboard import state  # noqa: E402
from dashboard.controls.navigation import register_pages, show_sidebar  # noqa: E402
from dashboard.controls.picture import end_head_start  # noqa: E402

_TITLES = {
    "pair": ("Pair", ":material/compare_arrows:"),
    "alpha": ("Alpha", ":material/tune:"),
    "tokens": ("Tokens", ":material/search:"),
    "layers": ("Layers", ":material/layers:"),
    "checkpoints": ("Checkpoints", ":material/timeline:"),
    "certificates": ("Certificates", ":material/verified:"),
    "runs": ("Runs", ":material/play_circle:"),
    "compare": ("Compare", ":material/bar_chart:"),
    "studies": ("Studies", ":material/grid_on:"),
    "report": ("Report", ":material/slideshow:"),
}
# They show the newest run or study where none was chosen: an address without it would be left behind in the history.
_CHOOSING = ("runs", "studies")


def _render(name: str) -> None:
    """Import a page only when it is opened: the first paint does not wait for the others."""
    importlib.import_module(f"dashboard.views.{name}.page").render()


st.set_page_config(page_title="KS-Lottery", page_icon="🎟️", layout="wide")
st.html(Path(__file__).with_name("style.css"))

_pages = {
    name: st.Page(partial(_render, name), title=title, icon=icon, url_path=name, default=name == "pair")
    for name, (title, icon) in _TITLES.items()
}
register_pages(_pages)
_open_page = st.navigation(list(_pages.values()))
_name = _open_page.url_path or "pair"
state.restore_choice(_name)
# Twice: what was chosen before the run stands in the address while the page is still being drawn, and what the page
# itself changes at the end. The second does nothing where nothing has changed.
if _name not in _CHOOSING:
    state.write_address()
_open_page.run()
end_head_start()
if not state.is_presenting(_name):
    show_sidebar()
state.write_address()
