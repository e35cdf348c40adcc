import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

import kslottery_core
from kslottery_core import tuning
from kslottery_core.corpora import ALPACA_PROMPT, CorpusSpec
from kslottery_core.errors import RunError
from kslottery_core.runs import result, session, worker
from kslottery_core.runs.record import load_status
from kslottery_core.tickets import Ticket
from kslottery_core.tuning import TuningTask
from kslottery_core.tuning.settings import TuningSettings


@pytest.fixture
def work_here(store, make_spec, fake_work):
    """Do a run in this process: `work_here(mode, **spec_fields)` returns its record afterwards."""

    def run(mode="well", on_progress=lambda event: None, step_seconds=0.0, **changes):
        record = store.create(make_spec(**changes))
        tune, evaluate = fake_work.make_tune(mode, step_seconds), fake_work.make_evaluate(mode, step_seconds)
        status = worker.work(record.folder, tune=tune, evaluate=evaluate, on_progress=on_progress)
        record = store.get(record.run_id)
        assert record.status == status
        return record

    return run


def test_a_finished_run_leaves_scores_outputs_cost_and_provenance(work_here):
    record = work_here()
    assert record.status.state == "finished"
    assert (record.problem, record.status.message) == (None, None)
    found = record.result
    assert found["scores"] == [{"metric": "BLEU", "value": 12.5, "signature": "fake"}]
    assert found["stopped_share"] == 1.0
    assert found["tuning"]["steps"] == 3
    assert found["cost"]["trained_parameters"] == 64
    assert found["cost"]["peak_memory_bytes"] is None
    assert found["cost"]["peak_process_bytes"] > 1_000_000
    assert 0 <= found["cost"]["total_seconds"] < 60
    assert found["device"]["name"] == "cpu"
    assert found["versions"]["python"] == platform.python_version()
    assert found["versions"]["kslottery"] == kslottery_core.__version__
    assert found["versions"]["sacrebleu"]
    assert (found["corpora"]["train"]["pairs"], found["corpora"]["test"]["pairs"]) == (3, 2)
    assert len(found["fingerprints"]["test"]) == 64
    assert found["leaks"] == 0
    assert "a note of the evaluation" in found["notes"]
    assert record.read_outputs()[1] == {
        "source": "five",
        "reference": "FIVE",
        "text": "hola",
        "stopped": True,
        "tokens": 1,
    }
    assert record.seconds == pytest.approx(found["cost"]["total_seconds"], abs=5)


def test_every_event_is_in_the_metrics_and_goes_to_the_listener(work_here):
    heard = []
    record = work_here(on_progress=heard.append)
    assert record.read_metrics() == tuple(heard)
    assert [event.phase for event in heard] == ["load", "tune", "tune", "tune", "generate", "generate"]
    assert (record.status.phase, record.status.step, record.status.total) == ("generate", 2, 2)


def test_a_run_without_a_test_corpus_finishes_without_scores(work_here):
    record = work_here(test=None)
    assert record.status.state == "finished"
    assert (record.result["scores"], record.result["stopped_share"], record.result["outputs"]) == ([], None, None)


def test_sentences_that_are_in_both_corpora_are_counted(work_here, tmp_path):
    record = work_here(test=CorpusSpec(path=str(tmp_path / "train.jsonl")))
    assert record.result["leaks"] == 3
    assert "3 test sentences are also in the training corpus." in record.result["notes"]
    exact = record.result["leak_report"]["exact"]
    assert exact == [{"test_line": n, "train_line": n, "similarity": 1.0} for n in (1, 2, 3)]


def test_sentences_that_are_nearly_in_both_corpora_are_noted(work_here, tmp_path):
    for name, end in (("train", "."), ("test", "!")):
        line = json.dumps({"translation": {"en": f"a sentence of more than thirty characters{end}", "ca": "x"}})
        (tmp_path / f"{name}.jsonl").write_text(line + "\n")
    record = work_here()
    assert record.result["leaks"] == 0
    assert "test line 1 like training line 1 (0.95)" in " ".join(record.result["notes"])


def test_instructions_are_learned_in_their_own_template(work_here, monkeypatch, tmp_path):
    (tmp_path / "alpaca.json").write_text(json.dumps([{"instruction": "say so", "output": "so"}]))
    asked = []
    monkeypatch.setattr(tuning, "TuningTask", lambda *a, **k: asked.append(k) or TuningTask(*a, **k))
    record = work_here(train=CorpusSpec(path=str(tmp_path / "alpaca.json")))
    assert record.status.state == "finished"
    assert asked[0]["prompt"] == ALPACA_PROMPT
    assert "The training text brings its own prompt template" in " ".join(record.result["notes"])


def test_an_error_for_a_person_becomes_the_message_of_the_failed_run(work_here):
    record = work_here("person")
    assert record.status.state == "failed"
    assert record.status.message == "learning_rate: expected something better; choose another."
    assert "Traceback" not in record.read_log_tail()


def test_an_unexpected_error_is_one_sentence_and_its_traceback_is_in_the_log(work_here):
    record = work_here("bug")
    assert record.status.state == "failed"
    assert "an unexpected ValueError; the details are at the end of log.txt" in record.status.message
    assert "ValueError: a secret detail" in record.read_log_tail()
    assert "smaller batch" in work_here("memory").status.message


