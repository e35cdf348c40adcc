"""The first page of a new server shows the demo without waiting for what takes seconds to import."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import streamlit as st

from dashboard.controls import picture
from dashboard.views.pair import page

CODE = """
import sys
from pathlib import Path
from streamlit.testing.v1 import AppTest
import dashboard
app = AppTest.from_file(str(Path(dashboard.__file__).with_name("app.py")), default_timeout=120)
for name, value in zip(sys.argv[1::2], sys.argv[2::2]):
    app.query_params[name] = value
app.run()
assert not app.exception, app.exception[0].message
print([metric.value for metric in app.metric])
print(*sorted({"torch", "transformers", "scipy", "numba", "pandas"} & set(sys.modules)))
"""


def look(home, **address):
    words = [word for item in address.items() for word in map(str, item)]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words],
        env=os.environ | {"KSLOTTERY_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    metrics, loaded = done.stdout.splitlines()[-2:]
    return metrics, loaded.split()


def test_the_demo_opens_in_a_new_home_without_heavy_imports(tmp_path):
    metrics, loaded = look(tmp_path)
    assert metrics.startswith("['2,048'")
    assert loaded == []


def test_a_pair_seen_before_opens_without_heavy_imports_and_a_new_one_needs_them(tmp_path, pair_folder):
    sides = {name: pair_folder / name for name in ("before", "after")}
    first, loaded = look(tmp_path, **sides)
    assert {"torch", "transformers"} <= set(loaded)
    again, loaded = look(tmp_path, **sides)
    assert again == first
    assert loaded == []


@pytest.fixture
def events(monkeypatch):
    """What a page does in its order: numbers shown, seconds waited, pictures drawn."""
    events = []

    def note(name, show):
        return lambda *given, **named: (events.append(name), show(*given, **named))[1]

    monkeypatch.setattr(picture, "HEAD_START_SECONDS", 0.25)
    monkeypatch.setattr(picture, "time", SimpleNamespace(sleep=events.append))
    monkeypatch.setattr(st, "plotly_chart", note("picture", st.plotly_chart))
    monkeypatch.setattr(page, "show_metric_row", note("numbers", page.show_metric_row))
    return events


def test_the_first_page_shows_its_numbers_well_before_its_picture(open_app, events):
    app = open_app("pair")
    assert events == ["numbers", 0.25, "picture"]
    app.run()
    assert events[3:] == ["numbers", "picture"]
    open_app("pair")
    assert events[5:] == ["numbers", 0.25, "picture"]


def test_no_later_page_waits(open_app, go_to, events):
    app = open_app("alpha")
    assert events == []
    go_to(app, "pair")
    assert events == ["numbers", "picture"]
