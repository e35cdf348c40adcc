"""From a click in the navigation to the other page's heading and the end of its script, between all pages."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from dashboard.benchmark.chromium import open_page, wait_until_still
from dashboard.benchmark.measured import Measured
from dashboard.benchmark.pairs import PairFolders
from dashboard.benchmark.server import DASHBOARD, Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TARGET_MILLISECONDS = 500.0
# Two times of one click: the script is through (`still`), and nothing has been drawn for a while after it (`drawn`).
# Canvases and what a component draws inside itself are not seen by `drawn`.
_CLICK = """
async (number) => {
  const link = document.querySelectorAll('[data-testid="stSidebarNavLink"]')[number];
  const app = document.querySelector('[data-testid="stApp"]');
  const before = document.querySelector('h1')?.textContent;
  return await new Promise((resolve) => {
    let still = null, last = 0, timer = null;
    const start = performance.now();
    const done = () => { observer.disconnect(); resolve({ still, drawn: Math.max(still, last) }); };
    const look = () => {
      last = performance.now() - start;
      const heading = document.querySelector('h1')?.textContent;
      const through = app.getAttribute('data-test-script-state') === 'notRunning';
      if (still === null && heading && heading !== before && through) {
        still = last;
        setTimeout(done, 5000);
      }
      clearTimeout(timer);
      if (still !== null) timer = setTimeout(done, 700);
    };
    const observer = new MutationObserver(look);
    observer.observe(document.body, { subtree: true, childList: true, characterData: true });
    observer.observe(app, { attributes: true, attributeFilter: ['data-test-script-state'] });
    link.click();
  });
}
"""


def measure_page_changes(browser: Browser, folder: Path, pair: PairFolders, repeats: int) -> list[Measured]:
    """Each page over `repeats` rounds through all of them, and by itself the first round of a new server."""
    with Server(DASHBOARD, folder, folder / "home") as server, open_page(browser) as page:
        page.goto(f"{server.address}/?{pair.build_query()}")
        wait_until_still(page)
        names = [link.inner_text().split("\n")[-1] for link in page.get_by_test_id("stSidebarNavLink").all()]
        first = _go_round(page, names)
        rounds = [_go_round(page, names) for _ in range(repeats)]
    measured = [_describe(f"Page change to {name}", name, rounds, pair, TARGET_MILLISECONDS) for name in names]
    # The first page was open before; of the others, a new server's first opening imports and prepares what they need.
    return [*measured, *(_describe(f"First opening of {name}", name, [first], pair, None) for name in names[1:])]


def _go_round(page: Page, names: list[str]) -> dict[str, dict[str, float]]:
    found = {}
    for number in [*range(1, len(names)), 0]:
        found[names[number]] = page.evaluate(_CLICK, number)
        wait_until_still(page)
    return found


def _describe(
    title: str, name: str, rounds: list[dict[str, dict[str, float]]], pair: PairFolders, target: float | None
) -> Measured:
    drawn = median(found[name]["drawn"] for found in rounds)
    return Measured(
        f"{title}, {pair.describe()}",
        "ms",
        tuple(found[name]["still"] for found in rounds),
        target,
        note=f"last change of the page's elements after {drawn:.0f} ms",
    )
