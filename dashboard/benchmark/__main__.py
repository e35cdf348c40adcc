"""`python -m dashboard.benchmark`: measures, prints a table and writes the figures to a file."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dashboard.benchmark.alpha_dial import measure_dial_frames, measure_dial_release
from dashboard.benchmark.chromium import open_browser
from dashboard.benchmark.first_paint import measure_first_paint
from dashboard.benchmark.measured import Measured, format_measured
from dashboard.benchmark.memory import measure_memory
from dashboard.benchmark.page_changes import measure_page_changes
from dashboard.benchmark.pairs import make_compared_pair, make_pair
from dashboard.benchmark.token_map import measure_map_redraw
from kslottery_core.errors import KSLotteryError
from kslottery_core.records import save_json

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PARTS = ("first-paint", "pages", "dial", "map", "memory")
_MEMORY_REPEATS = 3
LIBRARIES = ("streamlit", "plotly", "pandas", "playwright")


@dataclass(frozen=True)
class Sizes:
    """V and d of the pairs (for changing pages, for frames in the browser, of a 7B model), and how much is done."""

    pages: tuple[int, int] = (128_000, 1_024)
    frames: tuple[int, int] = (256_000, 4_096)
    seven_billion: tuple[int, int] = (32_000, 4_096)
    frame_count: int = 200
    sessions: int = 10


SMALL = Sizes((2_000, 64), (4_000, 256), (1_000, 128), frame_count=20, sessions=2)


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, measure, print and write; the exit status is 2 when something needed is missing."""
    parser = argparse.ArgumentParser(prog="python -m dashboard.benchmark", description=__doc__)
    parser.add_argument("--out", type=Path, help="also write the figures to this .json file")
    parser.add_argument("--repeats", type=int, default=7, help="how often each thing is measured (default: 7)")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part; may be repeated")
    parser.add_argument("--small", action="store_true", help="tiny pairs: to see that it works, not to measure")
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error(f"--repeats: expected at least 1, found {options.repeats}")
    from kslottery_core.benchmarks.measuring import describe_machine

    machine = describe_machine()
    try:
        with tempfile.TemporaryDirectory(prefix="kslottery-benchmark-") as folder:
            os.environ["KSLOTTERY_HOME"] = str(Path(folder, "home"))
            measured, browser_version = _measure(options, Path(folder), SMALL if options.small else Sizes())
    except KSLotteryError as problem:
        print(problem, file=sys.stderr)
        return 2
    print(format_measured(measured))
    machine["versions"] |= {"chromium": browser_version} | {name: _read_version(name) for name in LIBRARIES}
    print(f"{machine['processor']}, {machine['cores']} cores, load {machine['load_at_start']} at the start")
    if options.out is not None:
        given = sys.argv[1:] if arguments is None else arguments
        command = shlex.join(["python", "-m", "dashboard.benchmark", *given])
        content = {"command": command, "machine": machine, "measured": [one.to_json() for one in measured]}
        save_json(options.out, content)
    return 0


def _measure(options: argparse.Namespace, folder: Path, sizes: Sizes) -> tuple[list[Measured], str]:
    measured: list[Measured] = []
    with open_browser() as browser:
        for call in _list_calls(browser, folder, sizes, options.repeats, options.part or PARTS):
            measured += _tell(call())
        return measured, browser.version


def _list_calls(
    browser: Browser, folder: Path, sizes: Sizes, repeats: int, parts: Sequence[str]
) -> Iterator[Callable[[], list[Measured]]]:
    memory_repeats = min(repeats, _MEMORY_REPEATS)
    if "first-paint" in parts:
        yield lambda: measure_first_paint(browser, folder, repeats)
    if {"dial", "map"} & {*parts}:
        counted = make_compared_pair(folder / "frames", *sizes.frames)
        if "dial" in parts:
            yield lambda: measure_dial_frames(browser, folder, counted, sizes.frame_count)
        if "map" in parts:
            yield lambda: [measure_map_redraw(browser, folder, counted, sizes.frame_count)]
    if {"pages", "dial", "memory"} & {*parts}:
        pair = make_pair(folder / "pages", *sizes.pages)
        if "pages" in parts:
            yield lambda: measure_page_changes(browser, folder, pair, repeats)
        if "dial" in parts:
            yield lambda: measure_dial_release(browser, folder, pair, repeats)
        if "memory" in parts:
            yield lambda: [measure_memory(browser, folder, pair, sizes.sessions, memory_repeats)]
    if "memory" in parts:
        large = make_pair(folder / "seven-billion", *sizes.seven_billion)
        yield lambda: [measure_memory(browser, folder, large, sizes.sessions, memory_repeats)]


def _tell(found: list[Measured]) -> list[Measured]:
    for measured in found:
        print(f"  {measured.name}: {measured.median:.4g} {measured.unit}", file=sys.stderr, flush=True)
    return found


def _read_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
