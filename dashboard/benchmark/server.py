"""A Streamlit server of the benchmark's own: the dashboard, or an empty app to hold it against."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil

DASHBOARD = Path(__file__).resolve().parents[1] / "app.py"
EMPTY_APP = 'import streamlit as st\n\nst.title("Empty")\nst.metric("Nothing", "0")\n'
"""As empty as an app can be that shows a title and a number, which is what a first paint is waited for."""
_START_SECONDS = 120


class Server:
    """`streamlit run` of one script on a free port, as a context; answers once it is entered."""

    def __init__(self, script: Path, folder: Path, home: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://localhost:{self.port}"
        self.started_seconds = 0.0
        self._script, self._folder, self._home = script, folder, home
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> Server:
        options = ("--server.headless", "true", "--browser.gatherUsageStats", "false")
        command = [sys.executable, "-m", "streamlit", "run", str(self._script), "--server.port", str(self.port)]
        with (self._folder / f"server-{self.port}.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*command, *options, "--server.fileWatcherType", "none"],
                env=os.environ | {"KSLOTTERY_HOME": str(self._home)},
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        self.started_seconds = time.perf_counter()
        self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def read_memory_bytes(self) -> int:
        """Resident memory of the server's process."""
        assert self._process is not None, "the server was started"
        return psutil.Process(self._process.pid).memory_info().rss

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.address}/_stcore/health", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.01)
        self.__exit__()
        log = (self._folder / f"server-{self.port}.log").read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"{self._script}: the server did not answer in {_START_SECONDS} s; it said: {log[-500:]}")
