"""Folders of jobs: made whole, removed at once, and never brought back by a late status."""

import shutil
from dataclasses import replace

import pytest

from kslottery_core.errors import RunError
from kslottery_core.jobs import JobKind, JobStatus, StatusWriter, create_folder, list_folders, remove_folder, store

KIND = JobKind("task", "tasks", RunError, JobStatus, ("queued", "running", "finished"))


def test_a_removed_folder_is_hidden_before_anything_of_it_is_deleted(tmp_path, monkeypatch):
    folder = create_folder(tmp_path, KIND, "x", lambda draft, created: (draft / "a").write_text("a"))
    seen = []
    delete = shutil.rmtree
    monkeypatch.setattr(store.shutil, "rmtree", lambda path: seen.append(list_folders(tmp_path, KIND)) or delete(path))
    assert list_folders(tmp_path, KIND) == (folder,)
    remove_folder(folder, KIND)
    assert seen == [()]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_deleted_is_one_sentence(tmp_path, monkeypatch):
    folder = create_folder(tmp_path, KIND, "x", lambda draft, created: None)

    def refuse(path):
        raise PermissionError("not yours")

    monkeypatch.setattr(store.shutil, "rmtree", refuse)
    with pytest.raises(RunError, match=r"no longer listed, .* delete .*removed-"):
        remove_folder(folder, KIND)
    with pytest.raises(RunError, match="cannot be deleted"):
        remove_folder(folder, KIND)


def test_a_late_status_never_brings_a_removed_folder_back(tmp_path):
    folder = tmp_path / "task"
    folder.mkdir()
    writer = StatusWriter(folder, JobStatus("running", 1.0))
    writer.write(message="well")
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError):
        writer.write(message="still there")
    assert not folder.exists()


def test_the_seconds_worked_follow_a_clock_that_nobody_sets(tmp_path, monkeypatch):
    clock = {"time": 1000.0, "monotonic": 5.0}
    monkeypatch.setattr("kslottery_core.jobs.status.time.time", lambda: clock["time"])
    monkeypatch.setattr("kslottery_core.jobs.status.time.monotonic", lambda: clock["monotonic"])
    writer = StatusWriter(tmp_path, replace(JobStatus("queued", 1000.0)))
    writer.write()
    assert writer.status.worked_seconds is None
    writer.write(state="running", started=1000.0)
    clock.update(time=-5000.0, monotonic=12.0)
    writer.write(state="finished", ended=clock["time"])
    assert writer.status.worked_seconds == 7.0
