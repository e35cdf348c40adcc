import threading
import time
from dataclasses import replace

import pytest

from kslottery_core.errors import RunError
from kslottery_core.jobs import locate_device_lock, resolve_device, save_status
from kslottery_core.progress import never_stop
from kslottery_core.runs.record import load_status
from kslottery_core.runs.store import hold_device


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
    with hold_device(record.folder, device, on_wait=on_wait, should_stop=should_stop) as held:
        return held


def stop_after_half_a_second():
    deadline = time.monotonic() + 0.5
    return lambda: time.monotonic() > deadline


def test_the_device_is_resolved_before_the_queue(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (resolve_device("auto"), resolve_device("cpu")) == ("cpu", "cpu")
    with pytest.raises(RunError, match="expected 'cuda', CUDA devices found here: 0"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert (resolve_device("auto"), resolve_device("cuda:1")) == ("cuda:0", "cuda:1")
    with pytest.raises(RunError, match="CUDA devices found here: 2"):
        resolve_device("cuda:2")


def test_a_free_device_is_held_at_once_and_again_afterwards(create):
    record = create("alone")
    told = []
    assert wait_for_device(record, on_wait=told.append)
    assert wait_for_device(record, on_wait=told.append)
    assert told == []


def test_the_lock_lies_beside_the_store_and_names_its_holder(create, store):
    record = create("alone")
    assert locate_device_lock(store.root.parent, "cuda:1").name.endswith("-cuda-1.lock")
    assert wait_for_device(record)
    lock = locate_device_lock(store.root.parent, "cpu")
    assert lock.parent == store.root.parent / "locks"
    assert lock.read_text().splitlines() == [str(record.folder), "alone"]


def test_a_held_device_is_waited_for_by_the_name_of_its_holder(create):
    first, second = create("the first"), create("the second")
    told = []
    with hold_device(first.folder, "cpu", on_wait=print, should_stop=never_stop):
        save_status(first.folder, replace(first.status, state="running", pid=None))
        assert not wait_for_device(second, should_stop=stop_after_half_a_second(), on_wait=told.append)
        assert wait_for_device(second, "cuda:0")
    assert told == ["waits for the first"]
    assert wait_for_device(second)


def test_a_holder_that_nobody_knows_has_no_name(create, store):
    first, second = create("the first"), create("the second")
    told = []
    with hold_device(first.folder, "cpu", on_wait=print, should_stop=never_stop):
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
