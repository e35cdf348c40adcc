"""Runs that were killed, cancelled or failed go on in their own folder, as if nothing had happened."""

import dataclasses
import errno
import json
import os
import signal
import time

import pytest
from typer.testing import CliRunner

from kslottery_core.commands.store_commands import app
from kslottery_core.errors import RunError
from kslottery_core.evaluation.generate import EvaluationSettings
from kslottery_core.jobs import save_status
from kslottery_core.progress import ProgressEvent
from kslottery_core.runs import RunStore, find_resume_step, launch, launch_run, reopen_run, resume_run, session
from kslottery_core.runs.record import METRICS_FILE, RunStatus, load_run, load_status
from kslottery_core.runs.session import MetricsFile
from kslottery_core.runs.worker import work
from kslottery_core.tickets import Ticket
from kslottery_core.tuning.settings import TuningSettings

STEPS = 200


def read_curve(record):
    return [(event.step, event.loss, event.learning_rate) for event in record.read_metrics() if event.phase == "tune"]


def is_ended(record):
    return not record.status.live


@pytest.fixture
def tiny_spec(make_spec, tiny_llama_folder):
    """A run of the real worker on a tiny model, with a checkpoint every 10 steps."""

    def make(**changes):
        fields = {
            "model": str(tiny_llama_folder),
            "ticket": Ticket(token_ids=(3, 5, 8), vocabulary_size=64, rule="list"),
            "tuning": TuningSettings(max_steps=STEPS, batch_size=2, checkpoint_steps=10),
            "evaluation": EvaluationSettings(max_new_tokens=4),
        }
        return make_spec(**{**fields, **changes})

    return make


