"""The map of all tokens, lit anew while the dial moves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dashboard.benchmark.chromium import open_page, wait_until_still
from dashboard.benchmark.measured import Measured
from dashboard.benchmark.pairs import PairFolders
from dashboard.benchmark.server import DASHBOARD, Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TARGET_MILLISECONDS = 16.0
# The map draws in the frame after the dial's word: what lies between a callback asked for before the word is sent and
# one asked for after it is the map's own.
_REDRAW = """
async (leastCounts) => {
  const found = [];
  for (const leastCount of leastCounts) {
    let start;
    requestAnimationFrame(() => { start = performance.now(); });
    const detail = { leastCount, size: 0, label: '' };
    window.dispatchEvent(new CustomEvent('kslottery:threshold', { detail }));
    found.push(await new Promise((resolve) => {
      requestAnimationFrame(() => resolve(performance.now() - start));
    }));
  }
  return found;
}
"""


def measure_map_redraw(browser: Browser, folder: Path, pair: PairFolders, redraws: int) -> Measured:
    """The script's time of one redraw of the map, at as many thresholds as `redraws`."""
    counts = [1 + (number * 7919) % max(2, pair.width // 16) for number in range(redraws)]
    with Server(DASHBOARD, folder, folder / "home") as server, open_page(browser) as page:
        page.goto(f"{server.address}/tokens?{pair.build_query()}")
        wait_until_still(page)
        page.locator("canvas").first.wait_for(state="attached")
        page.wait_for_timeout(2000)  # it draws what it was given in pieces
        found = page.evaluate(_REDRAW, counts)
    title = f"Redraw of the token map, {pair.describe()}"
    return Measured(title, "ms", tuple(found), TARGET_MILLISECONDS, note="the script's part of the frame")
