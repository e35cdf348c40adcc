"""The dial of the ticket: frames while its handle moves, and how soon the page follows when it is let go."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from dashboard.benchmark.chromium import open_page, wait_until_still
from dashboard.benchmark.measured import Measured
from dashboard.benchmark.pairs import PairFolders
from dashboard.benchmark.server import DASHBOARD, Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FRAME_TARGET_MILLISECONDS = 16.0
FOLLOW_TARGET_MILLISECONDS = 300.0
_PAGES = ("alpha", "tokens")
_PLACES = (0.8, 0.95, 0.88)  # of the track: alpha is about 0.004, 0.25 and 0.04 there, with a ticket of its own each
# What one movement of the pointer costs: its listeners, then the frame that they lead to (callbacks, layout, paint; a
# message sent at the frame's start arrives after it). Waiting for the screen's next beat in between is not counted.
_WATCH_FRAMES = """() => {
  window.framesWatched = [];
  let start = null;
  window.addEventListener('pointermove', () => {
    if (start !== null) return;
    start = performance.now();
    requestAnimationFrame(() => {
      const frame = performance.now();
      const channel = new MessageChannel();
      channel.port1.onmessage = () => {
        window.framesWatched.push(window.listened + performance.now() - frame);
        start = null;
      };
      channel.port2.postMessage(0);
    });
  }, { capture: true });
  window.addEventListener('pointermove', () => { window.listened = performance.now() - start; });
}"""
# From letting the handle go until the script that follows has run to the end.
_WATCH_RELEASE = """() => {
  const app = document.querySelector('[data-testid="stApp"]');
  window.released = new Promise((resolve, reject) => window.addEventListener('pointerup', () => {
    const start = performance.now();
    let began = false;
    const observer = new MutationObserver(() => {
      const state = app.getAttribute('data-test-script-state');
      began ||= state === 'running';
      if (began && state === 'notRunning') { observer.disconnect(); resolve(performance.now() - start); }
    });
    observer.observe(app, { attributes: true, attributeFilter: ['data-test-script-state'] });
    setTimeout(() => reject(new Error('the page did not follow the dial')), 60000);
  }, { capture: true, once: true }));
}"""


def measure_dial_frames(browser: Browser, folder: Path, pair: PairFolders, moves: int) -> list[Measured]:
    """Each frame while the handle is dragged to and fro, on every page that has the dial."""
    measured = []
    with Server(DASHBOARD, folder, folder / "home") as server:
        for name in _PAGES:
            with open_page(browser) as page:
                left, right, y = _open_dial(page, f"{server.address}/{name}?{pair.build_query()}")
                page.evaluate(_WATCH_FRAMES)
                page.mouse.down()
                for move in range(moves):
                    share = abs((move / 20) % 2 - 1)  # to and fro, twenty steps a way
                    page.mouse.move(left + (right - left) * (0.05 + 0.9 * share), y)
                    page.wait_for_timeout(20)
                frames = page.evaluate("window.framesWatched")
                page.mouse.up()
                title = f"Frame while the dial moves, {name.capitalize()} page, {pair.describe()}"
                note = f"the longest 5 % from {sorted(frames)[int(0.95 * len(frames))]:.1f} ms"
                measured.append(Measured(title, "ms", tuple(frames), FRAME_TARGET_MILLISECONDS, note=note))
    return measured


def measure_dial_release(browser: Browser, folder: Path, pair: PairFolders, repeats: int) -> list[Measured]:
    """From letting the handle go until the page's script has run to the end, on every page that has the dial."""
    measured = []
    with Server(DASHBOARD, folder, folder / "home") as server:
        for name in _PAGES:
            with open_page(browser) as page:
                found = []
                left, right, y = _open_dial(page, f"{server.address}/{name}?{pair.build_query()}")
                for repeat, share in zip(range(repeats + 1), itertools.cycle(_PLACES), strict=False):
                    _take_handle(page)
                    page.mouse.down()
                    page.mouse.move(left + (right - left) * share, y, steps=4)
                    page.evaluate(_WATCH_RELEASE)
                    page.mouse.up()
                    seconds = page.evaluate("window.released")
                    if repeat:  # the first one fills caches that the server keeps
                        found.append(seconds)
                    wait_until_still(page)
                    page.wait_for_timeout(500)
                title = f"Page follows the dial, {name.capitalize()} page, {pair.describe()}"
                measured.append(Measured(title, "ms", tuple(found), FOLLOW_TARGET_MILLISECONDS))
    return measured


def _open_dial(page: Page, address: str) -> tuple[float, float, float]:
    """Open a page with the dial, put the pointer on its handle, and return where its track begins, ends and lies."""
    page.goto(address)
    wait_until_still(page)
    handle = page.get_by_role("slider").first
    handle.wait_for()
    page.wait_for_timeout(1000)
    handle.scroll_into_view_if_needed()
    track = page.locator(".track").first.bounding_box()
    assert track is not None, "the dial is on the page"
    return track["x"], track["x"] + track["width"], _take_handle(page)


def _take_handle(page: Page) -> float:
    """Put the pointer on the handle; how far down that is."""
    grip = page.locator(".grip").first.bounding_box()
    assert grip is not None, "the dial is on the page"
    y = grip["y"] + grip["height"] / 2
    page.mouse.move(grip["x"] + grip["width"] / 2, y)
    return y
