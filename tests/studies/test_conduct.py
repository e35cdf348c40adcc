import dataclasses
import json
import os
import shutil
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from kslottery_core.errors import RunError, StudyError
from kslottery_core.jobs import save_status
from kslottery_core.ks import compute_ks
from kslottery_core.runs import cancel_run
from kslottery_core.runs.record import SPEC_FILE, load_status
from kslottery_core.studies import (
    RowRule,
    StudyArm,
    conduct,
    load_study,
    queue_study,
    stop_study,
)
from kslottery_core.studies.identity import build_run_spec
from kslottery_core.studies.record import STOP_FILE, CellEntry, load_entries, save_entries
from kslottery_core.tickets import Ticket

KS = RowRule("ks", significance_level=0.05)
BASE, EMBEDDING = StudyArm("base", "base"), StudyArm("embedding", "embedding")
MOVED = (3, 5, 8)  # of the tuned model that the fake embedding tuning leaves behind


def get_states(record):
    return {(record.spec.arms[state.cell.arm].label, state.cell.seed): state.state for state in record.cells}


def get_run(store, record, label):
    (found,) = [state for state in record.cells if record.spec.arms[state.cell.arm].label == label]
    return store.run_store.get(found.run_id)


def wait_until(expected, seconds=20):
    deadline = time.monotonic() + seconds
    while not expected():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_every_rule_chooses_its_rows_from_the_studys_own_embedding_tuning(study_store, make_study, perform, workers):
    given = Ticket((1, 2), 64, "list")
    arms = (
        BASE,
        EMBEDDING,
        StudyArm("ks", "ticket", KS),
        StudyArm("top", "ticket", RowRule("ks", top_k=2)),
        StudyArm("frequent", "ticket", RowRule("frequent")),
        StudyArm("five", "ticket", RowRule("frequent", count=5)),
        StudyArm("read", "ticket", RowRule("frequent", count=5, counted="training")),
        StudyArm("random", "ticket", RowRule("random")),
        StudyArm("matched", "ticket", RowRule("matched")),
        StudyArm("matched given", "ticket", RowRule("matched", ticket=given)),
        StudyArm("prompt", "ticket", RowRule("prompt")),
        StudyArm("given", "ticket", RowRule("ticket", ticket=given)),
        StudyArm("copy", "transfer", KS),
        StudyArm("lora", "lora"),
    )
    record = perform(make_study(arms=arms))
    assert record.status.state == "finished", record.read_log_tail()
    assert set(get_states(record).values()) == {"finished"}
    runs = {arm.label: get_run(study_store, record, arm.label).spec for arm in arms}
    tickets = {label: spec.ticket for label, spec in runs.items() if spec.ticket is not None}
    assert tickets["ks"].token_ids == MOVED
    assert tickets["ks"].tokens and tickets["ks"].width == 16
    assert set(tickets["top"].token_ids) < set(MOVED) and tickets["top"].size == 2
    assert [tickets[label].size for label in ("frequent", "five", "random", "matched", "matched given")] == [
        *(3, 5, 3, 3, 2)
    ]
    assert set(tickets["frequent"].token_ids) < set(tickets["five"].token_ids)
    assert "(the text alone)" in tickets["five"].note and "(as read in training)" in tickets["read"].note
    assert tickets["read"].token_ids != tickets["five"].token_ids, "the prompt counts"
    assert not set(tickets["matched"].token_ids) & set(MOVED)
    assert tickets["prompt"].rule == "prompt" and tickets["given"].token_ids == given.token_ids
    tuned = get_run(study_store, record, "embedding").checkpoints / "model"
    assert runs["copy"].after == str(tuned) and tickets["copy"].token_ids == MOVED
    assert {spec.tuning.learning_rate for label, spec in runs.items() if label in tickets and label != "copy"} == {1e-2}
    assert runs["lora"].tuning.learning_rate == 1e-3
    assert workers.started == Counter(base=1, embedding=1, ticket=10, transfer=1, lora=1)


def test_an_empty_ticket_skips_its_cells_and_says_which_alpha_would_do(make_study, perform, workers):
    strict = RowRule("ks", significance_level=1e-12)
    arms = (BASE, EMBEDDING, StudyArm("ks", "ticket", strict), StudyArm("f", "ticket", RowRule("frequent")))
    record = perform(make_study(arms=arms))
    assert record.status.state == "finished"
    assert get_states(record) == {
        ("base", None): "finished",
        ("embedding", 3): "finished",
        ("ks", 3): "skipped",
        ("f", 3): "skipped",
    }
    assert all("The least significance level that gives a ticket is" in state.message for state in record.cells[2:])
    assert workers.started["ticket"] == 0


