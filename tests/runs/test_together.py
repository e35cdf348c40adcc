"""One run in two processes that torchrun starts: killed, gone on with, cancelled, and ended by the failure of one."""

import contextlib
import json
import os
import subprocess
import sys
import time

import pytest

from kslottery_core.errors import RunError, TuningError
from kslottery_core.evaluation.generate import EvaluationSettings
from kslottery_core.runs import find_resume_step, reopen_run
from kslottery_core.runs.record import CANCEL_FILE
from kslottery_core.runs.together import choose_devices, follows, read_problem
from kslottery_core.runs.worker import work
from kslottery_core.tickets import Ticket
from kslottery_core.tuning.processes import Processes
from kslottery_core.tuning.settings import TuningSettings

WAIT_SECONDS = 150
STEPS = 60
FAILING = """
import os, sys
from kslottery_core import tuning
from kslottery_core.errors import TuningError
if os.environ["RANK"] == "1":
    real = tuning.tune
    def tune(task, folder, **options):
        calls = iter(range(100))
        def should_stop():
            if next(calls) == 5:
                raise TuningError("the second process has had enough.")
            return False
        return real(task, folder, **{**options, "should_stop": should_stop})
    tuning.tune = tune
from kslottery_core.runs.worker import main
raise SystemExit(main(sys.argv[1:]))
"""


@pytest.fixture
def start(store):
    """Start two processes, `-m MODULE ARGUMENTS` or a script, in a session of their own; all are killed at the end."""
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1", "KSLOTTERY_HOME": str(store.root.parent)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        kill_all(process)


def kill_all(process):
    """SIGKILL for the launcher and its processes, which lead sessions of their own."""
    import psutil

    with contextlib.suppress(psutil.Error):
        for child in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            with contextlib.suppress(psutil.Error):
                child.kill()
    process.wait(timeout=30)
    process.stdout.close()


def finish(process, seconds=WAIT_SECONDS):
    """The exit status and output of a launcher that ends by itself."""
    output, _ = process.communicate(timeout=seconds)
    return process.returncode, output


@pytest.fixture
def tiny_spec(make_spec, tiny_llama_folder, tmp_path):
    words = ["a red bird sings", "the old house", "is green", "the garden is red", "birds", "the cat sees", "a bird"]
    lines = [json.dumps({"translation": {"en": f"the cat {n}", "ca": word}}) for n, word in enumerate(words)]
    (tmp_path / "seven.jsonl").write_text("\n".join(lines) + "\n")

    def make(**changes):
        from kslottery_core.corpora import CorpusSpec

        settings = {"max_steps": STEPS, "batch_size": 1, "checkpoint_steps": 10, **changes.pop("tuning", {})}
        fields = {
            "model": str(tiny_llama_folder),
            "ticket": Ticket(token_ids=(3, 5, 8), vocabulary_size=64, rule="list"),
            "train": CorpusSpec(str(tmp_path / "seven.jsonl")),
            "tuning": TuningSettings(**settings),
            "evaluation": EvaluationSettings(max_new_tokens=4),
        }
        return make_spec(**{**fields, **changes})

    return make


def read_curve(record):
    return [(event.step, event.loss) for event in record.read_metrics() if event.phase == "tune"]


@pytest.mark.timeout(600)
def test_a_run_of_two_processes_is_killed_and_goes_on_and_ends_as_one_process_would(
    store, tiny_spec, start, wait_until
):
    record = store.create(tiny_spec(name="together", tuning={"max_steps": STEPS}))
    whole = store.create(tiny_spec(name="alone", tuning={"max_steps": STEPS, "batch_size": 2}))
    assert work(whole.folder).state == "finished"

    launcher = start("-m", "kslottery_core.runs.worker", str(record.folder))
    wait_until(record, lambda record: record.status.phase == "tune" and record.status.step > 11, WAIT_SECONDS)
    kill_all(launcher)
    record = wait_until(record, lambda record: not record.status.live, 10)
    if record.status.state == "finished":
        pytest.skip("it was faster than the kill")
    assert record.status.state == "died"
    assert find_resume_step(record) >= 10

    reopen_run(store, record.run_id)
    status = work(record.folder)  # by one process, which would train on other batches
    assert status.state == "failed"
    assert "it was written by 2 processes, found 1 process" in status.message

    code, output = finish(start("-m", "kslottery_core", "runs", "resume", record.run_id))
    assert code == 0, output
    record, whole = store.get(record.run_id), store.get(whole.run_id)
    assert record.status.state == "finished", record.read_log_tail()
    curve, expected = read_curve(record), read_curve(whole)
    assert [step for step, _ in curve] == list(range(1, STEPS + 1))
    assert [loss for _, loss in curve] == pytest.approx([loss for _, loss in expected], rel=1e-4)
    cost = record.result["cost"]
    assert (cost["processes"], cost["effective_batch"]) == (2, 2)
    assert cost["optimizer_bytes"] == whole.result["cost"]["optimizer_bytes"] == 2 * 4 * 48 + 4
    assert cost["step_seconds"] > 0
    assert len(record.read_outputs()) == 2
    assert "in 2 processes" in (record.folder / "log.txt").read_text()


