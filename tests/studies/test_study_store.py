import dataclasses
import json
import os
import time
from pathlib import Path

import psutil
import pytest

from kslottery_core.corpora import CorpusSpec
from kslottery_core.errors import CheckpointError, KSLotteryError, RunError, StudyError, TicketError
from kslottery_core.studies import RowRule, StudyArm, StudyStore, StudyText, check_study, queue_study, stop_study
from kslottery_core.studies.status import load_study_status, save_study_status
from kslottery_core.tickets import Ticket


def test_a_study_is_made_listed_found_and_deleted(study_store, make_study):
    assert study_store.list() == ()
    first, second = study_store.create(make_study()), study_store.create(make_study(name="second"))
    assert first.status.state == "new" and first.name == "a study"
    assert [cell.state for cell in first.cells] == ["waiting"] * 3
    assert {record.study_id for record in study_store.list()} == {first.study_id, second.study_id}
    with pytest.raises(StudyError, match=f"found no study of that id .*{first.study_id}"):
        study_store.get(first.study_id + "x")
    study_store.delete(first.study_id)
    assert [record.study_id for record in study_store.list()] == [second.study_id]
    assert study_store.run_store.root == study_store.root.parent / "runs"
    with pytest.raises(StudyError, match="found no studies at all"):
        StudyStore(study_store.root / "none").get("x")


def test_paths_are_kept_absolute(study_store, make_study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = StudyText(CorpusSpec("train.jsonl"), CorpusSpec("test.jsonl"))
    spec = study_store.create(make_study(texts=(text,))).spec
    assert spec.texts[0].train.path == str(tmp_path / "train.jsonl")


def test_texts_behind_links_keep_their_names(study_store, make_study, tmp_path):
    for name in ("train", "test"):
        (tmp_path / f"{name}.jsonl").rename(tmp_path / f"{name}digest")
        (tmp_path / f"{name}.jsonl").symlink_to(tmp_path / f"{name}digest")
    (text,) = study_store.create(make_study()).spec.texts
    assert text.train.path == str(tmp_path.resolve() / "train.jsonl")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 1 or older, found version 2"),
        ({"hue": 3}, "unknown field 'hue'"),
    ],
)
def test_a_folder_of_a_newer_or_foreign_form_is_listed_with_its_problem(study_store, make_study, change, message):
    study = study_store.create(make_study())
    path = study.folder / "study.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    (record,) = study_store.list()
    assert record.spec is None and record.cells == () and message in record.problem
    with pytest.raises(StudyError, match=message):
        queue_study(study_store, study.study_id)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("study.json", None, "found no file there; this is no study's folder"),
        ("study.json", "{", "expected JSON"),
        ("cells.json", "[]", "expected a JSON object of cells"),
        ("cells.json", '{"a": {"state": "dreaming"}}', "expected a state among waiting"),
        ("cells.json", '{"a": {"mood": "good"}}', "unknown field 'mood'"),
        ("status.json", '{"state": "asleep", "created": 1.0}', "expected one of new, queued"),
        ("status.json", None, "expected a JSON file, found no file"),
    ],
)
def test_a_damaged_folder_is_listed_and_refused_with_a_sentence(study_store, make_study, name, content, message):
    study = study_store.create(make_study())
    (study.folder / name).unlink(missing_ok=True)
    if content is not None:
        (study.folder / name).write_text(content)
    (record,) = study_store.list()
    assert message in record.problem
    with pytest.raises(StudyError, match="it cannot be started"):
        queue_study(study_store, study.study_id)


def test_who_died_is_told_by_pid_and_start_time(study_store, make_study):
    study = study_store.create(make_study())

    def derive(**changes):
        save_study_status(study.folder, load_study_status(study.folder), **changes)
        return study_store.get(study.study_id).status

    own = {"pid": os.getpid(), "process_started": psutil.Process().create_time(), "host": os.uname().nodename}
    assert derive(state="running", **own).state == "running"
    died = derive(process_started=1.0)
    assert died.state == "died" and f"(pid {os.getpid()}) ended unexpectedly" in died.message
    assert derive(state="queued", pid=None).state == "queued"
    assert derive(created=1.0, heartbeat=time.time() - 61).message.startswith("the study's process did not start")
    assert derive(state="running", pid=1, host="elsewhere", heartbeat=time.time()).state == "running"
    silent = derive(heartbeat=time.time() - 3600)
    assert silent.state == "died" and "host elsewhere" in silent.message
    assert derive(state="stopped").state == "stopped"


def test_nothing_is_stopped_that_does_not_run(study_store, make_study):
    study = study_store.create(make_study())
    assert stop_study(study_store, study.study_id) == "Nothing to stop: the study is not started yet."
    assert not (study.folder / "stop").exists()


def test_missing_files_and_rows_that_do_not_fit_are_told_before_anything_starts(
    study_store, make_study, tmp_path, tiny_llama_folder
):
    def refuse(error, message, **changes):
        with pytest.raises(error, match=message):
            study_store.create(make_study(**changes))

    text = make_study.text()
    gone = StudyText(text.train, dataclasses.replace(text.test, path=str(tmp_path / "none.jsonl")))
    embedding = StudyArm("embedding", "embedding")

    def add(rule):
        return {"arms": (embedding, StudyArm("rows", "ticket", rule))}

    refuse(RunError, r"test: expected a file of parallel text, found nothing at .*none\.jsonl", texts=(gone,))
    refuse(RunError, "model: expected a folder", model=str(tmp_path / "no model"))
    refuse(RunError, "expected 'cuda:99'", device="cuda:99")
    refuse(KSLotteryError, "revision", revision="main")
    refuse(TicketError, "token id 70 does not exist", **add(RowRule("ticket", ticket=Ticket((70,), 100, "list"))))
    refuse(TicketError, "width 8", **add(RowRule("ticket", ticket=Ticket((7,), 64, "list", width=8))))
    refuse(StudyError, "'rows': expected at most the 64 rows .* found 65", **add(RowRule("random", count=65)))
    refuse(StudyError, "at most the 64 rows .* found 99", **add(RowRule("ks", top_k=99)))
    (tmp_path / "empty").mkdir()
    refuse(CheckpointError, "empty", model=str(tmp_path / "empty"))
    assert study_store.list() == () and study_store.run_store.list() == ()
    check_study(make_study())


def test_a_text_that_went_missing_is_told_before_a_study_goes_on(study_store, make_study):
    study = study_store.create(make_study())
    Path(study.spec.texts[0].train.path).unlink()
    with pytest.raises(RunError, match="train: expected a file of parallel text"):
        queue_study(study_store, study.study_id)
    assert study_store.get(study.study_id).status.state == "new"


def test_a_folder_that_cannot_be_listed_is_told(tmp_path):
    (tmp_path / "studies").write_text("a file")
    with pytest.raises(StudyError, match="expected the folder of studies, and it cannot be listed"):
        StudyStore(tmp_path / "studies").list()
