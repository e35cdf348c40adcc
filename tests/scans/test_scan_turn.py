"""A scan waits for its turn on the device as a run does; the waiting is reported and can be stopped."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kslottery_core import jobs
from kslottery_core.commands.terminal import TerminalProgress
from kslottery_core.progress import ProgressEvent, never_stop
from kslottery_core.scans import load_scan, scan_parameters


@pytest.fixture
def release(home: Path) -> Iterator[Callable[[], None]]:
    """The CPU is held by a run; calling the fixture frees it."""
    done, held = threading.Event(), threading.Event()

    def hold() -> None:
        lock = jobs.locate_device_lock(home, jobs.identify_queue("cpu"))
        with jobs.hold_device(lock, jobs.QueuedJob("a long run"), on_wait=print, should_stop=never_stop):
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    yield done.set
    done.set()
    thread.join(20)


def test_a_scan_waits_for_a_run_and_then_compares_everything(
    release: Callable[[], None], tiny_llama_folder: Path, tuned: Path, tmp_path: Path
) -> None:
    events: list[ProgressEvent] = []

    def listen(event: ProgressEvent) -> None:
        events.append(event)
        if len(events) == 2:
            release()

    scan = scan_parameters(tiny_llama_folder, tuned, tmp_path / "scan", device="cpu", progress=listen)
    assert scan.remaining == ()
    assert [(event.phase, event.message) for event in events[:2]] == [("wait", "waits for a long run")] * 2
    assert {event.phase for event in events} == {"wait", "scan"}


def test_the_waiting_is_stopped_and_nothing_is_lost(
    release: Callable[[], None], tiny_llama_folder: Path, tuned: Path, tmp_path: Path
) -> None:
    asked = []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) > 2

    scan = scan_parameters(tiny_llama_folder, tuned, tmp_path / "scan", device="cpu", should_stop=should_stop)
    assert scan.entries == () and len(scan.remaining) == len(scan.parameters)
    release()
    assert scan_parameters(tiny_llama_folder, tuned, tmp_path / "scan", device="cpu").remaining == ()
    assert load_scan(tmp_path / "scan").remaining == ()


def test_a_run_that_waits_for_a_scan_is_told_its_name(tiny_llama_folder: Path, tuned: Path, home: Path) -> None:
    waits = []
    lock = jobs.locate_device_lock(home, jobs.identify_queue("cpu"))

    def wait_beside(event: ProgressEvent) -> None:
        stop = iter((False, True))
        run = jobs.QueuedJob("a run")
        with jobs.hold_device(lock, run, on_wait=waits.append, should_stop=lambda: next(stop)) as held:
            assert not held

    scan_parameters(tiny_llama_folder, tuned, device="cpu", pattern="*.0.mlp.up_proj*", progress=wait_beside)
    assert set(waits) == {f"waits for the scan of {tuned}"}


def test_what_is_all_there_waits_for_nobody(
    tiny_llama_folder: Path, tuned: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    whole = scan_parameters(tiny_llama_folder, tuned, tmp_path / "scan", device="cpu")
    request.getfixturevalue("release")
    assert scan_parameters(tiny_llama_folder, tuned, tmp_path / "scan", device="cpu") == whole


def test_a_home_that_cannot_be_written_has_no_queue(tiny_llama_folder: Path, tuned: Path, home: Path) -> None:
    (home / "locks").write_text("a file")
    assert scan_parameters(tiny_llama_folder, tuned, device="cpu").remaining == ()


def test_the_command_line_reports_what_it_waits_for_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:

    progress: Any = TerminalProgress()
    for message in ("waits for x", "waits for x", "waits for y"):
        progress(ProgressEvent("wait", 0, 9, message=message))
    assert capsys.readouterr().err == "queued: waits for x\nqueued: waits for y\n"