@pytest.mark.timeout(600)
def test_a_cancel_is_heard_by_both_processes_at_the_same_step(store, tiny_spec, start, wait_until):
    record = store.create(tiny_spec(name="long", tuning={"max_steps": 100_000}))
    launcher = start("-m", "kslottery_core.runs.worker", str(record.folder))
    wait_until(record, lambda record: record.status.phase == "tune" and record.status.step > 3, WAIT_SECONDS)
    (record.folder / CANCEL_FILE).touch()
    code, output = finish(launcher)
    assert code == 0, output
    record = store.get(record.run_id)
    assert record.status.state == "cancelled", record.read_log_tail()
    assert record.result["tuning"]["stopped"] is True
    assert find_resume_step(record) == record.result["tuning"]["steps"]


@pytest.mark.timeout(600)
def test_what_ends_one_process_ends_the_run_and_is_told(store, tiny_spec, start, tmp_path):
    script = tmp_path / "failing.py"
    script.write_text(FAILING)
    record = store.create(tiny_spec(name="failing", tuning={"max_steps": 100_000}))
    code, _ = finish(start(str(script), str(record.folder)))
    assert code != 0
    record = store.get(record.run_id)
    assert record.status.state == "failed", record.read_log_tail()
    assert record.status.message == "the second process has had enough."
    assert read_problem(record.folder) == record.status.message


@pytest.mark.timeout(600)
def test_wrong_input_ends_both_processes_with_one_sentence(start, tmp_path):
    started = time.monotonic()
    code, output = finish(start("-m", "kslottery_core", "tune", "lora", str(tmp_path / "nothing"), "--train", "no"))
    assert code != 0
    (line,) = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert "found nothing at" in line
    assert time.monotonic() - started < WAIT_SECONDS


def test_a_run_on_several_gpus_holds_each_and_on_a_cpu_the_one(monkeypatch):
    from kslottery_core.runs import together

    monkeypatch.setattr(together, "resolve_device", lambda device: "cuda:0" if device == "auto" else device)
    processes = Processes(4, 0, 2, 0)  # two on each of two machines
    assert choose_devices("cpu", processes) == ("cpu",)
    assert choose_devices("auto", processes) == ("cuda:0", "cuda:1")
    assert choose_devices("cuda", processes) == ("cuda:0", "cuda:1")
    assert choose_devices("cuda:3", Processes()) == ("cuda:3",)
    with pytest.raises(TuningError, match="takes the GPU of its own number"):
        choose_devices("cuda:3", processes)


def test_only_processes_after_the_first_follow(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert not follows()
    monkeypatch.setenv("WORLD_SIZE", "2")  # left over from something else
    assert not follows()
    monkeypatch.setenv("RANK", "0")
    assert not follows()
    monkeypatch.setenv("RANK", "1")
    assert follows()


def test_the_failure_of_another_process_ends_a_run_that_waits_for_it(store, make_spec, fake_work, monkeypatch):
    from kslottery_core.runs import session, together

    ended = []

    class Ended(BaseException):
        pass

    def end(code):
        ended.append(code)
        raise Ended  # ends the watching thread in place of the process

    monkeypatch.setattr(session, "_PROBLEM_SECONDS", 0.1)
    monkeypatch.setattr(session.os, "_exit", end)
    monkeypatch.setattr("threading.excepthook", lambda _: None)
    record = store.create(make_spec(tuning=TuningSettings(max_steps=40)))

    def tune(task, folder, **options):
        (record.folder / together.PROBLEM_FILE).write_text("process 1 of 2: it is gone.")
        return fake_work.make_tune("deaf", 0.05)(task, folder, **options)

    status = work(record.folder, tune=tune, evaluate=fake_work.make_evaluate())
    assert ended == [1]
    assert (status.state, status.message) == ("failed", "process 1 of 2: it is gone.")


def test_a_launch_does_one_run(store, monkeypatch):
    from kslottery_core.runs import together

    class Store:
        def __init__(self):
            self.counts, self.values = {}, {}

        def add(self, key, amount):
            self.counts[key] = self.counts.get(key, 0) + amount
            return self.counts[key]

        def set(self, key, value):
            self.values[key] = value

    kept = Store()
    monkeypatch.setattr(together, "_open_store", lambda: kept)
    together.announce_run(store.root, Processes())
    assert kept.counts == {}
    together.announce_run(store.root, Processes(2, 0, 2, 0))
    assert list(kept.values.values()) == [str(store.root)]
    with pytest.raises(RunError, match="work on one run, found a second one"):
        together.announce_run(store.root, Processes(2, 0, 2, 0))
    for name, value in {"WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    together.dismiss_followers()
    assert list(kept.values.values()) == [str(store.root)]
