"""When a run that is there already stands for a cell, and what is noted when it does not."""

import dataclasses
import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from kslottery_core.errors import RunError
from kslottery_core.studies import RowRule, StudyArm, conduct, queue_study
from kslottery_core.studies import conduct as conduct_function
from kslottery_core.studies.record import load_entries
from kslottery_core.tickets import Ticket

KS = RowRule("ks", significance_level=0.05)
BASE, EMBEDDING = StudyArm("base", "base"), StudyArm("embedding", "embedding")


@pytest.fixture
def model(tiny_llama_folder, tmp_path):
    """A model of our own to rewrite; its files are as old as the hills."""
    folder = shutil.copytree(tiny_llama_folder, tmp_path / "model")
    for path in folder.iterdir():
        os.utime(path, (1e9, 1e9))
    return folder


def rewrite_a_layer(folder, at):
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["model.layers.0.mlp.up_proj.weight"] += 1
    save_file(tensors, path, metadata={"format": "pt"})
    os.utime(path, (at, at))


def change_result(store, record, change):
    path = store.run_store.get(record.cells[0].run_id).folder / "result.json"
    result = json.loads(path.read_text())
    change(result)
    path.write_text(json.dumps(result))


def forget_files(result):
    """As an older program wrote it."""
    for name in ("model_files", "after_files"):
        del result["fingerprints"][name]


def wait_until(expected, seconds=20):
    deadline = time.monotonic() + seconds
    while not expected():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_model_with_other_layers_under_the_same_embedding_is_another(make_study, perform, workers, model):
    spec = make_study(arms=(BASE,), model=str(model))
    for _ in range(2):
        perform(spec)
    assert workers.started["base"] == 1
    rewrite_a_layer(model, 1e9)  # not even the time tells
    perform(spec)
    assert workers.started["base"] == 2


def test_a_tuned_model_with_other_layers_is_another_for_what_was_copied_from_it(
    study_store, make_study, perform, workers
):
    spec = make_study(arms=(EMBEDDING, StudyArm("copy", "transfer", KS)))
    first = perform(spec)
    perform(spec)
    assert workers.started["transfer"] == 1
    rewrite_a_layer(study_store.run_store.get(first.cells[0].run_id).checkpoints / "model", 1e9)
    perform(spec)
    assert workers.started["transfer"] == 2


def test_an_older_result_stands_until_a_file_of_its_model_is_written(study_store, make_study, perform, workers, model):
    spec = make_study(arms=(BASE,), model=str(model))
    change_result(study_store, perform(spec), forget_files)
    assert perform(spec).cells[0].state == "reused"
    os.utime(model / "config.json", (time.time() + 5, time.time() + 5))
    assert perform(spec).cells[0].state == "finished"
    assert workers.started["base"] == 2


def test_a_model_that_was_written_while_its_run_worked_has_no_digest(study_store, make_study, perform, workers, model):
    os.utime(model / "config.json", (time.time() + 60, time.time() + 60))
    spec = make_study(arms=(BASE,), model=str(model))
    record = perform(spec)
    result = study_store.run_store.get(record.cells[0].run_id).result
    assert result["fingerprints"]["model_files"] is None
    assert any("written after this run had started" in note for note in result["notes"])
    os.utime(model / "config.json", (1e9, 1e9))
    perform(spec)
    assert workers.started["base"] == 2


def test_a_run_of_another_study_is_judged_when_it_has_been_waited_for(study_store, make_study, workers):
    workers.hold = {"embedding"}
    one = study_store.create(make_study(arms=(EMBEDDING,)))
    two = study_store.create(make_study(name="another", arms=(EMBEDDING,)))
    threads = []
    for number, study in enumerate((one, two), 1):
        folder = queue_study(study_store, study.study_id).folder
        threads.append(threading.Thread(target=conduct, args=(folder,), daemon=True))
        threads[-1].start()
        wait_until(lambda study=study: study_store.get(study.study_id).cells[0].state == "running")
        wait_until(lambda: workers.started["embedding"] == 1)
        assert len(threads) == number
    wait_until(lambda: study_store.run_store.list()[0].status.step == 1)  # so it has read the text
    (run,) = study_store.run_store.list()
    with Path(one.spec.texts[0].test.path).open("a", encoding="utf-8") as text:
        text.write(json.dumps({"translation": {"en": "one more", "ca": "una més"}}) + "\n")
    workers.hold = set()
    for thread in threads:
        thread.join(timeout=20)
    first, second = (study_store.get(study.study_id).cells[0] for study in (one, two))
    assert (first.state, first.run_id) == ("finished", run.run_id)
    assert second.state == "finished" and second.run_id != run.run_id
    assert workers.started["embedding"] == 2


def test_a_failed_cell_still_knows_that_its_run_was_somebody_elses(study_store, make_study, workers, monkeypatch):
    import sys

    module = sys.modules[conduct_function.__module__]
    workers.hold = {"embedding"}
    one = study_store.create(make_study(arms=(EMBEDDING,)))
    two = study_store.create(make_study(name="another", arms=(EMBEDDING,)))
    first = threading.Thread(target=conduct, args=(queue_study(study_store, one.study_id).folder,), daemon=True)
    first.start()
    wait_until(lambda: workers.started["embedding"] == 1)
    (run,) = study_store.run_store.list()

    def refuse(conductor, cell, record, own, started_here):
        raise RunError("the run's folder cannot be read.")

    with monkeypatch.context() as patch:
        patch.setattr(module._Conductor, "_wait", refuse)
        conduct(queue_study(study_store, two.study_id).folder)
    (entry,) = load_entries(two.folder).values()
    assert entry == dataclasses.replace(entry, state="failed", run_id=run.run_id, own=False)
    assert entry.message == "the run's folder cannot be read."
    workers.hold = set()
    first.join(timeout=20)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (RowRule("matched", ticket=Ticket((1, 2), 999, "list")), "vocabulary of 999"),
        (RowRule("ticket", ticket=Ticket((1, 2), 64, "list", width=99)), "rows of width 99"),
    ],
)
def test_a_ticket_of_another_model_is_a_failure_and_no_empty_choice(
    make_study, perform, workers, monkeypatch, rows, message
):
    # As for a hub id, which nobody opens before its turn.
    for module in ("store", "start"):
        monkeypatch.setattr(f"kslottery_core.studies.{module}.check_study", lambda spec: None)
    record = perform(make_study(arms=(BASE, StudyArm("given", "ticket", rows))))
    assert [state.state for state in record.cells] == ["finished", "failed"]
    assert message in record.cells[1].message
    assert record.status.state == "failed" and workers.started["ticket"] == 0
