"""A headless Chromium, and waiting in it for a page of Streamlit to be done."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE = 180_000  # milliseconds
VIEWPORT = {"width": 1280, "height": 900}
_STILL = """() => document.querySelector('[data-testid="stApp"]')
    ?.getAttribute('data-test-script-state') === 'notRunning' && document.querySelector('h1')"""


@contextlib.contextmanager
def open_browser(*options: str) -> Iterator[Browser]:
    """Start Chromium with further command-line `options`. Raises KSLotteryError where playwright or it is missing."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        raise KSLotteryError(
            "The benchmark drives a browser: expected the package playwright, found none; install it with "
            "pip install -e '.[test]'."
        ) from None
    executable = next(filter(None, map(shutil.which, _NAMES)), None)
    if executable is None:
        raise KSLotteryError(
            f"The benchmark drives a browser: expected one of {', '.join(_NAMES)} on the path, found none; install "
            "Chromium with the system's package manager."
        )
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", *options]
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()


@contextlib.contextmanager
def open_page(browser: Browser) -> Iterator[Page]:
    """A page of a browser that knows nothing: no cache, no cookie."""
    context = browser.new_context(viewport=VIEWPORT)
    context.set_default_timeout(_PATIENCE)
    yield context.new_page()
    context.close()


def wait_until_still(page: Page) -> None:
    """Wait until the page has a heading and its script has run to the end. Raises KSLotteryError if it broke."""
    page.wait_for_function(_STILL)
    broken = page.get_by_test_id("stException")
    if broken.count():
        raise KSLotteryError(f"{page.url}: expected a page, found an error: {broken.first.inner_text()[:300]}")