def test_after_a_failed_run_the_others_follow_and_going_on_tries_only_it_again(
    study_store, make_study, perform, workers
):
    workers.fail = {"embedding"}
    record = perform(make_study(arms=(EMBEDDING, StudyArm("ks", "ticket", KS), StudyArm("full", "full"))))
    assert get_states(record) == {("embedding", 3): "failed", ("ks", 3): "failed", ("full", 3): "finished"}
    assert record.status.state == "failed"
    assert "2 of 3 runs failed; the first is 'embedding, en-ca" in record.status.message
    assert record.cells[0].message == "it went wrong; do something."
    assert record.cells[1].message.startswith("its rows come from 'embedding, en-ca")
    workers.fail = set()
    record = perform(record.study_id)
    assert record.status.state == "finished"
    assert workers.started == Counter(embedding=2, ticket=1, full=1)
    assert len(study_store.run_store.list()) == 3


def test_a_second_study_reuses_what_is_finished_whatever_it_is_called(study_store, make_study, perform, workers):
    first = perform(make_study())
    before = Counter(workers.started)
    arms = (StudyArm("untouched", "base"), StudyArm("whole", "embedding", learning_rates=(5e-3,)), make_study().arms[2])
    second = perform(make_study(name="another", arms=arms))
    assert workers.started == before
    assert set(get_states(second).values()) == {"reused"}
    assert [state.run_id for state in second.cells] == [state.run_id for state in first.cells]
    assert len(study_store.run_store.list()) == 3


def test_other_settings_of_a_run_are_not_reused(make_study, perform, workers):
    perform(make_study(arms=(EMBEDDING,)))
    perform(make_study(arms=(EMBEDDING,), seeds=(3, 4)))
    perform(make_study(arms=(EMBEDDING,), steps=(5,)))
    perform(make_study(arms=(dataclasses.replace(EMBEDDING, learning_rates=(0.1,)),)))
    assert workers.started["embedding"] == 4


def test_a_run_that_read_another_text_is_not_reused(make_study, perform, workers):
    spec = make_study(arms=(BASE,))
    perform(spec)
    perform(spec)
    assert workers.started["base"] == 1
    with Path(spec.texts[0].test.path).open("a", encoding="utf-8") as text:
        text.write(json.dumps({"translation": {"en": "one more", "ca": "una més"}}) + "\n")
    perform(spec)
    assert workers.started["base"] == 2


def test_a_run_in_two_processes_is_not_reused(study_store, make_study, perform, workers):
    first = perform(make_study(arms=(EMBEDDING,)))
    path = get_run(study_store, first, "embedding").folder / "result.json"
    result = json.loads(path.read_text())
    for processes, expected in ((1, 1), (2, 2)):  # two see twice the pairs a step
        result["cost"] = {**(result.get("cost") or {}), "processes": processes}
        path.write_text(json.dumps(result))
        perform(make_study(arms=(EMBEDDING,)))
        assert workers.started["embedding"] == expected


def test_an_embedding_tuning_without_its_model_is_done_again_where_rows_come_from_it(
    study_store, make_study, perform, workers
):
    first = perform(make_study(arms=(EMBEDDING,)))
    shutil.rmtree(get_run(study_store, first, "embedding").checkpoints / "model")
    perform(make_study(arms=(EMBEDDING,)))
    assert workers.started["embedding"] == 1
    perform(make_study(arms=(EMBEDDING, StudyArm("ks", "ticket", KS))))
    assert workers.started["embedding"] == 2


def test_a_run_that_was_deleted_is_waiting_again(study_store, make_study, perform, workers):
    record = perform(make_study(arms=(BASE, EMBEDDING)))
    study_store.run_store.delete(record.cells[0].run_id)
    record = study_store.get(record.study_id)
    assert get_states(record) == {("base", None): "waiting", ("embedding", 3): "finished"}
    record = perform(record.study_id)
    assert get_states(record) == {("base", None): "finished", ("embedding", 3): "finished"}
    assert workers.started == Counter(base=2, embedding=1)


def conduct_in_thread(study_store, study_id):
    folder = queue_study(study_store, study_id).folder
    thread = threading.Thread(target=conduct, args=(folder,), daemon=True)
    thread.start()
    return thread


