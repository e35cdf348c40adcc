import os
import threading
import time
from dataclasses import replace

import pytest

from kslottery_core.errors import RunError
from kslottery_core.progress import never_stop
from kslottery_core.runs import queue
from kslottery_core.runs.status import load_status, save_status


@pytest.fixture
def create(store, make_spec):
    """Create a queued run: `create(name, **status_fields)`."""

    def make(name, **changes):
        record = store.create(make_spec(name=name))
        save_status(record.folder, replace(load_status(record.folder), **changes))
        return store.get(record.run_id)

    return make


def wait_for_device(record, device="cpu", should_stop=never_stop, on_wait=lambda text: None):
    """Whether the device was held."""
    with queue.hold_device(record.folder, device, on_wait=on_wait, should_stop=should_stop) as held:
        return held


def stop_after_half_a_second():
    deadline = time.monotonic() + 0.5
    return lambda: time.monotonic() > deadline


def test_the_device_is_resolved_before_the_queue(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (queue.resolve_device("auto"), queue.resolve_device("cpu")) == ("cpu", "cpu")
    with pytest.raises(RunError, match="expected 'cuda', CUDA devices found here: 0"):
        queue.resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert (queue.resolve_device("auto"), queue.resolve_device("cuda:1")) == ("cuda:0", "cuda:1")
    with pytest.raises(RunError, match="CUDA devices found here: 2"):
        queue.resolve_device("cuda:2")


def test_a_free_device_is_held_at_once_and_again_afterwards(create):
    record = create("alone")
    told = []
    assert wait_for_device(record, on_wait=told.append)
    assert wait_for_device(record, on_wait=told.append)
    assert told == []


def test_the_lock_lies_beside_the_store_and_names_its_holder(create, store):
    record = create("alone")
    assert queue.locate_lock(record.folder, "cuda:1").name.endswith("-cuda-1.lock")
    assert wait_for_device(record)
    lock = queue.locate_lock(record.folder, "cpu")
    assert lock.parent == store.root.parent / "locks"
    assert lock.read_text() == str(record.folder)


def test_a_held_device_is_waited_for_by_the_name_of_its_holder(create):
    first, second = create("the first"), create("the second")
    told = []
    with queue.hold_device(first.folder, "cpu", on_wait=print, should_stop=never_stop):
        save_status(first.folder, replace(first.status, state="running", pid=None))
        assert not wait_for_device(second, should_stop=stop_after_half_a_second(), on_wait=told.append)
        assert wait_for_device(second, "cuda:0")
    assert told == ["waits for the first"]
    assert wait_for_device(second)


def test_a_holder_that_nobody_knows_has_no_name(create, store):
    first, second = create("the first"), create("the second")
    told = []
    with queue.hold_device(first.folder, "cpu", on_wait=print, should_stop=never_stop):
        first.folder.rename(store.root / ".deleted")
        assert not wait_for_device(second, should_stop=stop_after_half_a_second(), on_wait=told.append)
    assert told == ["waits for its device"]


def test_earlier_queued_runs_go_first_even_when_the_device_is_free(create):
    first, second, last = create("the first", queue="cpu"), create("the second"), create("the last")
    told, stop = [], threading.Event()
    waiting = threading.Thread(target=wait_for_device, args=(last, "cpu", stop.is_set, told.append))
    waiting.start()
    deadline = time.monotonic() + 20
    while not told and time.monotonic() < deadline:
        time.sleep(0.05)
    save_status(first.folder, replace(first.status, queue="cuda-1"))
    while len(told) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    save_status(second.folder, replace(second.status, state="cancelled"))
    waiting.join(20)
    ended = not waiting.is_alive()
    stop.set()
    assert told == ["waits for the first and 1 more", "waits for the second"]
    assert ended


def test_ended_foreign_and_broken_runs_are_not_waited_for(create):
    create("ended", state="finished")
    create("foreign", host="elsewhere")
    create("never started", created=time.time() - 100)
    (create("broken").folder / "status.json").write_text("{")
    told = []
    assert wait_for_device(create("mine"), on_wait=told.append)
    assert told == []


def test_a_lock_that_cannot_be_opened_is_one_sentence(create, store):
    record = create("alone")
    (store.root.parent / "locks").write_text("in the way")
    with pytest.raises(RunError, match="the lock of the device cannot be opened"):
        wait_for_device(record)


@pytest.mark.parametrize(
    ("processors", "load", "usual", "threads"),
    [(2, 0.1, 1, 2), (2, 0.9, 1, 1), (2, 7.0, 1, 1), (64, 3.0, 32, 32), (64, 40.0, 32, 24), (1, 0.0, 1, 1)],
)
def test_threads_are_those_processors_that_are_free(processors, load, usual, threads):
    assert queue.choose_threads(processors, load, usual) == threads


def test_a_run_takes_every_free_processor_although_one_ended_a_moment_ago(monkeypatch):
    """The load average after an hour of two busy processors, none of which is busy any more."""
    import torch

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(queue.os, "getloadavg", lambda: (2.0, 2.0, 2.0))
    monkeypatch.setattr(queue.os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr(queue.psutil, "cpu_count", lambda: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    chosen = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    for percent in (0.5, 50.0, 100.0):
        monkeypatch.setattr(queue.psutil, "cpu_percent", lambda interval, percent=percent: percent)
        queue.use_free_cores()
    assert chosen == [2, 1, 1]


def test_busy_processors_are_counted_as_they_are_now():
    assert 0 <= queue.count_busy_processors(0.1) <= (os.cpu_count() or 1)
