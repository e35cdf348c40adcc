"""What a training costs beside its time: the optimizer's state, a step, the peak of all attempts."""

import json
from types import SimpleNamespace

import pytest

from kslottery_core.corpora import DEFAULT_PROMPT, Corpus, CorpusSpec, SentencePair
from kslottery_core.progress import ignore_progress, never_stop
from kslottery_core.runs.record import RunStatus
from kslottery_core.runs.result import RunOutcome, save_result
from kslottery_core.tickets import create_list_ticket
from kslottery_core.tuning import LoraSettings, PrefixSettings, TuningSettings, TuningTask, tune
from kslottery_core.tuning import trainer as trainer_module
from kslottery_core.tuning.checkpointing import RECORD_FILE, TrainingPosition
from kslottery_core.tuning.memory import PeakMemory
from kslottery_core.tuning.processes import Processes
from kslottery_core.tuning.trainer import TrainingWatch

PAIRS = tuple(SentencePair(f"the small cat sees {number}", "a red bird in the old house") for number in range(6))
LLAMA = 2 * 64 * 16 + 2 * (4 * 16 * 16 + 3 * 16 * 32 + 2 * 16) + 16  # both embeddings, two layers, the last norm
LAYER_MATRICES = {"q": (16, 16), "k": (16, 16), "v": (16, 16), "o": (16, 16), "gate": (32, 16), "up": (32, 16)}
LORA = 2 * sum(2 * (rows + columns) for rows, columns in [*LAYER_MATRICES.values(), (16, 32)])  # rank 2, two layers


@pytest.fixture
def run(tiny_llama_folder, tmp_path):
    def run(method, *, should_stop=never_stop, resume=False, **settings):
        ticket = create_list_ticket([3, 20, 30], 64) if method in ("ticket", "transfer") else None
        learns = method != "transfer"
        task = TuningTask(
            method,
            str(tiny_llama_folder),
            ticket=ticket,
            after=None if learns else str(tiny_llama_folder),
            corpus=Corpus("tiny", PAIRS, (), "0" * 64) if learns else None,
            languages=CorpusSpec("tiny.jsonl", "en", "ca") if learns else None,
            prompt=DEFAULT_PROMPT if learns else None,
            settings=TuningSettings(
                **{
                    "max_steps": 2,
                    "batch_size": 2,
                    "lora": LoraSettings(rank=2),
                    "prefix": PrefixSettings(3),
                    **settings,
                }
            ),
        )
        return tune(task, tmp_path / "run", should_stop=should_stop, resume=resume).report

    return run


@pytest.mark.parametrize(
    ("method", "trained", "tensors"),
    [
        ("ticket", 3 * 16, 1),
        ("embedding", 64 * 16, 1),
        ("full", LLAMA, 2 + 2 * 9 + 1),
        ("lora", LORA, 2 * 7 * 2),
        ("prefix", 3 * 2 * 2 * 16, 1),
    ],
)
def test_adamw_holds_two_float32_numbers_a_parameter_and_a_step_counter_a_tensor(run, method, trained, tensors):
    report = run(method)
    assert report.trained_parameters == trained
    assert report.optimizer_bytes == trained * 2 * 4 + tensors * 4


def test_what_trains_nothing_has_no_optimizer_and_no_step(run):
    report = run("transfer")
    assert (report.optimizer_bytes, report.step_seconds, report.effective_batch) == (None, None, None)
    assert report.processes == 1


def test_the_first_step_does_not_count_and_a_single_one_is_not_measured(run):
    assert run("ticket", max_steps=1).step_seconds is None
    report = run("ticket", max_steps=3)
    assert 0 < report.step_seconds < report.seconds