def test_a_stopped_study_goes_on_with_the_run_that_it_was_at(study_store, make_study, perform, workers):
    workers.hold = {"embedding"}
    study = study_store.create(make_study())
    thread = conduct_in_thread(study_store, study.study_id)
    wait_until(lambda: workers.started["embedding"] == 1 and len(study_store.get(study.study_id).cells) == 3)
    wait_until(lambda: get_states(study_store.get(study.study_id))["embedding", 3] == "running")
    with pytest.raises(StudyError, match="it is running already"):
        queue_study(study_store, study.study_id)
    with pytest.raises(StudyError, match="it is running; stop it before deleting"):
        study_store.delete(study.study_id)
    assert "stopped" in stop_study(study_store, study.study_id, wait=True)
    thread.join(timeout=10)
    record = study_store.get(study.study_id)
    assert record.status.state == "stopped"
    assert get_states(record) == {("base", None): "finished", ("embedding", 3): "stopped", ("KS rows", 3): "waiting"}
    workers.hold = set()
    record = perform(study.study_id)
    assert record.status.state == "finished"
    assert set(get_states(record).values()) == {"finished"}
    assert [attempt for name, attempt in workers.attempts if "embedding" in name] == [1, 2]
    assert len(study_store.run_store.list()) == 3
    with pytest.raises(StudyError, match="every run of it is done"):
        queue_study(study_store, study.study_id)


def test_a_run_that_lives_is_waited_for_and_not_started_twice(study_store, make_study, perform, workers):
    workers.hold = {"embedding"}
    spec = make_study(arms=(EMBEDDING,))
    one, two = study_store.create(spec), study_store.create(dataclasses.replace(spec, name="another"))
    threads = [conduct_in_thread(study_store, one.study_id)]
    wait_until(lambda: workers.started["embedding"] == 1)
    threads.append(conduct_in_thread(study_store, two.study_id))
    wait_until(lambda: get_states(study_store.get(two.study_id))["embedding", 3] == "running")
    workers.hold = set()
    for thread in threads:
        thread.join(timeout=20)
    assert workers.started["embedding"] == 1
    states = [get_states(study_store.get(study.study_id))["embedding", 3] for study in (one, two)]
    assert states == ["finished", "reused"]


def test_stopping_a_study_leaves_the_run_of_another_alone(study_store, make_study, workers):
    workers.hold = {"embedding"}
    spec = make_study(arms=(EMBEDDING,))
    one, two = study_store.create(spec), study_store.create(dataclasses.replace(spec, name="another"))
    first = conduct_in_thread(study_store, one.study_id)
    wait_until(lambda: workers.started["embedding"] == 1)
    second = conduct_in_thread(study_store, two.study_id)
    wait_until(lambda: get_states(study_store.get(two.study_id))["embedding", 3] == "running")
    stop_study(study_store, two.study_id, wait=True)
    second.join(timeout=10)
    assert study_store.get(two.study_id).status.state == "stopped"
    assert get_states(study_store.get(two.study_id))["embedding", 3] == "waiting"
    assert study_store.run_store.list()[0].status.live
    workers.hold = set()
    first.join(timeout=20)
    assert study_store.get(one.study_id).status.state == "finished"


def test_a_run_that_somebody_cancels_does_not_end_the_study(study_store, make_study, workers):
    workers.hold = {"embedding"}
    study = study_store.create(make_study(arms=(EMBEDDING, BASE)))
    thread = conduct_in_thread(study_store, study.study_id)
    wait_until(lambda: workers.started["embedding"] == 1)
    wait_until(lambda: study_store.run_store.list()[0].status.state == "running")
    cancel_run(study_store.run_store.list()[0])
    thread.join(timeout=20)
    record = study_store.get(study.study_id)
    assert get_states(record) == {("embedding", 3): "stopped", ("base", None): "finished"}
    assert record.status.state == "stopped" and "1 of 2 runs stopped" in record.status.message


def test_only_one_process_conducts_a_study(study_store, make_study, workers):
    workers.hold = {"embedding"}
    study = study_store.create(make_study(arms=(EMBEDDING,)))
    with pytest.raises(StudyError, match="expected a queued study that nobody works on, found one that is new"):
        conduct(study.folder)
    thread = conduct_in_thread(study_store, study.study_id)
    wait_until(lambda: workers.started["embedding"] == 1)
    with pytest.raises(StudyError, match="found one that another process conducts"):
        conduct(study.folder)
    (study.folder / STOP_FILE).touch()
    thread.join(timeout=10)
    assert not load_study(study.folder).status.live


