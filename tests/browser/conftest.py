"""A server as the README starts it, and a page in headless Chromium; every test of this folder is marked `browser`."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60_000  # milliseconds; shared machines are slow
TEST_SECONDS = 600


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))
            if CHROMIUM is None and not os.environ.get("KSLOTTERY_REQUIRE_BROWSER"):
                item.add_marker(pytest.mark.skip(reason="no chromium on the path"))


class Server:
    """The dashboard as the README starts it, on a free port, from another directory than the root."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home = home
        self._environment = os.environ | {"KSLOTTERY_HOME": str(home)}
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://localhost:{self.port}"
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "dashboard" / "app.py")]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--server.port", str(self.port)],
                env=self._environment,
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.address}/_stcore/health", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.3)
        raise AssertionError((self._folder / "server.log").read_text())

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@pytest.fixture
def server(tmp_path):
    """A server of this test's own, with an empty home."""
    running = Server(tmp_path / "home", tmp_path)
    running.start()
    yield running
    running.kill()


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory):
    """One server, and one home, for all tests of a file."""
    folder = tmp_path_factory.mktemp("shared")
    running = Server(folder / "home", folder)
    running.start()
    yield running
    running.kill()


# Not for the session: while playwright's loop runs, other tests cannot run one of their own in this thread.
@pytest.fixture(scope="module")
def browser():
    """One Chromium for all tests of a file."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        yield running
        running.close()


@pytest.fixture
def page(browser):
    """A page of a browser that knows nothing of earlier tests."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()