def test_a_run_killed_while_it_trains_ends_as_the_uninterrupted_one(store, tiny_spec, wait_until, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    killed = launch_run(store, tiny_spec(name="killed"))
    killed = wait_until(killed, lambda record: record.status.phase == "tune" and record.status.step > 15, seconds=120)
    os.killpg(killed.status.pid, signal.SIGKILL)
    killed = wait_until(killed, is_ended, seconds=10)
    assert killed.status.state == "died"
    with (killed.folder / METRICS_FILE).open("ab") as metrics:
        metrics.write(b'{"phase": "tune", "step": 3')  # as a kill in the middle of a line leaves it
    before, step = killed.seconds, find_resume_step(killed)
    assert 10 <= step < STEPS

    resumed = resume_run(store, killed.run_id)
    assert (resumed.status.state, resumed.status.attempt) == ("queued", 2)
    whole = store.create(tiny_spec(name="whole"))
    resumed = wait_until(resumed, is_ended, seconds=120)
    assert resumed.status.state == "finished", resumed.read_log_tail()
    assert f"Continued from the checkpoint of step {step}." in resumed.result["notes"]
    assert work(whole.folder).state == "finished"
    whole = store.get(whole.run_id)

    curve = read_curve(resumed)
    assert [step for step, _, _ in curve] == list(range(1, STEPS + 1))
    assert curve == read_curve(whole)
    rows = [record.checkpoints / "ticket" / "rows.safetensors" for record in (resumed, whole)]
    assert rows[0].read_bytes() == rows[1].read_bytes()
    assert resumed.result["scores"] == whole.result["scores"]
    assert resumed.result["tuning"]["first_loss"] == whole.result["tuning"]["first_loss"]
    assert [path.name for path in resumed.checkpoints.iterdir()] == ["ticket"]
    assert resumed.result["cost"]["total_seconds"] > before > 0
    assert resumed.seconds == pytest.approx(resumed.result["cost"]["total_seconds"], abs=5)


def test_a_cancelled_run_goes_on_from_the_step_where_it_stopped(store, tiny_spec):
    def work_until(record, last_step):
        def listen(event):
            if event.phase == "tune" and event.step == last_step:
                (record.folder / "cancel").touch()

        return work(record.folder, on_progress=listen)

    settings = TuningSettings(max_steps=30, batch_size=2)
    record, whole = (store.create(tiny_spec(name=name, tuning=settings)) for name in ("cancelled", "whole"))
    assert work_until(record, 7).state == "cancelled"
    record = store.get(record.run_id)
    assert record.result["tuning"]["stopped"] is True
    assert find_resume_step(record) == 8
    reopened = reopen_run(store, record.run_id)
    assert (reopened.result, reopened.cancel_requested, reopened.status.state) == (None, False, "queued")
    (record.folder / "cancel").touch()
    assert work(record.folder).message == "stopped before its first step; the checkpoint of step 8 is kept"
    reopen_run(store, record.run_id)
    assert work(record.folder).state == "finished"
    assert work(whole.folder).state == "finished"
    record, whole = store.get(record.run_id), store.get(whole.run_id)
    assert read_curve(record) == read_curve(whole)
    assert [event.phase for event in record.read_metrics() if event.phase != "tune"].count("save") == 2
    rows = [run.checkpoints / "ticket" / "rows.safetensors" for run in (record, whole)]
    assert rows[0].read_bytes() == rows[1].read_bytes()


def test_a_run_stopped_while_it_is_scored_is_not_trained_again(store, tiny_spec):
    record = store.create(tiny_spec(tuning=TuningSettings(max_steps=4), evaluation=EvaluationSettings(1, 4, 1)))

    def listen(event):
        if event.phase == "generate":
            (record.folder / "cancel").touch()

    assert work(record.folder, on_progress=listen).state == "cancelled"
    curve = read_curve(store.get(record.run_id))
    reopen_run(store, record.run_id)
    heard = []
    assert work(record.folder, on_progress=heard.append).state == "finished"
    assert [event for event in heard if event.phase == "tune"] == []
    ended = store.get(record.run_id)
    assert read_curve(ended) == curve
    assert [event.step for event in ended.read_metrics() if event.phase == "generate"] == [0, 1, 2]
    assert len(ended.read_outputs()) == 2


def test_the_checkpoint_of_another_run_fails_a_resumed_run_with_one_sentence(store, tiny_spec):
    runs = []
    for rate in (5e-3, 1e-3):
        record = store.create(tiny_spec(tuning=TuningSettings(learning_rate=rate, max_steps=9)))

        def listen(event, folder=record.folder):
            if event.phase == "tune" and event.step == 3:
                (folder / "cancel").touch()

        work(record.folder, on_progress=listen)
        runs.append(record)
    (runs[0].checkpoints / "training").rename(runs[0].checkpoints / "mine")
    (runs[1].checkpoints / "training").rename(runs[0].checkpoints / "training")
    reopen_run(store, runs[0].run_id)
    status = work(runs[0].folder)
    assert status.state == "failed"
    assert "belongs to another training (learning_rate: 0.001 there, 0.005 here)" in status.message


def test_what_has_no_checkpoint_yet_begins_anew(store, make_spec, fake_work):
    record = store.create(make_spec())
    status = work(record.folder, tune=fake_work.make_tune("memory"), evaluate=fake_work.make_evaluate())
    assert status.state == "failed"
    assert find_resume_step(record) is None
    reopen_run(store, record.run_id)
    asked = []

    def tune(task, folder, *, resume, **options):
        asked.append(resume)
        return fake_work.make_tune()(task, folder, **options)

    assert work(record.folder, tune=tune, evaluate=fake_work.make_evaluate()).state == "finished"
    assert asked == [True]


def test_only_an_ended_run_of_ones_own_can_be_resumed_and_only_once(store, make_spec, tmp_path):
    record = store.create(make_spec())
    with pytest.raises(RunError, match="it is queued"):
        reopen_run(store, record.run_id)
    ended = RunStatus("cancelled", time.time(), ended=time.time())
    save_status(record.folder, ended)
    with pytest.raises(RunError, match="read-only"):
        reopen_run(RunStore(tmp_path / "mine", extra_roots=[store.root]), record.run_id)
    reopen_run(store, record.run_id)
    with pytest.raises(RunError, match="it is queued"):
        reopen_run(store, record.run_id)
    save_status(record.folder, dataclasses.replace(ended, state="finished"))
    with pytest.raises(RunError, match="it has finished"):
        reopen_run(store, record.run_id)
    save_status(record.folder, ended)
    (tmp_path / "train.jsonl").unlink()
    with pytest.raises(RunError, match="found nothing at"):
        reopen_run(store, record.run_id)
    assert store.get(record.run_id).status.state == "cancelled"
    (record.folder / "spec.json").write_text("{")
    with pytest.raises(RunError, match="cannot be resumed"):
        reopen_run(store, record.run_id)


def test_whoever_waits_for_a_killed_process_leaves_the_resumed_run_alone(store, make_spec):
    record = store.create(make_spec())
    save_status(record.folder, RunStatus("cancelled", time.time(), ended=time.time()))
    resumed = reopen_run(store, record.run_id)
    launch._report_failed_start(record.folder, 1, -signal.SIGKILL)
    assert load_status(record.folder) == resumed.status
    launch._report_failed_start(record.folder, 2, -signal.SIGKILL)
    assert load_status(record.folder).state == "failed"


def test_the_status_of_a_run_from_before_resumption_is_read(store, make_spec):
    record = store.create(make_spec())
    old = {"state": "cancelled", "created": 1.0, "started": 2.0, "ended": 5.0}
    (record.folder / "status.json").write_text(json.dumps(old))
    spec = json.loads((record.folder / "spec.json").read_text())
    del spec["tuning"]["checkpoint_steps"]
    (record.folder / "spec.json").write_text(json.dumps(spec))
    record = load_run(record.folder)
    assert (record.problem, record.seconds) == (None, 3.0)
    assert reopen_run(store, record.run_id).seconds == 3.0


def test_an_event_of_a_step_done_again_replaces_the_earlier_ones(tmp_path):
    first = MetricsFile(tmp_path)
    for phase, step in (("load", 0), ("load", 1), ("tune", 1), ("tune", 2), ("tune", 3), ("save", 0)):
        first.append(ProgressEvent(phase, step, 3, loss=0.5))
    again = MetricsFile(tmp_path)
    for phase, step in (("load", 0), ("load", 1), ("tune", 2), ("tune", 3), ("save", 0)):
        again.append(ProgressEvent(phase, step, 3, loss=0.25))
    lines = [json.loads(line) for line in (tmp_path / METRICS_FILE).read_text().splitlines()]
    assert [(line["phase"], line["step"]) for line in lines if line["phase"] == "tune"] == [
        ("tune", 1),
        ("tune", 2),
        ("tune", 3),
    ]
    assert [line["loss"] for line in lines if line["phase"] == "tune"] == [0.5, 0.25, 0.25]
    assert len(lines) == 6


def test_a_full_disk_fails_the_run_with_one_sentence_and_its_end_is_still_told(
    store, make_spec, fake_work, monkeypatch
):
    record = store.create(make_spec(tuning=TuningSettings(max_steps=5)))
    full = OSError(errno.ENOSPC, "No space left on device")
    append, full_since = MetricsFile.append, []

    def fill(self, event):
        if event.phase == "tune" and event.step == 3:
            full_since.append(event.step)
            raise full
        append(self, event)

    def refuse(path, content):
        if full_since:
            raise full
        save(path, content)

    from kslottery_core.jobs import status as status_module

    save = status_module.replace_file
    monkeypatch.setattr(session.MetricsFile, "append", fill)
    monkeypatch.setattr(status_module, "replace_file", refuse)
    status = work(record.folder, tune=fake_work.make_tune(), evaluate=fake_work.make_evaluate())
    assert status.state == "failed"
    assert "is full; free some space and resume the run" in status.message
    assert load_status(record.folder) == status


def test_the_command_line_resumes_a_run(store, tiny_spec, monkeypatch):
    monkeypatch.setenv("KSLOTTERY_HOME", str(store.root.parent))
    record = store.create(tiny_spec(tuning=TuningSettings(max_steps=6), test=None))

    def listen(event):
        if event.phase == "tune" and event.step == 2:
            (record.folder / "cancel").touch()

    work(record.folder, on_progress=listen)
    told = CliRunner().invoke(app, ["show", record.run_id], catch_exceptions=False)
    assert f"`kslottery runs resume {record.run_id}` continues from step 3" in told.output
    told = CliRunner().invoke(app, ["resume", record.run_id, "--watch", "foreground"], catch_exceptions=False)
    assert told.exit_code == 0
    assert "continues from step 3" in told.output
    assert "Continued from the checkpoint of step 3." in told.output
    assert store.get(record.run_id).status.state == "finished"
