"""The command line, called in this process."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kslottery_core.__main__ import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line with these arguments; returns (status, standard output, standard error)."""

    def run_command(*arguments: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["kslottery", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return run_command


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of its own: no test waits for the device that another one holds."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("KSLOTTERY_HOME", str(folder))
    return folder
