"""Two processes that torchrun starts train as one does with the same effective batch; the numbers are compared."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from kslottery_core.errors import TuningError
from kslottery_core.tuning import TuningSettings, TuningTask
from kslottery_core.tuning.batches import Batches, SharedOrder, share_examples
from kslottery_core.tuning.dataset import Examples
from kslottery_core.tuning.processes import Processes, leave_launch, read_processes
from kslottery_core.tuning.tune import tune

WORK = Path(__file__).with_name("together_work.py")
LAUNCH_SECONDS = 240

# 9 pairs, 4 of them a step: the last step of an epoch sees one, so that one process of two has nothing to learn from.
TRAININGS = [
    {"name": "ticket", "method": "ticket"},
    {"name": "stopped", "method": "ticket", "stop_at": 5},
    {"name": "both ends", "method": "ticket", "tied": True, "settings": {"ticket_rows": "input_and_head"}},
    {"name": "embedding", "method": "embedding"},
    {"name": "full", "method": "full", "settings": {"learning_rate": 0.005}},
    {"name": "full tied", "method": "full", "tied": True, "settings": {"learning_rate": 0.005, "weight_decay": 0.1}},
    {"name": "lora", "method": "lora"},
    {"name": "prefix", "method": "prefix"},
]


@pytest.fixture(scope="module")
def together_work():
    module_spec = importlib.util.spec_from_file_location("together_work", WORK)
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    return module


def launch(plan, folder, **environment):
    """Run a plan in two processes; its results by name. It cannot hang: after `LAUNCH_SECONDS` all is killed."""
    path = folder / "plan.json"
    path.write_text(json.dumps({**plan, "folder": str(folder)}))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, str(WORK), str(path)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=LAUNCH_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "losses.json").read_text())


def read_tensors(folder):
    files = [path for path in folder.rglob("*.safetensors") if "training" not in path.parts]
    assert files
    return {f"{path.name} {name}": tensor for path in files for name, tensor in load_file(path).items()}


@pytest.fixture(scope="module")
def models(tiny_llama_folder, tiny_tied_llama_folder):
    return {"untied": str(tiny_llama_folder), "tied": str(tiny_tied_llama_folder)}


@pytest.fixture(scope="module")
def alone(models, together_work, tmp_path_factory):
    """What one process gives with batches of 4: its folder, and results by name."""
    folder = tmp_path_factory.mktemp("alone")
    plan = {**models, "folder": str(folder), "batch_size": 4}
    whole = [{key: value for key, value in training.items() if key != "stop_at"} for training in TRAININGS]
    return folder, {training["name"]: together_work.train(training, plan, 4) for training in whole}


@pytest.fixture(scope="module")
def together(models, tmp_path_factory):
    """The same trainings in two processes with batches of 2."""
    folder = tmp_path_factory.mktemp("together")
    return folder, launch({**models, "batch_size": 2, "trainings": TRAININGS}, folder)


def check_equal(found, expected, name):
    (folder, results), (expected_folder, expected_results) = found, expected
    losses, expected_losses = results[name]["losses"], expected_results[name]["losses"]
    assert list(map(int, losses)) == list(range(1, 9))
    assert list(losses.values()) == pytest.approx(list(expected_losses.values()), rel=2e-5)
    tensors, expected_tensors = read_tensors(folder / name), read_tensors(expected_folder / name)
    assert tensors.keys() == expected_tensors.keys()
    for key, tensor in tensors.items():
        torch.testing.assert_close(tensor, expected_tensors[key], rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("name", [training["name"] for training in TRAININGS])
@pytest.mark.timeout(600)
def test_two_processes_train_as_one_with_the_same_effective_batch(together, alone, name):
    check_equal(together, alone, name)


@pytest.mark.timeout(600)
def test_the_report_says_how_many_processes_and_pairs_a_step_there_were(together, alone):
    report, single = together[1]["ticket"]["report"], alone[1]["ticket"]["report"]
    assert (report["processes"], report["effective_batch"]) == (2, 4)
    assert (single["processes"], single["effective_batch"]) == (1, 4)
    assert report["optimizer_bytes"] == single["optimizer_bytes"] == 2 * 4 * 48 + 4
    stopped = together[1]["stopped"]["report"]
    assert "Continued from the checkpoint of step 5." in stopped["notes"]


@pytest.mark.timeout(600)
def test_sharded_full_tuning_equals_one_process_and_goes_on_from_its_checkpoint(models, alone, tmp_path):
    names = ("full", "full tied")
    trainings = [{**training, "stop_at": 5} for training in TRAININGS if training["name"] in names]
    results = launch(
        {**models, "batch_size": 2, "trainings": trainings},
        tmp_path,
        ACCELERATE_USE_FSDP="true",
        FSDP_VERSION="2",
        FSDP_AUTO_WRAP_POLICY="TRANSFORMER_BASED_WRAP",
    )
    for name in names:
        check_equal((tmp_path, results), alone, name)
        report, single = results[name]["report"], alone[1][name]["report"]
        assert report["sharded"] is True
        assert report["optimizer_bytes"] < 0.6 * single["optimizer_bytes"]  # each process holds its half


def test_every_process_sees_its_own_pairs_and_none_twice():
    examples = Examples(tuple({"input_ids": [5, 6, 7], "labels": [-100, 6, number]} for number in range(9)), 0, 0)
    batches = Batches(2, 1, processes=2)
    shared, order = share_examples(examples, batches, seed=3)
    positions = list(order)
    assert sorted(positions[:9]) == list(range(9))
    assert positions[9:] == [9, 10, 11]  # 12 places: 3 batches of 2 for each of 2 processes
    assert [shared[position]["labels"] for position in (9, 11)] == [[-100, -100]] * 2
    assert shared[4] is examples[4]
    shared.set_epoch(1)
    assert list(order)[:9] != positions[:9]
    order.set_epoch(0)
    assert list(order) == positions
    assert share_examples(examples, Batches(2, 1), seed=3) == (examples, None)
    assert len(SharedOrder(examples, Batches(3, 4, processes=3), 0)) == 9  # nothing to fill up


def test_an_optimizer_step_sees_the_batches_of_all_processes():
    batches = Batches(6, 2, processes=4)
    assert batches.effective == 48
    assert [batches.count_steps(pairs) for pairs in (1, 48, 49)] == [1, 1, 2]
    assert batches.divide() == Batches(3, 4, processes=4)


def test_a_process_reads_its_place_from_the_launchers_environment(monkeypatch):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "ACCELERATE_USE_FSDP"):
        monkeypatch.delenv(name, raising=False)
    assert read_processes() == Processes()
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(TuningError, match="WORLD_SIZE is set without a RANK"):
        read_processes()
    for name, value in (("RANK", "3"), ("LOCAL_RANK", "1"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    assert read_processes() == Processes(4, 3, 2, 1)
    assert not read_processes().leads
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert read_processes().shards
    assert not {"RANK", "WORLD_SIZE", "ACCELERATE_USE_FSDP"} & leave_launch(dict(os.environ)).keys()
    assert leave_launch({"PATH": "/bin", "RANK": "1"}) == {"PATH": "/bin"}


def test_each_process_takes_the_gpu_of_its_own_number():
    processes = Processes(2, 1, 2, 1)
    assert [processes.choose_device(device) for device in ("cpu", "cuda", "cuda:1")] == ["cpu", "cuda:1", "cuda:1"]
    with pytest.raises(TuningError, match="each of 2 processes takes the GPU of its own number, found 'cuda:0'"):
        processes.choose_device("cuda:0")
    assert Processes().choose_device("cuda:5") == "cuda:5"


def test_sharding_is_refused_for_every_method_but_full(monkeypatch, tiny_llama_folder, together_work, tmp_path):
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "ACCELERATE_USE_FSDP": "true"}.items():
        monkeypatch.setenv(name, value)
    task = TuningTask(
        "lora",
        str(tiny_llama_folder),
        corpus=together_work.CORPUS,
        languages=together_work.CorpusSpec("tiny.jsonl", "en", "ca"),
        prompt=together_work.DEFAULT_PROMPT,
        settings=TuningSettings(max_steps=1),
    )
    with pytest.raises(TuningError, match="FSDP: it is for full fine-tuning"):
        tune(task, tmp_path)
