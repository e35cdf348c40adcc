"""How a run ends when it is killed, removed or resumed at the worst moment."""

import dataclasses
import json
import shutil
import threading
import time

import pytest

from kslottery_core import jobs
from kslottery_core.errors import RunError
from kslottery_core.evaluation.generate import EvaluationSettings
from kslottery_core.jobs import hold_device, hold_lock, locate_device_lock, locate_job_lock, save_status
from kslottery_core.progress import never_stop
from kslottery_core.runs import launch, load_run, reopen_run, resume_run
from kslottery_core.runs.record import load_status
from kslottery_core.runs.worker import work
from kslottery_core.tickets import Ticket
from kslottery_core.tuning.settings import TuningSettings


@pytest.fixture
def finish(store, make_spec, fake_work):
    """A finished run of the fake worker."""

    def do(**changes):
        record = store.create(make_spec(**changes))
        assert work(record.folder, tune=fake_work.make_tune(), evaluate=fake_work.make_evaluate()).state == "finished"
        return store.get(record.run_id)

    return do


def forget_end(record):
    """The status as the last heartbeat before the end left it; its process is gone."""
    status = load_status(record.folder)
    gone = dataclasses.replace(status, state="running", ended=None, process_started=5.0, process_identity="gone")
    save_status(record.folder, gone)


def test_a_run_killed_between_its_result_and_its_last_status_is_finished(store, finish, monkeypatch):
    record = finish()
    (record.checkpoints / "training").mkdir()
    result = (record.folder / "result.json").read_bytes()
    forget_end(record)
    seen = store.get(record.run_id)
    assert (seen.status.state, seen.status.message, seen.result) == ("finished", None, record.result)
    assert load_status(record.folder).state == "running"
    monkeypatch.setattr(launch, "start_worker", lambda record, command=None: pytest.fail("nothing is left to do"))
    resumed = resume_run(store, record.run_id)
    assert (resumed.status.state, resumed.status.attempt) == ("finished", 1)
    assert load_status(record.folder).state == "finished"
    assert not (record.checkpoints / "training").exists()
    assert (record.folder / "result.json").read_bytes() == result
    with pytest.raises(RunError, match="it has finished"):
        reopen_run(store, record.run_id)


@pytest.mark.parametrize(
    ("scores", "stopped", "state"), [([{}], False, "finished"), ([], False, "died"), ([{}], True, "died")]
)
def test_the_result_of_an_older_version_tells_whether_it_is_whole(finish, scores, stopped, state):
    record = finish()
    path = record.folder / "result.json"
    result = json.loads(path.read_text())
    del result["complete"], result["attempt"]
    path.write_text(json.dumps({**result, "scores": scores, "tuning": {**result["tuning"], "stopped": stopped}}))
    forget_end(record)
    assert load_run(record.folder).status.state == state


def test_a_part_of_a_result_is_no_end(store, make_spec, fake_work):
    record = store.create(make_spec())
    work(record.folder, tune=fake_work.make_tune(), evaluate=fake_work.make_evaluate("evaluation bug"))
    assert store.get(record.run_id).result["complete"] is False
    forget_end(record)
    assert store.get(record.run_id).status.state == "died"


def test_a_damaged_checkpoint_costs_neither_result_nor_outputs(store, make_spec, tiny_llama_folder):
    record = store.create(
        make_spec(
            model=str(tiny_llama_folder),
            ticket=Ticket(token_ids=(3, 5, 8), vocabulary_size=64, rule="list"),
            tuning=TuningSettings(max_steps=4, batch_size=2),
            evaluation=EvaluationSettings(1, 4, 1),
        )
    )

    def stop_while_scoring(event):
        if event.phase == "generate" and event.step == 1:
            (record.folder / "cancel").touch()

    assert work(record.folder, on_progress=stop_while_scoring).state == "cancelled"
    before = store.get(record.run_id)
    assert before.result["scores"] == [] and before.read_outputs()
    (damaged,) = (record.checkpoints / "training").glob("checkpoint-*/optimizer.pt")
    damaged.write_bytes(b"")
    assert reopen_run(store, record.run_id).result is None
    status = work(record.folder)
    assert status.state == "failed" and "found a damaged file" in status.message
    after = store.get(record.run_id)
    assert (after.result, after.read_outputs()) == (before.result, before.read_outputs())