def test_a_run_that_was_made_but_never_noted_is_found_again(study_store, make_study, perform, workers):
    # As a process leaves it that is killed between making the run and noting its id.
    record = perform(make_study(arms=(EMBEDDING,)))
    run = study_store.run_store.get(record.cells[0].run_id)
    (study_store.root / record.study_id / "cells.json").unlink()
    status = json.loads((run.folder / "status.json").read_text())
    (run.folder / "status.json").write_text(json.dumps({**status, "state": "running", "pid": 2**22 + 1}))
    (run.folder / "result.json").unlink()
    assert study_store.run_store.get(run.run_id).status.state == "died"
    record = perform(record.study_id)
    assert record.cells[0].run_id == run.run_id and record.cells[0].state == "finished"
    assert load_entries(record.folder)[record.cells[0].cell.key].own
    assert [attempt for _, attempt in workers.attempts] == [1, 2]


def test_a_run_that_outlived_its_study_but_not_to_its_end_is_gone_on_with(study_store, make_study, perform, workers):
    study = study_store.create(make_study(arms=(EMBEDDING,)))
    cell = study.cells[0].cell
    run = study_store.run_store.create(build_run_spec(study.spec, cell))
    save_entries(study.folder, {cell.key: CellEntry("running", run.run_id)})
    workers.hold = {"embedding"}
    status = load_status(run.folder)
    alive = {"pid": os.getpid(), "process_started": psutil.Process().create_time()}
    save_status(run.folder, dataclasses.replace(status, state="running", **alive))
    thread = conduct_in_thread(study_store, study.study_id)
    wait_until(lambda: study_store.get(study.study_id).status.message == "run 1 of 1: " + cell.label)
    time.sleep(0.2)
    assert workers.started["embedding"] == 0
    save_status(run.folder, dataclasses.replace(status, state="running", pid=2**22 + 1, process_started=1.0))
    wait_until(lambda: workers.started["embedding"] == 1)
    workers.hold = set()
    thread.join(timeout=20)
    record = study_store.get(study.study_id)
    assert (record.cells[0].run_id, record.cells[0].state) == (run.run_id, "finished")
    assert study_store.run_store.get(run.run_id).status.attempt == 2


def test_a_run_of_another_study_of_the_same_name_is_not_taken_for_its_own(study_store, make_study, workers):
    workers.hold = {"embedding"}
    one, two = (study_store.create(make_study(arms=(EMBEDDING,))) for _ in range(2))
    first = conduct_in_thread(study_store, one.study_id)
    wait_until(lambda: workers.started["embedding"] == 1)
    second = conduct_in_thread(study_store, two.study_id)
    wait_until(lambda: get_states(study_store.get(two.study_id))["embedding", 3] == "running")
    stop_study(study_store, two.study_id, wait=True)
    second.join(timeout=10)
    assert study_store.run_store.list()[0].status.live
    workers.hold = set()
    first.join(timeout=20)
    assert get_states(study_store.get(one.study_id))["embedding", 3] == "finished"


def test_a_device_that_has_gone_ends_the_study_with_a_sentence(study_store, make_study, workers, monkeypatch):
    import kslottery_core.studies.candidates as candidates

    def refuse(device):
        raise RunError("device: expected 'cuda:0', found none.")

    folder = queue_study(study_store, study_store.create(make_study()).study_id).folder
    monkeypatch.setattr(candidates, "resolve_device", refuse)
    assert conduct(folder).state == "failed"
    assert load_study(folder).status.message == "device: expected 'cuda:0', found none."


def test_the_comparison_with_the_tuned_model_is_kept(study_store, make_study, perform, tiny_llama_folder):
    from kslottery_core.checkpoints import open_embedding
    from kslottery_core.ks import load_ks_result

    record = perform(make_study())
    embedding = get_run(study_store, record, "embedding")
    kept = load_ks_result(record.folder / "ks" / f"{embedding.run_id}.npz")
    oracle = compute_ks(open_embedding(tiny_llama_folder), open_embedding(embedding.checkpoints / "model"))
    assert (kept.counts == oracle.counts).all() and kept.counts[list(MOVED)].min() > 0


def test_runs_of_a_study_are_ordinary_runs(study_store, make_study, perform):
    record = perform(make_study(arms=(EMBEDDING,)))
    run = get_run(study_store, record, "embedding")
    assert run.name == "a study: embedding, en-ca, seed 3, 3 steps, rate 0.005"
    assert (run.folder / SPEC_FILE).exists() and run.folder.parent == study_store.root.parent / "runs"
    assert (run.spec.tuning.seed, run.spec.tuning.max_steps, run.spec.tuning.batch_size) == (3, 3, 2)