def test_the_step_time_is_the_median_of_all_but_the_first(monkeypatch):
    clock = iter([0.0, 9.0, 10.0, 11.0, 20.0, 25.0, 30.0, 32.0])  # steps of 9, 1, 5 and 2 seconds
    monkeypatch.setattr(trainer_module.time, "perf_counter", lambda: next(clock))
    watch = TrainingWatch(4, 0, ignore_progress, never_stop, Processes())
    arguments = SimpleNamespace(device=SimpleNamespace(type="cpu"))
    seen = []
    for step in range(1, 5):
        watch.on_step_begin(arguments, None, None)
        watch.on_step_end(arguments, SimpleNamespace(global_step=step), SimpleNamespace())
        seen.append(watch.step_seconds)
    assert seen == [None, 1.0, 3.0, 2.0]


def test_the_pairs_of_an_accumulated_step_are_counted(run):
    assert run("ticket", batch_size=2, gradient_accumulation=3).effective_batch == 6


def test_a_resumed_training_reports_the_largest_peak_of_its_attempts_and_what_was_measured_before(run, tmp_path):
    calls = iter(range(10))
    first = run("ticket", max_steps=3, should_stop=lambda: next(calls) == 2, checkpoint_steps=1)
    record = tmp_path / "run" / "training" / "checkpoint-3" / RECORD_FILE
    position = json.loads(record.read_text())
    assert position["optimizer_bytes"] == first.optimizer_bytes
    assert position["step_seconds"] == first.step_seconds
    assert 0 < position["peak_memory_bytes"] <= first.peak_memory_bytes
    record.write_text(json.dumps({**position, "peak_memory_bytes": 10**15}))
    resumed = run("ticket", max_steps=3, resume=True, checkpoint_steps=1)
    assert resumed.peak_memory_bytes == 10**15
    assert (resumed.optimizer_bytes, resumed.step_seconds) == (first.optimizer_bytes, first.step_seconds)


def test_a_checkpoint_of_an_older_version_is_gone_on_from(run, tmp_path):
    calls = iter(range(10))
    run("ticket", max_steps=4, should_stop=lambda: next(calls) == 1, checkpoint_steps=1)
    record = tmp_path / "run" / "training" / "checkpoint-2" / RECORD_FILE
    position = json.loads(record.read_text())
    newer = ("processes", "sharded", "peak_memory_bytes", "optimizer_bytes", "step_seconds")
    assert "quantization" not in position["identity"]
    record.write_text(json.dumps({name: value for name, value in position.items() if name not in newer}))
    report = run("ticket", max_steps=4, resume=True)
    assert report.steps == 4
    assert "Continued from the checkpoint of step 2." in report.notes


def test_a_peak_that_was_measured_elsewhere_counts():
    memory = PeakMemory("cpu")
    memory.include(None)
    assert memory.peak_bytes is None
    memory.include(5)
    memory.include(3)
    assert memory.read() == 5
    with memory:
        pass
    assert memory.peak_bytes > 1_000_000


def test_a_result_has_the_cost_of_the_optimizer_and_null_where_a_report_has_none(tmp_path, tiny_llama_folder):
    from kslottery_core.runs import RunSpec

    spec = RunSpec("a run", "lora", str(tiny_llama_folder))
    fields = dict.fromkeys(("seconds", "peak_memory_bytes", "copied_parameters", "total_parameters"))
    old = SimpleNamespace(trained_parameters=3, saved_bytes=1, notes=(), to_json=dict, **fields)
    new = SimpleNamespace(**{**vars(old), "optimizer_bytes": 28, "step_seconds": 0.5, "processes": 2})
    found = []
    for report in (old, new):
        save_result(tmp_path, spec, RunStatus("running", 0.0), RunOutcome(report=report), complete=True)
        cost = json.loads((tmp_path / "result.json").read_text())["cost"]
        found.append((cost["optimizer_bytes"], cost["step_seconds"], cost["processes"]))
    assert found == [(None, None, None), (28, 0.5, 2)]


def test_a_position_needs_none_of_the_newer_fields():
    position = TrainingPosition(1, 2, 2, 1, 1, 0.5, None, None, (), {})
    assert (position.processes, position.sharded, position.optimizer_bytes) == (1, False, None)