def test_a_queued_run_whose_folder_is_removed_stops_without_training(store, make_spec, fake_work):
    record = store.create(make_spec())
    ended = []

    def wait_and_work():
        tune = fake_work.make_tune()
        ended.append(work(record.folder, tune=lambda *given, **options: trained.append(1) or tune(*given, **options)))

    trained = []
    lock = locate_device_lock(store.root.parent, "cpu")
    with hold_device(lock, jobs.QueuedJob("a scan"), on_wait=print, should_stop=never_stop) as held:
        assert held
        worker = threading.Thread(target=wait_and_work)
        worker.start()
        deadline = time.monotonic() + 20
        while store.get(record.run_id).status.message != "waits for a scan" and time.monotonic() < deadline:
            time.sleep(0.02)
        shutil.rmtree(record.folder)
        worker.join(20)
    assert [(status.state, status.message) for status in ended] == [
        ("cancelled", "stopped, because its folder was removed")
    ]
    assert trained == []
    assert not record.folder.exists()


def test_a_running_run_whose_folder_is_removed_leaves_it_removed(store, make_spec, fake_work):
    record = store.create(make_spec(tuning=TuningSettings(max_steps=1000)))

    def remove(event):
        if event.step == 2:
            shutil.rmtree(record.folder)

    status = work(record.folder, tune=fake_work.make_tune(step_seconds=0.01), on_progress=remove)
    assert status.state == "cancelled" and status.step <= 3
    assert not record.folder.exists()


def test_resuming_and_removing_wait_for_whoever_still_works_on_the_run(store, finish, monkeypatch):
    record = finish()
    save_status(record.folder, dataclasses.replace(load_status(record.folder), state="cancelled"))
    monkeypatch.setattr("kslottery_core.runs.store.hold_run.__wrapped__.__defaults__", (0.1,))
    with hold_lock(locate_job_lock(record.folder)):
        for refused in (reopen_run, type(store).delete):
            with pytest.raises(RunError, match="another process works on it"):
                refused(store, record.run_id)
        with pytest.raises(RunError, match="another process works on it"):
            work(record.folder)
    assert reopen_run(store, record.run_id).status.state == "queued"
    assert not locate_job_lock(record.folder).exists()


def test_a_clock_that_is_set_back_makes_no_negative_times(store, make_spec, fake_work, monkeypatch):
    record = store.create(make_spec())
    save_status(record.folder, dataclasses.replace(record.status, created=time.time() + 7200))
    real = time.time
    tune = fake_work.make_tune(step_seconds=0.02)

    def set_back(task, folder, **options):
        monkeypatch.setattr(time, "time", lambda: real() - 3600)
        return tune(task, folder, **options)

    assert work(record.folder, tune=set_back, evaluate=fake_work.make_evaluate()).state == "finished"
    cost = store.get(record.run_id).result["cost"]
    assert cost["waited_seconds"] == 0.0
    assert 0.06 <= cost["total_seconds"] < 60
    assert 0.06 <= store.get(record.run_id).seconds < 60


def test_a_removed_run_is_out_of_the_list_before_it_is_deleted(store, finish, monkeypatch):
    record = finish()

    def fail_halfway(path):
        (path / "spec.json").unlink()
        raise OSError("the disk is gone")

    monkeypatch.setattr(shutil, "rmtree", fail_halfway)
    with pytest.raises(RunError, match="no longer listed"):
        store.delete(record.run_id)
    assert store.list() == ()
