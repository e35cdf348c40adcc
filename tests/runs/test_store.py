import dataclasses
import json
import os
import re
import subprocess
import sys
import threading
import time

import pytest

from kslottery_core.errors import RunError
from kslottery_core.jobs import StatusWriter, read_host, save_status
from kslottery_core.progress import ProgressEvent
from kslottery_core.runs import RunStatus, RunStore, get_home, load_run
from kslottery_core.runs.record import compute_remaining_seconds, load_derived_status


def test_a_created_run_is_queued_and_has_a_readable_sortable_id(store, make_spec):
    record = store.create(make_spec(name="Catalan, 18 tokens"))
    assert re.fullmatch(r"\d{8}-\d{6}-ticket-[0-9a-f]{4}", record.run_id)
    assert (record.status.state, record.name, record.problem) == ("queued", "Catalan, 18 tokens", None)
    assert store.get(record.run_id).spec == record.spec
    assert record.seconds is None
    assert record.remaining_seconds is None
    assert record.result is None
    assert record.checkpoints == record.folder / "checkpoints"


def test_a_wrong_spec_leaves_no_folder(store, make_spec):
    with pytest.raises(RunError, match="needs a ticket"):
        store.create(make_spec(ticket=None))
    assert store.list() == ()


def test_the_home_folder_is_taken_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("KSLOTTERY_HOME", str(tmp_path))
    assert RunStore().root == tmp_path / "runs"
    monkeypatch.delenv("KSLOTTERY_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert get_home() == tmp_path / ".kslottery"


def test_runs_are_listed_newest_first(store, make_spec):
    records = [store.create(make_spec(name=f"run {number}")) for number in range(3)]
    assert [record.name for record in store.list()] == ["run 2", "run 1", "run 0"]
    assert len({record.run_id for record in records}) == 3


def test_an_unknown_id_names_the_closest_ones(store, make_spec):
    with pytest.raises(RunError, match="found no runs at all"):
        store.get("20260101-000000-ticket-abcd")
    record = store.create(make_spec())
    with pytest.raises(RunError, match=f"the closest are {record.run_id}"):
        store.get(record.run_id[:-1])
    with pytest.raises(RunError, match=record.run_id):
        store.get("../../etc")


def test_broken_folders_are_listed_with_their_problem(store, make_spec):
    def make_broken(file, text):
        record = store.create(make_spec())
        if text is None:
            (record.folder / file).unlink()
        else:
            (record.folder / file).write_text(text)
        return store.get(record.run_id)

    torn = make_broken("status.json", '{"state": "run')
    assert (torn.status.state, torn.status.live) == ("broken", False)
    assert "breaks at line 1" in torn.problem
    assert "state" in make_broken("status.json", '{"state": "dancing", "created": 1.0}').problem
    assert "no file" in make_broken("status.json", None).problem
    without_spec = make_broken("spec.json", None)
    assert "missing" in without_spec.problem
    assert (without_spec.spec, without_spec.name) == (None, without_spec.run_id)
    assert "expected str, found 7" in make_broken("spec.json", '{"name": 7, "method": "base", "model": "m"}').problem
    assert "breaks at line 1" in make_broken("result.json", "{").problem
    assert "expected a JSON object" in make_broken("result.json", "[]").problem
    empty = store.root / "empty"
    empty.mkdir()
    assert store.get("empty").status.state == "broken"
    (store.root / "a stray file").write_text("")
    assert len(store.list()) == 8
    gone = load_run(store.root / "gone")
    assert (gone.status.state, gone.status.created) == ("broken", 0.0)


def test_a_finished_run_without_a_result_has_a_problem(store, make_spec):
    record = store.create(make_spec())
    save_status(record.folder, RunStatus("finished", 1.0))
    assert "its result is missing" in store.get(record.run_id).problem


def test_a_root_that_is_no_folder_is_one_sentence(tmp_path, make_spec):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="expected the folder of runs"):
        RunStore(tmp_path / "file").list()
    with pytest.raises(RunError, match="cannot be written"):
        RunStore(tmp_path / "file" / "runs").create(make_spec())


def test_runs_of_extra_roots_can_be_seen_but_not_deleted(store, make_spec, tmp_path):
    own = store.create(make_spec(name="own"))
    both = RunStore(tmp_path / "mine", extra_roots=[store.root, tmp_path / "absent"])
    mine = both.create(make_spec(name="mine"))
    assert [(record.name, record.read_only) for record in both.list()] == [("mine", False), ("own", True)]
    with pytest.raises(RunError, match="read-only"):
        both.delete(own.run_id)
    with pytest.raises(RunError, match="cancel it before deleting"):
        both.delete(mine.run_id)
    save_status(mine.folder, RunStatus("cancelled", 1.0))
    both.delete(mine.run_id)
    assert [record.name for record in both.list()] == ["own"]


