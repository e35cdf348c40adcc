import contextlib
import importlib.util
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from kslottery_core.corpora import CorpusSpec
from kslottery_core.jobs import find_process
from kslottery_core.runs import RunSpec, RunStore, launch_run
from kslottery_core.runs.record import load_status
from kslottery_core.tickets import Ticket
from kslottery_core.tuning.settings import TuningSettings

FAKE_WORK = Path(__file__).with_name("fake_work.py")


@pytest.fixture
def store(tmp_path):
    """A store of its own; whatever process a test leaves running is ended."""
    store = RunStore(tmp_path / "home" / "runs")
    yield store
    for folder in store.root.glob("2*"):
        with contextlib.suppress(Exception):
            process = find_process(load_status(folder))
            if process is not None and process.pid != os.getpid():
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def make_spec(tmp_path):
    """A valid spec of a ticket run on a folder without a model; keyword arguments replace fields."""
    (tmp_path / "model").mkdir()
    for name, words in (("train", ("one", "two", "three")), ("test", ("four", "five"))):
        lines = [json.dumps({"translation": {"en": word, "ca": word.upper()}}) for word in words]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")

    def make(**changes):
        fields = {
            "name": "a run",
            "method": "ticket",
            "model": str(tmp_path / "model"),
            "ticket": Ticket(token_ids=(3, 5), vocabulary_size=10, rule="list", tokens=("a", "b")),
            "train": CorpusSpec(path=str(tmp_path / "train.jsonl")),
            "test": CorpusSpec(path=str(tmp_path / "test.jsonl")),
            "tuning": TuningSettings(max_steps=3),
            "device": "cpu",
        }
        return RunSpec(**{**fields, **changes})

    return make


@pytest.fixture
def launch_fake(store, make_spec):
    """Launch the fake worker as a process: `launch_fake(mode, step_seconds, **spec_fields)`."""

    def launch(mode="well", step_seconds=0.02, **changes):
        command = [sys.executable, str(FAKE_WORK), mode, str(step_seconds)]
        return launch_run(store, make_spec(**changes), command=command)

    return launch


@pytest.fixture
def wait_until(store):
    """Read a run again and again until it is as expected: `wait_until(record, lambda record: ...)`."""

    def wait(record, expected, seconds=60):
        deadline = time.monotonic() + seconds
        while True:
            record = store.get(record.run_id)
            if expected(record):
                return record
            assert time.monotonic() < deadline, f"still {record.status} with the log {record.read_log_tail()!r}"
            time.sleep(0.03)

    return wait


@pytest.fixture(scope="session")
def fake_work():
    """The module with the fake tune and evaluate functions."""
    module_spec = importlib.util.spec_from_file_location("fake_work", FAKE_WORK)
    module = importlib.util.module_from_spec(module_spec)
    sys.modules["fake_work"] = module
    module_spec.loader.exec_module(module)
    return module
