"""What each of several processes does in the tests of training together; torchrun starts it as a program.

`together_work.py PLAN.json`: the plan names models, the folder to tune below and the trainings, each with its method,
settings and, where it is to be stopped and gone on with, the step. The leading process writes `losses.json`.
"""

import itertools
import json
import sys
from pathlib import Path

from kslottery_core.corpora import DEFAULT_PROMPT, Corpus, CorpusSpec, SentencePair
from kslottery_core.tickets import create_list_ticket
from kslottery_core.tuning import LoraSettings, PrefixSettings, TuningSettings, TuningTask, tune
from kslottery_core.tuning.checkpointing import discard_checkpoints
from kslottery_core.tuning.processes import read_processes

TARGETS = [f"a {b} bird {c}" for b in ("house", "garden", "bird") for c in ("sings", "in the old red house", "is")]
PAIRS = tuple(SentencePair(f"the small cat sees {number} birds", target) for number, target in enumerate(TARGETS))
CORPUS = Corpus("tiny", PAIRS, (), "0" * 64)


def force_sharding_on_a_cpu():
    """accelerate shards on GPUs alone; torch can on a CPU, where the same code can be tried."""
    from accelerate import state
    from accelerate.utils import DistributedType

    initialise = state.AcceleratorState.__init__

    def initialise_sharded(self, *arguments, fsdp_plugin=None, **options):
        initialise(self, *arguments, fsdp_plugin=fsdp_plugin, **options)
        if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
            state.PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    state.AcceleratorState.__init__ = initialise_sharded


def train(training, plan, batch_size):
    """One training of the plan: its losses by step, and its report."""
    settings = {"learning_rate": 0.02, "max_steps": 8, "checkpoint_steps": 3, **training.get("settings", {})}
    settings["lora"] = LoraSettings(rank=2)
    settings["prefix"] = PrefixSettings(3)
    task = TuningTask(
        training["method"],
        plan["tied" if training.get("tied") else "untied"],
        ticket=create_list_ticket([3, 20, 30], 64) if training["method"] == "ticket" else None,
        corpus=CORPUS,
        languages=CorpusSpec("tiny.jsonl", "en", "ca"),
        prompt=DEFAULT_PROMPT,
        settings=TuningSettings(batch_size=batch_size, **settings),
    )
    folder = Path(plan["folder"]) / training["name"]
    losses = {}

    def listen(event):
        if event.phase == "tune":
            losses[event.step] = event.loss

    stop_at = training.get("stop_at")
    if stop_at is not None:
        calls = itertools.count(1)
        last = read_processes().count - 1  # only this one is asked to stop, and all must
        stopped = tune(
            task,
            folder,
            on_progress=listen,
            should_stop=lambda: read_processes().rank == last and next(calls) >= stop_at,
        ).report
        assert stopped.stopped and stopped.steps == stop_at
    report = tune(task, folder, on_progress=listen, resume=stop_at is not None).report
    discard_checkpoints(folder)
    return {"losses": losses, "report": report.to_json()}


def main(path):
    plan = json.loads(Path(path).read_text())
    processes = read_processes()
    if processes.shards:
        force_sharding_on_a_cpu()
    results = {training["name"]: train(training, plan, plan["batch_size"]) for training in plan["trainings"]}
    if processes.leads:
        (Path(plan["folder"]) / "losses.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1])