def test_torn_and_broken_metric_lines_are_left_out(store, make_spec):
    record = store.create(make_spec())
    assert record.read_metrics() == ()
    good = {"time": 5.0, "phase": "tune", "step": 1, "total": 2, "loss": 0.5, "learning_rate": None, "message": None}
    lines = [
        json.dumps(good),
        "not json",
        "[1]",
        '{"phase": "tune"}',
        json.dumps({**good, "step": "one"}),
        '{"time": 6',
    ]
    (record.folder / "metrics.jsonl").write_text("\n".join(lines))
    assert record.read_metrics() == (ProgressEvent("tune", 1, 2, loss=0.5, time=5.0),)


def test_outputs_and_log_of_a_run_without_any_are_empty(store, make_spec):
    record = store.create(make_spec())
    assert record.read_outputs() == ()
    assert record.read_log_tail() == ""


def test_the_log_tail_shows_the_last_state_of_a_progress_bar(store, make_spec):
    record = store.create(make_spec())
    (record.folder / "log.txt").write_bytes(b"x" * 100_000 + b"\nfirst\n 1%\r 50%\r100%\r\nlast \xff line\n\n")
    assert record.read_log_tail(3) == "first\n100%\nlast � line"


def test_remaining_time_follows_the_pace_of_the_current_phase():
    def event(phase, step, seconds, total=10):
        return ProgressEvent(phase, step, total, time=seconds)

    assert compute_remaining_seconds((), 0.0) is None
    tuning = (event("load", 1, 0.0), event("tune", 1, 100.0), event("tune", 6, 110.0))
    assert compute_remaining_seconds(tuning, 110.0) == pytest.approx(8.0)
    assert compute_remaining_seconds(tuning, 113.0) == pytest.approx(5.0)
    assert compute_remaining_seconds(tuning, 999.0) == 0.0
    assert compute_remaining_seconds(tuning[:2], 101.0) is None
    assert compute_remaining_seconds((event("tune", 1, 1.0, 0), event("tune", 2, 2.0, 0)), 3.0) is None
    begun_anew = (event("generate", 9, 0.0), event("generate", 1, 50.0), event("generate", 2, 51.0))
    assert compute_remaining_seconds(begun_anew, 51.0) == pytest.approx(8.0)


def test_a_run_on_another_host_is_trusted_as_long_as_its_heart_beats(store, make_spec):
    record = store.create(make_spec())
    now = time.time()
    status = RunStatus("running", now - 500, pid=1, process_started=1.0, host="elsewhere", started=now, heartbeat=now)
    save_status(record.folder, status)
    seen = store.get(record.run_id)
    assert (seen.status.state, seen.status.message) == ("running", "unknown: started on host elsewhere")
    later = load_derived_status(record.folder, now + 61)
    assert later.state == "died"
    assert "no sign of life for 61 seconds" in later.message


def test_a_process_of_the_same_pid_that_started_at_another_time_is_not_the_run(store, make_spec):
    record = store.create(make_spec())
    status = RunStatus("running", time.time(), pid=os.getpid(), process_started=5.0, host=read_host(), phase="tune")
    save_status(record.folder, dataclasses.replace(status, started=time.time() - 9, heartbeat=time.time()))
    seen = store.get(record.run_id)
    assert seen.status.state == "died"
    assert "ended unexpectedly in the phase tune; its log is empty" in seen.status.message
    assert seen.seconds == pytest.approx(9, abs=1)


def test_a_run_whose_process_never_started_is_shown_as_died(store, make_spec):
    record = store.create(make_spec())
    assert load_derived_status(record.folder, time.time() + 61).state == "died"
    assert load_derived_status(record.folder, time.time() + 30).state == "queued"


def test_concurrent_readers_never_see_half_a_status(store, make_spec):
    record = store.create(make_spec())
    writer = StatusWriter(record.folder, record.status)
    problems, stop = [], threading.Event()

    def read():
        while not stop.is_set():
            problem = store.get(record.run_id).problem
            problems.extend(filter(None, [problem]))

    def write(number):
        for step in range(150):
            writer.write(step=step, message="x" * (step * number))

    threads = [threading.Thread(target=read), *(threading.Thread(target=write, args=(n,)) for n in (1, 50))]
    for thread in threads:
        thread.start()
    for thread in threads[1:]:
        thread.join()
    stop.set()
    threads[0].join()
    assert problems == []


def test_an_ended_run_is_not_brought_back_by_a_late_heartbeat(store, make_spec):
    record = store.create(make_spec())
    writer = StatusWriter(record.folder, record.status)
    writer.write(state="finished")
    writer.write(state="running")
    assert load_derived_status(record.folder).state == "finished"


def test_listing_runs_loads_no_torch(store, make_spec):
    store.create(make_spec())
    code = (
        "import sys; from kslottery_core.runs import RunStore; "
        f"assert len(RunStore({str(store.root)!r}).list()) == 1; "
        "print(sorted({'torch', 'transformers', 'pandas', 'scipy', 'streamlit'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]", answer.stdout
