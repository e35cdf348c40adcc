"""Certifying waits for its turn on the device as a run does; the waiting is reported and can be stopped."""

import threading

import pytest
import torch

from kslottery_core import jobs
from kslottery_core.certification import certify, verify_certification
from kslottery_core.progress import never_stop


@pytest.fixture
def task(make_pair, make_task, monkeypatch, tmp_path):
    monkeypatch.setenv("KSLOTTERY_HOME", str(tmp_path / "home"))
    before, after = make_pair(lambda rows: torch.where(torch.arange(64)[:, None] == 5, rows + 0.1, rows))
    return make_task(before, after, (5,))


@pytest.fixture
def release(task):
    """The CPU is held by a run; calling the fixture frees it."""
    done, held = threading.Event(), threading.Event()

    def hold():
        with jobs.hold_turn("cpu", "a long run", on_wait=print, should_stop=never_stop):
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    yield done.set
    done.set()
    thread.join(20)


def test_certifying_waits_for_a_run_and_then_certifies(task, release):
    events = []

    def listen(event):
        events.append(event)
        release()

    found = certify(task, on_progress=listen)
    assert [(event.phase, event.message) for event in events[:1]] == [("wait", "waits for a long run")]
    assert {event.phase for event in events[1:]} == {"load", "ks", "generate", "certify"}
    assert verify_certification(found).holds


def test_the_waiting_can_be_stopped(task, release):
    events = []
    assert certify(task, on_progress=events.append, should_stop=lambda: bool(events)) is None
    assert [event.phase for event in events] == ["wait"]


def test_a_run_that_waits_for_a_certificate_is_told_its_name(task):
    waits = []

    def wait_beside(event):
        stop = iter((False, True))
        with jobs.hold_turn("cpu", "a run", on_wait=waits.append, should_stop=lambda: next(stop)) as held:
            assert not held

    assert certify(task, on_progress=wait_beside) is not None
    assert set(waits) == {"waits for the certificate of 1 token"}
