"""Apple's GPU (`mps`) as a device, on machines that have none: what is refused, and what is asked of torch."""

import pytest
import torch

from kslottery_core.errors import KSInputError, RunError
from kslottery_core.jobs import identify_queue, resolve_device
from kslottery_core.ks import compute_ks
from kslottery_core.runs import check_spec
from kslottery_core.runs.result import describe_device
from kslottery_core.runs.together import choose_devices
from kslottery_core.runs.worker import work
from kslottery_core.tuning.memory import PeakMemory
from kslottery_core.tuning.processes import Processes
from kslottery_core.tuning.settings import TuningSettings
from kslottery_core.tuning.training import _is_out_of_memory
from kslottery_core.tuning.tune import _choose_precision


@pytest.fixture
def apple(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


def test_a_machine_without_one_refuses_it_in_one_sentence():
    if torch.backends.mps.is_available():
        pytest.skip("there is one")
    with pytest.raises(RunError, match="'mps', which torch does not find here; choose cpu or auto"):
        resolve_device("mps")


def test_a_run_may_ask_for_it_and_waits_in_its_queue(apple, store, make_spec, fake_work):
    assert (resolve_device("mps"), identify_queue("mps")) == ("mps", "mps")
    asked = []

    def tune(task, folder, **options):
        asked.append(task.device)
        return fake_work.make_tune()(task, folder, **options)

    record = store.create(make_spec(device="mps"))
    assert work(record.folder, tune=tune, evaluate=fake_work.make_evaluate()).state == "finished"
    record = store.get(record.run_id)
    assert asked == ["mps"]
    assert (record.status.device, record.status.queue) == ("mps", "mps")
    assert record.result["device"]["description"].startswith("Apple GPU")
    assert describe_device("mps").startswith("Apple GPU")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (TuningSettings(precision="bfloat16"), "precision: on Apple's GPU .* float32"),
        (TuningSettings(quantization="4bit"), "quantization: 4bit is not possible on Apple's GPU"),
    ],
)
def test_mixed_precision_and_few_bits_are_refused(make_spec, settings, message, monkeypatch):
    monkeypatch.setattr("kslottery_core.runs.preparing.check_method_settings", lambda *given: None)
    with pytest.raises(RunError, match=message):
        check_spec(make_spec(device="mps", tuning=settings))
    check_spec(make_spec(device="mps"))
    assert _choose_precision("auto", "mps") == "float32"


def test_it_trains_in_one_process_and_never_counts(apple):
    with pytest.raises(RunError, match="trains in one process, found 2"):
        choose_devices("mps", Processes(2, 0, 2, 0))
    assert choose_devices("mps", Processes()) == ("mps",)
    with pytest.raises(KSInputError, match="expected auto, cpu, cuda"):
        compute_ks(torch.zeros(1, 2), torch.zeros(1, 2), "mps")


def test_its_memory_is_sampled_and_its_errors_are_known(monkeypatch):
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 4711)
    with PeakMemory("mps") as memory:
        pass
    assert (memory.peak_bytes, memory.kind) == (4711, "device memory allocated by torch")
    assert _is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"))
    assert not _is_out_of_memory(RuntimeError("something else"))
