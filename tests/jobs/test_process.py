"""The process behind a job is found again by when it started, whatever happens to the clock."""

import os
import subprocess
import sys

import psutil
import pytest

from kslottery_core.jobs import JobStatus, describe_own_process, find_process, process, signal_process


@pytest.fixture
def sleeper():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True) as child:
        yield child
        child.kill()


def test_a_process_is_found_although_the_clock_was_set(monkeypatch):
    status = JobStatus("running", 1.0, **describe_own_process())
    real = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: real(self) + 3600)
    found = find_process(status)
    if sys.platform == "linux":
        assert found is not None and found.pid == os.getpid()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the boot and its ticks")
def test_another_boot_or_another_tick_is_another_process():
    status = JobStatus("running", 1.0, **describe_own_process())
    boot, _, tick = status.process_identity.partition(":")
    for identity in (f"{boot}:{int(tick) + 1}", f"another-boot:{tick}"):
        changed = {**describe_own_process(), "process_identity": identity}
        assert find_process(JobStatus("running", 1.0, **changed)) is None


def test_the_status_of_an_older_version_is_matched_by_its_start_time():
    old = {**describe_own_process(), "process_identity": None}
    assert find_process(JobStatus("running", 1.0, **old)) is not None
    assert find_process(JobStatus("running", 1.0, **{**old, "process_started": 5.0})) is None
    assert find_process(JobStatus("running", 1.0, **{**old, "host": "elsewhere"})) is None


@pytest.mark.parametrize("kill", [False, True])
@pytest.mark.parametrize("has_groups", [False, True])
def test_a_process_is_ended_with_and_without_process_groups(sleeper, monkeypatch, kill, has_groups):
    if not has_groups:
        monkeypatch.delattr(process.os, "killpg")
        monkeypatch.delattr(process.os, "getpgid")
    found = psutil.Process(sleeper.pid)
    assert signal_process(found, kill=kill)
    assert sleeper.wait(20) != 0
    assert not signal_process(found, kill=kill)
