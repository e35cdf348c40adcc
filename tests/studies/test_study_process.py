import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from kslottery_core.errors import StudyError
from kslottery_core.jobs import find_process
from kslottery_core.runs.record import load_status
from kslottery_core.studies import StudyArm, start_study, stop_study

FAKE_STUDY = Path(__file__).with_name("fake_study.py")
ARMS = (StudyArm("full", "full"), StudyArm("lora", "lora"))


@pytest.fixture
def processes(study_store):
    """Whatever a test leaves running is ended."""
    yield
    for folder in study_store.run_store.root.glob("2*"):
        with contextlib.suppress(Exception):
            process = find_process(load_status(folder))
            if process is not None:
                os.killpg(process.pid, signal.SIGKILL)


def make_command(step_seconds):
    return [sys.executable, str(FAKE_STUDY), str(step_seconds)]


def wait_until(expected, seconds=200):
    deadline = time.monotonic() + seconds
    while not expected():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.usefixtures("processes")
def test_a_study_that_is_killed_adopts_the_run_that_outlived_it(study_store, make_study):
    study_id = study_store.create(make_study(arms=ARMS, steps=(6,))).study_id
    started = start_study(study_store, study_id, command=make_command(1))
    assert started.status.state == "queued"
    wait_until(lambda: [run.status.state for run in study_store.run_store.list()] == ["running"])
    os.killpg(study_store.get(study_id).status.pid, signal.SIGKILL)
    wait_until(lambda: study_store.get(study_id).status.state == "died")
    record = study_store.get(study_id)
    assert "ended unexpectedly" in record.status.message
    assert record.cells[0].state in ("running", "finished") and record.cells[1].state == "waiting"
    first = record.cells[0].run_id

    start_study(study_store, study_id, command=make_command(0.01))
    wait_until(lambda: not study_store.get(study_id).status.live)
    record = study_store.get(study_id)
    assert record.status.state == "finished", record.read_log_tail()
    assert [cell.state for cell in record.cells] == ["finished", "finished"]
    assert record.cells[0].run_id == first and len(study_store.run_store.list()) == 2
    assert study_store.run_store.get(first).status.attempt == 1
    assert record.status.attempt == 2


@pytest.mark.usefixtures("processes")
def test_two_who_start_a_study_at_once_start_it_once_and_it_can_be_stopped(study_store, make_study):
    study_id = study_store.create(make_study(arms=ARMS, steps=(1000,))).study_id
    outcomes = []

    def start():
        try:
            start_study(study_store, study_id, command=make_command(0.05))
            outcomes.append("started")
        except StudyError as problem:
            outcomes.append(str(problem))

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcome == "started" for outcome in outcomes) == [False, True]
    assert any("it is queued already" in outcome for outcome in outcomes)
    wait_until(lambda: [run.status.state for run in study_store.run_store.list()] == ["running"])
    assert "asked to stop" in stop_study(study_store, study_id)
    wait_until(lambda: not study_store.get(study_id).status.live)
    record = study_store.get(study_id)
    assert (record.status.state, record.cells[0].state) == ("stopped", "stopped")
    assert study_store.run_store.list()[0].status.state == "cancelled"


def test_a_process_that_never_speaks_is_told_with_its_status(study_store, make_study):
    study_id = study_store.create(make_study(arms=ARMS)).study_id
    start_study(study_store, study_id, command=[sys.executable, "-c", "raise SystemExit(7)"])
    wait_until(lambda: study_store.get(study_id).status.state == "failed")
    assert "ended with status 7 before it could start" in study_store.get(study_id).status.message


def test_a_program_that_is_not_there_is_told_at_once(study_store, make_study):
    study_id = study_store.create(make_study(arms=ARMS)).study_id
    with pytest.raises(StudyError, match="the study's process cannot be started"):
        start_study(study_store, study_id, command=["/no/such/program"])
    assert study_store.get(study_id).status.state == "failed"
