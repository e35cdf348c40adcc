"""What a server holds in memory with one and with ten people on one pair."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from dashboard.benchmark.chromium import open_page, wait_until_still
from dashboard.benchmark.measured import Measured
from dashboard.benchmark.pairs import PairFolders
from dashboard.benchmark.server import DASHBOARD, Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TARGET_RATIO = 1.3
_PAGES = ("", "tokens", "alpha")


def measure_memory(browser: Browser, folder: Path, pair: PairFolders, sessions: int, repeats: int) -> Measured:
    """Resident memory of a new server with `sessions` (2 or more) open over that with one; each saw three pages."""
    one, all_of_them = [], []
    for _ in range(repeats):
        with Server(DASHBOARD, folder, folder / "home") as server, contextlib.ExitStack() as pages:
            for number in range(1, sessions + 1):
                page = pages.enter_context(open_page(browser))
                for name in _PAGES:
                    page.goto(f"{server.address}/{name}?{pair.build_query()}")
                    wait_until_still(page)
                page.wait_for_timeout(1000)
                if number == 1:
                    one.append(server.read_memory_bytes() / 1e6)
            all_of_them.append(server.read_memory_bytes() / 1e6)
    return Measured(
        f"Memory of the server, {sessions} sessions, {pair.describe()}",
        "MB",
        tuple(all_of_them),
        TARGET_RATIO,
        "one session",
        tuple(one),
        note=f"{(all_of_them[-1] - one[-1]) / (sessions - 1):.1f} MB a further session",
    )