def test_a_failed_evaluation_keeps_what_the_tuning_cost(work_here):
    record = work_here("evaluation bug")
    assert record.status.state == "failed"
    assert record.result["tuning"]["steps"] == 3
    assert record.result["scores"] == []


def test_half_an_evaluation_gives_outputs_but_no_score(work_here, store):
    def cancel_at_first_output(event):
        if event.phase == "generate":
            (store.list()[0].folder / "cancel").touch()

    record = work_here(on_progress=cancel_at_first_output)
    assert record.status.state == "cancelled"
    assert len(record.read_outputs()) == 1
    assert (record.result["scores"], record.result["outputs"]) == ([], 1)


def test_a_cancel_after_the_last_step_of_tuning_skips_the_evaluation(work_here, store):
    def cancel_at_last_step(event):
        if (event.phase, event.step) == ("tune", 3):
            (store.list()[0].folder / "cancel").touch()

    record = work_here("deaf", on_progress=cancel_at_last_step)
    assert record.status.state == "cancelled"
    assert record.result["outputs"] is None


def test_ctrl_c_cancels_and_the_handlers_are_restored(work_here):
    before = signal.getsignal(signal.SIGINT)

    def interrupt(event):
        if (event.phase, event.step) == ("tune", 1):
            os.kill(os.getpid(), signal.SIGINT)

    record = work_here(on_progress=interrupt, tuning=TuningSettings(max_steps=1000))
    assert record.status.state == "cancelled"
    assert record.result["tuning"]["steps"] == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_leaves_even_deaf_work(work_here):
    def insist(event):
        if event.phase == "tune":
            os.kill(os.getpid(), signal.SIGINT)

    record = work_here("deaf", on_progress=insist, step_seconds=0.02, tuning=TuningSettings(max_steps=1000))
    assert record.status.state == "cancelled"
    assert record.status.step < 10


def test_work_in_a_thread_is_cancelled_by_the_file(work_here, store):
    def cancel(event):
        (store.list()[0].folder / "cancel").touch()

    records = []
    thread = threading.Thread(target=lambda: records.append(work_here(on_progress=cancel)))
    thread.start()
    thread.join()
    assert records[0].status.state == "cancelled"


def test_the_heart_beats_while_a_step_is_long(work_here, store, monkeypatch):
    monkeypatch.setattr(session, "HEARTBEAT_SECONDS", 0.2)
    beats = []

    def look(event):
        if event.phase == "tune":
            folder = store.list()[0].folder
            before = load_status(folder).heartbeat
            time.sleep(1.0)
            beats.append(load_status(folder).heartbeat - before)

    work_here(on_progress=look, tuning=TuningSettings(max_steps=1))
    assert beats[0] > 0.1


def test_a_folder_is_worked_on_only_once(work_here, store, make_spec):
    record = work_here()
    with pytest.raises(RunError, match="expected a queued run"):
        worker.work(record.folder)
    assert worker.main([str(record.folder)]) == 2
    assert worker.main([]) == 2


def test_a_spec_that_cannot_be_read_is_a_failed_run(store, make_spec):
    record = store.create(make_spec())
    (record.folder / "spec.json").write_text("{}")
    assert worker.main([str(record.folder)]) == 1
    assert "'name' is missing" in store.get(record.run_id).status.message


def test_the_worker_module_runs_a_folder_from_the_command_line(store, make_spec):
    record = store.create(make_spec())
    (record.folder / "cancel").touch()
    command = [sys.executable, "-W", "error", "-m", "kslottery_core.runs.worker", str(record.folder)]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert store.get(record.run_id).status.state == "cancelled"


def test_the_device_is_named_as_the_hardware_names_itself(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"card of {device}")
    assert result.describe_device("cuda:1") == "card of cuda:1"
    described = result.describe_device("cpu")
    assert described is None or "cores" in described


def test_the_code_state_is_the_commit_of_this_tree_or_nothing(monkeypatch, tmp_path):
    state = result.read_code_state()
    assert state is None or (len(state["commit"]) == 40 and isinstance(state["dirty"], bool))
    (tmp_path / "__init__.py").write_text("")
    monkeypatch.setattr(kslottery_core, "__file__", str(tmp_path / "__init__.py"))
    assert result.read_code_state() is None
    monkeypatch.setenv("PATH", "")
    assert result.read_code_state() is None


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(result, "PACKAGES", ("no-such-package",))
    assert result.read_versions()["no-such-package"] is None


def test_a_ticket_of_another_model_is_noted(work_here, monkeypatch):
    import kslottery_core.checkpoints as checkpoints

    monkeypatch.setattr(checkpoints, "open_embedding", lambda source, revision: SimpleNamespace(fingerprint="f" * 64))
    ticket = Ticket(token_ids=(1,), vocabulary_size=9, rule="list", fingerprint_before="e" * 64)
    found = work_here(ticket=ticket).result
    assert found["fingerprints"]["model"] == "f" * 64
    assert any("selected on other embeddings" in note for note in found["notes"])
    assert not any("selected on other" in note for note in work_here().result["notes"])


def test_a_result_file_is_plain_json(work_here):
    record = work_here()
    text = (record.folder / "result.json").read_text()
    assert json.loads(text) == record.result
