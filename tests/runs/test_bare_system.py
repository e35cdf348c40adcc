"""Runs start, work, stop and are killed on systems without Linux's processor masks, Unix locks and process groups."""

import subprocess
import sys
from pathlib import Path

import pytest

from kslottery_core.evaluation.generate import EvaluationSettings
from kslottery_core.tickets import Ticket
from kslottery_core.tuning.settings import TuningSettings

BARE = Path(__file__).with_name("bare_system.py")


def test_a_real_run_tunes_and_scores(store, make_spec, tiny_llama_folder):
    record = store.create(
        make_spec(
            model=str(tiny_llama_folder),
            ticket=Ticket(token_ids=(3, 5, 8), vocabulary_size=64, rule="list"),
            tuning=TuningSettings(max_steps=2),
            evaluation=EvaluationSettings(max_new_tokens=4),
        )
    )
    done = subprocess.run([sys.executable, str(BARE), "real", str(record.folder)], capture_output=True, text=True)
    record = store.get(record.run_id)
    assert (done.returncode, record.status.state) == (0, "finished"), done.stderr + record.read_log_tail()
    assert record.result["scores"]


@pytest.mark.parametrize(("mode", "answer"), [("well", "The run is cancelled"), ("deaf", "has been killed")])
def test_a_run_is_launched_asked_to_stop_and_killed(store, make_spec, mode, answer):
    spec = make_spec(tuning=TuningSettings(max_steps=5000))
    code = f"""
import sys, time
sys.path.insert(0, {str(BARE.parent)!r})
import bare_system
from kslottery_core.runs import RunSpec, RunStore, cancel_run, launch, launch_run
launch._SIGNAL_SECONDS = 0.5
store = RunStore({str(store.root)!r})
spec = RunSpec.from_json({spec.to_json()!r}, "spec")
record = launch_run(store, spec, command=[{sys.executable!r}, {str(BARE)!r}, {mode!r}])
deadline = time.monotonic() + 60
while store.get(record.run_id).status.phase != "tune" and time.monotonic() < deadline:
    time.sleep(0.05)
print(cancel_run(record, wait=True, grace_seconds={5.0 if mode == "well" else 0.3}))
print(store.get(record.run_id).status.state)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert answer in done.stdout and done.stdout.split()[-1] == "cancelled"
