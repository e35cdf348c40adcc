import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from kslottery_core.errors import RunError
from kslottery_core.jobs import find_process, read_host, save_status
from kslottery_core.runs import RunStatus, RunStore, cancel_run, launch, launch_run
from kslottery_core.runs.record import load_status
from kslottery_core.tuning.settings import TuningSettings

LONG = TuningSettings(max_steps=5000)


def is_ended(record):
    return not record.status.live


def is_tuning(record):
    return record.status.phase == "tune" and record.status.step > 0


def test_a_launched_run_works_in_a_session_of_its_own_and_finishes(launch_fake, wait_until):
    record = launch_fake()
    assert record.status.state == "queued"
    record = wait_until(record, is_ended)
    assert record.status.state == "finished", record.read_log_tail()
    assert record.result["scores"][0]["value"] == 12.5
    assert "the fake worker says hello" in record.read_log_tail()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(record.status.pid):  # no zombie stays behind
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_run_goes_on_when_its_launcher_is_killed(store, make_spec, wait_until, tmp_path):
    spec = make_spec(tuning=TuningSettings(max_steps=60))
    fake_work = str(sys.modules[__name__].__file__).replace("test_launch", "fake_work")
    code = f"""
import json, os, signal
from kslottery_core.runs import RunSpec, RunStore, launch_run
spec = RunSpec.from_json({spec.to_json()!r}, "spec")
record = launch_run(RunStore({str(store.root)!r}), spec, command=[{sys.executable!r}, {fake_work!r}, "well", "0.02"])
print(record.run_id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    launcher = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert launcher.returncode == -signal.SIGKILL
    record = wait_until(store.get(launcher.stdout.strip()), is_tuning)
    assert os.getsid(record.status.pid) == record.status.pid
    assert wait_until(record, is_ended).status.state == "finished"


def test_cancel_stops_a_run_within_seconds_and_keeps_what_it_did(launch_fake, wait_until):
    record = wait_until(launch_fake(tuning=LONG), is_tuning)
    asked = time.monotonic()
    assert "asked to stop" in cancel_run(record)
    record = wait_until(record, is_ended)
    assert time.monotonic() - asked < 5
    assert record.status.state == "cancelled"
    assert re.match(r"stopped at step \d+ of 5,000 of the tuning;", record.status.message)
    assert "kept in checkpoints" in record.status.message
    steps = int((record.checkpoints / "rows.safetensors").read_text())
    assert steps == len([event for event in record.read_metrics() if event.phase == "tune"])
    assert record.result["tuning"]["stopped"] is True
    assert record.result["scores"] == []
    assert record.cancel_requested
    assert cancel_run(record) == "Nothing to cancel: the run is cancelled."


def test_sigterm_ends_in_a_clean_cancelled_state(launch_fake, wait_until):
    record = wait_until(launch_fake(tuning=LONG), is_tuning)
    os.kill(record.status.pid, signal.SIGTERM)
    record = wait_until(record, is_ended)
    assert record.status.state == "cancelled"
    assert (record.checkpoints / "rows.safetensors").exists()


def test_cancel_leaves_a_long_load_at_once(launch_fake, wait_until):
    record = wait_until(launch_fake("load"), lambda record: record.status.phase == "load")
    assert cancel_run(record, wait=True) == "The run is cancelled; what it has done so far is kept."
    record = wait_until(record, is_ended)
    assert "nothing to keep" in record.status.message
    assert record.result is None


def test_a_killed_run_is_shown_as_died_with_the_end_of_its_log(launch_fake, wait_until):
    record = wait_until(launch_fake(tuning=LONG), is_tuning)
    os.killpg(record.status.pid, signal.SIGKILL)
    record = wait_until(record, is_ended)
    assert record.status.state == "died"
    assert "ended unexpectedly in the phase tune; its log ends with:" in record.status.message
    assert "runs 'ticket' on cpu" in record.status.message
    assert "Nothing to cancel" in cancel_run(record)
    assert not record.cancel_requested
    assert load_status(record.folder).state == "running"


def test_a_run_that_vanishes_by_itself_is_shown_as_died_too(launch_fake, wait_until):
    record = wait_until(launch_fake("vanish"), is_ended)
    assert record.status.state == "died"
    assert "its log ends with: last words of a dying process" in record.status.message


def test_a_process_that_ends_before_it_starts_to_work_is_a_failed_run(launch_fake, wait_until):
    record = wait_until(launch_fake("stillborn"), is_ended)
    assert record.status.state == "failed"
    assert "ended with status 3 before it could start" in record.status.message


def test_a_command_that_does_not_exist_is_one_sentence(store, make_spec):
    with pytest.raises(RunError, match="cannot be started"):
        launch_run(store, make_spec(), command=["/no/such/program"])
    assert store.list()[0].status.state == "failed"


def test_the_second_run_on_a_device_waits_for_the_first_by_name(launch_fake, wait_until):
    first = wait_until(launch_fake(name="the first", tuning=LONG), is_tuning)
    second = launch_fake(name="the second")
    third = launch_fake(name="the third")
    second = wait_until(second, lambda record: record.status.message == "waits for the first")
    assert second.status.state == "queued"
    wait_until(third, lambda record: record.status.message == "waits for the first and 1 more")
    cancel_run(first)
    second, third = wait_until(second, is_ended), wait_until(third, is_ended)
    assert (second.status.state, third.status.state) == ("finished", "finished")
    assert second.status.started >= wait_until(first, is_ended).status.ended - 1
    assert third.status.started >= second.status.started
    assert second.result["cost"]["waited_seconds"] > 0


def test_a_waiting_run_is_cancelled_within_a_second(launch_fake, wait_until):
    wait_until(launch_fake(name="the first", tuning=LONG), is_tuning)
    second = wait_until(launch_fake(), lambda record: record.status.message == "waits for the first")
    asked = time.monotonic()
    cancel_run(second)
    second = wait_until(second, is_ended)
    assert time.monotonic() - asked < 1.5
    assert second.status.state == "cancelled"


def test_the_device_is_free_again_when_its_run_is_killed(launch_fake, wait_until):
    first = wait_until(launch_fake(name="the first", tuning=LONG), is_tuning)
    second = wait_until(launch_fake(), lambda record: record.status.message == "waits for the first")
    os.killpg(first.status.pid, signal.SIGKILL)
    assert wait_until(second, is_ended).status.state == "finished"


def test_a_deaf_run_is_killed_after_the_grace_period(launch_fake, wait_until, monkeypatch):
    monkeypatch.setattr(launch, "_SIGNAL_SECONDS", 0.5)
    record = wait_until(launch_fake("deaf", tuning=LONG), is_tuning)
    assert "has been killed" in cancel_run(record, wait=True, grace_seconds=0.3)
    record = wait_until(record, is_ended)
    assert record.status.state == "cancelled"
    assert "was killed" in record.status.message


def test_cancelling_with_wait_returns_when_the_run_has_ended(launch_fake, wait_until, store):
    record = wait_until(launch_fake(tuning=LONG), is_tuning)
    assert cancel_run(record, wait=True) == "The run is cancelled; what it has done so far is kept."
    assert store.get(record.run_id).status.state == "cancelled"


def test_runs_of_others_are_not_cancelled(store, make_spec, tmp_path):
    record = store.create(make_spec())
    seen = RunStore(tmp_path / "mine", extra_roots=[store.root]).get(record.run_id)
    with pytest.raises(RunError, match="read-only"):
        cancel_run(seen)
    assert not record.cancel_requested


def test_a_run_on_another_host_is_asked_but_never_signalled(store, make_spec):
    record = store.create(make_spec())
    now = time.time()
    here = RunStatus("running", now, pid=os.getpid(), process_started=psutil.Process().create_time(), heartbeat=now)
    save_status(record.folder, replace(here, host="elsewhere"))
    assert "started on host elsewhere" in cancel_run(record, wait=True, grace_seconds=0)
    assert record.cancel_requested
    assert find_process(load_status(record.folder)) is None
    assert find_process(replace(here, host=read_host())) is not None


def test_a_foreground_run_is_signalled_alone_not_with_its_group(store, make_spec):
    record = store.create(make_spec())
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    process = psutil.Process(child.pid)
    now = time.time()
    status = RunStatus("running", now, pid=child.pid, process_started=process.create_time(), host=read_host())
    save_status(record.folder, status)
    answer = cancel_run(record, wait=True, grace_seconds=0)
    assert child.wait() == -signal.SIGTERM
    assert "has been killed" in answer
    assert store.get(record.run_id).status.state == "cancelled"


def test_a_process_that_cannot_be_signalled_is_one_sentence(launch_fake, wait_until, monkeypatch):
    record = wait_until(launch_fake("deaf", tuning=LONG), is_tuning)

    def refuse(group, number):
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(os, "killpg", refuse)
        with pytest.raises(RunError, match="belongs to somebody else"):
            cancel_run(record, wait=True, grace_seconds=0)
    os.killpg(record.status.pid, signal.SIGKILL)
    assert wait_until(record, is_ended).status.state == "died"


def test_a_process_that_ends_just_before_the_signal_is_no_error(launch_fake, wait_until, monkeypatch):
    record = wait_until(launch_fake("deaf", tuning=LONG), is_tuning)
    send = os.killpg

    def come_too_late(group, number):
        send(group, signal.SIGKILL)
        while find_process(load_status(record.folder)) is not None:
            time.sleep(0.02)
        raise ProcessLookupError

    monkeypatch.setattr(os, "killpg", come_too_late)
    assert "The run has died" in cancel_run(record, wait=True, grace_seconds=0)


def test_a_launcher_that_ends_normally_leaves_the_run_and_prints_nothing(store, make_spec, wait_until):
    fake_work = str(sys.modules[__name__].__file__).replace("test_launch", "fake_work")
    code = f"""
from kslottery_core.runs import RunSpec, RunStore, launch_run
spec = RunSpec.from_json({make_spec().to_json()!r}, "spec")
record = launch_run(RunStore({str(store.root)!r}), spec, command=[{sys.executable!r}, {fake_work!r}, "well", "0.05"])
print(record.run_id)
"""
    launcher = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (launcher.returncode, launcher.stderr) == (0, "")
    assert wait_until(store.get(launcher.stdout.strip()), is_ended).status.state == "finished"
