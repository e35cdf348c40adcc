"""From a click in the navigation to the other page's heading and the end of its script, between all pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dashboard.benchmark.chromium import open_page, wait_until_still
from dashboard.benchmark.measured import Measured
from dashboard.benchmark.pairs import PairFolders
from dashboard.benchmark.server import DASHBOARD, Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser

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
    """One measurement a page, over `repeats` rounds through all pages after one unmeasured round."""
    with Server(DASHBOARD, folder, folder / "home") as server, open_page(browser) as page:
        page.goto(f"{server.address}/?{pair.build_query()}")
        wait_until_still(page)
        links = page.get_by_test_id("stSidebarNavLink")
        names = [link.inner_text().split("\n")[-1] for link in links.all()]
        still: dict[str, list[float]] = {name: [] for name in names}
        drawn: dict[str, list[float]] = {name: [] for name in names}
        for round_number in range(repeats + 1):
            for number in [*range(1, len(names)), 0]:
                found = page.evaluate(_CLICK, number)
                wait_until_still(page)
                if round_number:
                    still[names[number]].append(found["still"])
                    drawn[names[number]].append(found["drawn"])
    return [
        Measured(
            f"Page change to {name}, {pair.describe()}",
            "ms",
            tuple(still[name]),
            TARGET_MILLISECONDS,
            note=f"last change of the page's elements at {sorted(drawn[name])[len(drawn[name]) // 2]:.0f} ms (median)",
        )
        for name in names
    ]
