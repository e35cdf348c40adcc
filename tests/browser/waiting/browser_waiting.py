"""Waiting for a page of Streamlit in a browser, however slow the machine is.

What a page shows may come long after its script is through, so tests compare with Playwright's `expect`, which waits,
and read a value at once only where nothing is under way.
"""

from playwright.sync_api import Locator, Page

STILL_MILLISECONDS = 300
_RESET = "() => { window.stillSince = null; }"
# Between a click, or an address, and the script that it starts the page is still for a moment.
_IS_STILL = """milliseconds => {
    const app = document.querySelector('[data-testid="stApp"]');
    const skeleton = document.querySelector('[data-testid="stSkeleton"], [data-testid="stAppSkeleton"]');
    if (app?.getAttribute('data-test-script-state') !== 'notRunning' || skeleton) {
        window.stillSince = null;
        return false;
    }
    window.stillSince ??= performance.now();
    return performance.now() - window.stillSince > milliseconds;
}"""


def wait_until_still(page: Page, milliseconds: float = STILL_MILLISECONDS) -> None:
    """Until nothing on the page has been computed, and none of its parts awaited, for so long."""
    page.evaluate(_RESET)
    page.wait_for_function(_IS_STILL, arg=milliseconds)


def find_metric(page: Page, label: str) -> Locator:
    """The value on the card whose text has `label`."""
    return page.get_by_test_id("stMetric").filter(has_text=label).get_by_test_id("stMetricValue")
