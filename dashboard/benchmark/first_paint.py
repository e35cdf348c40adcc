"""From the start of navigation to the first title and the first number, beside an empty app in the same run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from dashboard.benchmark.chromium import open_page
from dashboard.benchmark.measured import Measured
from dashboard.benchmark.server import DASHBOARD, EMPTY_APP, Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TARGET_RATIO = 2.0
_REFERENCE = "empty app"
# Sits in the page before anything of it runs; milliseconds since navigation began.
_WATCH = """
const look = () => {
  const [title, number] = ['h1', '[data-testid="stMetricValue"]'].map((name) => document.querySelector(name));
  if (!title?.textContent || !number?.getClientRects().length) return requestAnimationFrame(look);
  window.firstPaint = performance.now();
};
requestAnimationFrame(look);
"""


def measure_first_paint(browser: Browser, folder: Path, repeats: int) -> list[Measured]:
    """On a warm server, on a server just started, and on one just started in a home that holds nothing yet."""
    empty = folder / "empty.py"
    empty.write_text(EMPTY_APP, encoding="utf-8")
    home = folder / "home"
    warm: dict[Path, list[float]] = {DASHBOARD: [], empty: []}
    with Server(DASHBOARD, folder, home) as ours, Server(empty, folder, home) as theirs:
        for server in (ours, theirs):
            _paint(browser, server)
        for _ in range(repeats):  # by turns, so that whatever else this machine does meets both
            warm[DASHBOARD].append(_paint(browser, ours))
            warm[empty].append(_paint(browser, theirs))
    cold: dict[str, list[float]] = {"ours": [], "new": [], "empty": []}
    for turn in range(repeats):
        for name, script, at in (
            ("ours", DASHBOARD, home),
            ("new", DASHBOARD, folder / f"new-home-{turn}"),
            ("empty", empty, home),
        ):
            with Server(script, folder, at) as server:
                began = server.started_seconds
                _paint(browser, server)
                cold[name].append(1000 * (time.perf_counter() - began))
    names = {
        "First paint of the demo, warm server": (warm[DASHBOARD], warm[empty]),
        "First paint of the demo, with the start of the server": (cold["ours"], cold["empty"]),
        "First paint of the demo ever, with the start of the server": (cold["new"], cold["empty"]),
    }
    return [
        Measured(name, "ms", tuple(values), TARGET_RATIO, _REFERENCE, tuple(reference))
        for name, (values, reference) in names.items()
    ]


def _paint(browser: Browser, server: Server) -> float:
    with open_page(browser) as page:
        page.add_init_script(_WATCH)
        page.goto(server.address, wait_until="commit")
        page.wait_for_function("window.firstPaint")
        return float(page.evaluate("window.firstPaint"))
