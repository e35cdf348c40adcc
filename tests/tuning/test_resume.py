"""Trainings that are killed, run out of memory, out of disk or out of numbers: what they leave, and how they go on."""

import dataclasses
import errno
import itertools

import pytest
import torch
from transformers import Trainer

from kslottery_core.corpora import DEFAULT_PROMPT, Corpus, CorpusSpec, SentencePair
from kslottery_core.errors import TuningError
from kslottery_core.progress import never_stop
from kslottery_core.tickets import create_list_ticket
from kslottery_core.tuning import LoraSettings, PrefixSettings, TuningSettings, TuningTask, tune
from kslottery_core.tuning.checkpointing import discard_checkpoints, find_last_step

PAIRS = tuple(
    SentencePair(f"the {a} cat sees {b}", f"a {b} bird in {a}")
    for a, b in itertools.product(["small", "red", "green"], ["house", "garden", "bird"])
)
CORPUS = Corpus("tiny", PAIRS, (), "0" * 64)
# 9 pairs in batches of 4: an epoch of 3 steps whose last one is small; 8 steps end within the third epoch.
SETTINGS = TuningSettings(
    learning_rate=0.02,
    max_steps=8,
    batch_size=4,
    checkpoint_steps=3,
    lora=LoraSettings(rank=2, dropout=0.2),
    prefix=PrefixSettings(3),
)


class Killed(BaseException):
    pass


@pytest.fixture
def run(tiny_llama_folder, tiny_tied_llama_folder):
    """Tune the tiny model: (report, tune events). `kill_at`: end like a killed process after that step's report."""

    def run(
        method, folder, *, kill_at=None, resume=False, should_stop=never_stop, corpus=CORPUS, ids=(3, 20, 30), **changes
    ):
        settings = dataclasses.replace(SETTINGS, **changes)
        events = []

        def listen(event):
            events.append(event)
            if event.phase == "tune" and event.step == kill_at:
                raise Killed

        tied = settings.ticket_rows == "input_and_head"
        task = TuningTask(
            method,
            str(tiny_tied_llama_folder if tied else tiny_llama_folder),
            ticket=create_list_ticket(list(ids), 64) if method == "ticket" else None,
            corpus=corpus,
            languages=CorpusSpec("tiny.jsonl", "en", "ca"),
            prompt=DEFAULT_PROMPT,
            settings=settings,
        )
        try:
            report = tune(task, folder, on_progress=listen, should_stop=should_stop, resume=resume).report
        except Killed:
            report = None
        return report, [(e.step, e.loss, e.learning_rate) for e in events if e.phase == "tune"]

    return run


def read_files(folder):
    """Every file of a result with its bytes; the training's own checkpoints left out."""
    discard_checkpoints(folder)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def whole(run, tmp_path):
    """What an uninterrupted training gives: (report, losses, files); made once for each method and settings."""

    def train_whole(method, **changes):
        report, losses = run(method, tmp_path / "whole", **changes)
        return report, losses, read_files(tmp_path / "whole")

    return train_whole


def test_a_ticket_killed_at_any_step_goes_on_with_the_same_losses_and_rows(run, whole, tmp_path):
    report, losses, files = whole("ticket")
    assert [step for step, _, _ in losses] == list(range(1, 9))
    for kill_at in range(1, 9):
        folder = tmp_path / str(kill_at)
        run("ticket", folder, kill_at=kill_at)
        last = find_last_step(folder)
        assert last == max((step for step in (1, 3, 6) if step < kill_at), default=None)
        resumed, rest = run("ticket", folder, resume=True)
        assert rest == losses[last or 0 :]
        assert read_files(folder) == files
        assert (resumed.first_loss, resumed.final_loss) == (report.first_loss, report.final_loss)
        assert (resumed.steps, resumed.stopped) == (8, False)
        told = [note for note in resumed.notes if "Continued" in note]
        assert told == ([] if last is None else [f"Continued from the checkpoint of step {last}."])


def test_a_training_goes_on_with_as_many_threads_as_it_began_with_and_gives_them_back(run, tmp_path, monkeypatch):
    present = torch.get_num_threads()
    monkeypatch.setattr("kslottery_core.tuning.training.count_processors", lambda: 2)
    torch.set_num_threads(2)
    try:
        run("ticket", tmp_path, kill_at=5)
    finally:
        torch.set_num_threads(present)
    torch.set_num_threads(1)
    used = []
    training_step = Trainer.training_step

    def note(self, *given, **named):
        used.append(torch.get_num_threads())
        return training_step(self, *given, **named)

    monkeypatch.setattr(Trainer, "training_step", note)
    try:
        run("ticket", tmp_path, resume=True)
        assert set(used) == {2}
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(present)


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("ticket", {"ticket_rows": "input_and_head"}),
        ("ticket", {"batch_size": 2, "gradient_accumulation": 2, "weight_decay": 0.1}),
        ("embedding", {}),
        ("full", {"schedule": "linear"}),
        ("lora", {}),
        ("prefix", {}),
    ],
)
def test_every_method_goes_on_exactly_from_within_and_between_epochs(run, whole, tmp_path, method, changes):
    _, losses, files = whole(method, **changes)
    for last, kill_at in ((2, 3), (3, 5)):  # an epoch has three steps
        folder = tmp_path / f"{last}"
        run(method, folder, kill_at=kill_at, checkpoint_steps=last, **changes)
        assert find_last_step(folder) == last
        _, rest = run(method, folder, resume=True, **changes)
        assert rest == losses[last:]
        assert read_files(folder) == files


def test_a_training_in_bfloat16_goes_on_exactly_too(run, whole, tmp_path):
    _, losses, files = whole("full", precision="bfloat16")
    run("full", tmp_path / "killed", precision="bfloat16", kill_at=5)
    _, rest = run("full", tmp_path / "killed", precision="bfloat16", resume=True)
    assert rest == losses[3:]
    assert read_files(tmp_path / "killed") == files


@pytest.mark.parametrize("method", ["ticket", "lora"])
def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(run, tmp_path, method):
    found = [run(method, tmp_path / str(number), seed=seed, max_steps=4) for number, seed in enumerate((5, 5, 6))]
    first, second, other = (losses for _, losses in found)
    assert first == second
    assert first != other
    assert read_files(tmp_path / "0") == read_files(tmp_path / "1")


def test_a_stopped_training_keeps_the_step_where_it_was_and_goes_on_from_there(run, whole, tmp_path):
    _, losses, files = whole("ticket")
    asked = iter([False, False, False, False, True])
    report, first = run("ticket", tmp_path / "run", should_stop=lambda: next(asked))
    assert (report.steps, report.stopped) == (5, True)
    assert find_last_step(tmp_path / "run") == 5
    _, rest = run("ticket", tmp_path / "run", resume=True)
    assert first + rest == losses
    assert read_files(tmp_path / "run") == files


def test_a_training_killed_after_its_last_step_trains_no_further(run, whole, tmp_path):
    report, _, files = whole("ticket")
    run("ticket", tmp_path / "run")
    assert find_last_step(tmp_path / "run") == 8
    resumed, rest = run("ticket", tmp_path / "run", resume=True)
    assert rest == []
    assert (resumed.steps, resumed.final_loss) == (8, report.final_loss)
    assert read_files(tmp_path / "run") == files


def test_a_checkpoint_holds_what_is_trained_and_only_the_last_one_is_kept(run, tmp_path):
    run("ticket", tmp_path, kill_at=8)
    (kept,) = (tmp_path / "training").iterdir()
    assert kept.name == "checkpoint-6"
    trained = torch.load(kept / "trained.pt", weights_only=True)
    assert [tuple(value.shape) for value in trained.values()] == [(3, 16)]
    assert sum(path.stat().st_size for path in kept.iterdir()) < 60_000  # most of it random states
    assert not (kept / "model.safetensors").exists()


def test_what_a_kill_left_half_written_is_passed_over_and_removed(run, whole, tmp_path):
    _, losses, files = whole("ticket")
    folder = tmp_path / "run"
    run("ticket", folder, kill_at=5)
    half = folder / "training" / ".checkpoint-6.123-ab.part"
    half.mkdir()
    (half / "trained.pt").write_bytes(b"torn")
    _, rest = run("ticket", folder, resume=True)
    assert rest == losses[3:]
    assert not half.exists()
    assert read_files(folder) == files


def test_no_checkpoint_is_kept_where_none_is_wanted(run, whole, tmp_path):
    _, losses, _ = whole("ticket")
    _, same = run("ticket", tmp_path / "run", checkpoint_steps=0)
    assert same == losses
    assert not (tmp_path / "run" / "training").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learning_rate": 0.01}, "learning_rate: 0.02 there, 0.01 here"),
        ({"batch_size": 2}, "batch_size: 4 there, 2 here"),
        ({"ids": (3, 20, 31)}, "ticket differs"),
        ({"corpus": Corpus("other", PAIRS[1:], (), "1" * 64)}, "training text differs"),
        ({"method": "embedding"}, "method: 'ticket' there, 'embedding' here"),
    ],
)
def test_the_checkpoint_of_another_training_is_refused_before_anything_is_trained(run, tmp_path, changes, words):
    run("ticket", tmp_path, kill_at=2)
    method = changes.pop("method", "ticket")
    with pytest.raises(TuningError, match="belongs to another training") as told:
        run(method, tmp_path, resume=True, **changes)
    assert words in str(told.value)
    assert find_last_step(tmp_path) == 1


def test_a_damaged_checkpoint_is_refused(run, tmp_path):
    run("ticket", tmp_path, kill_at=2)
    damaged = tmp_path / "training" / "checkpoint-1" / "optimizer.pt"
    damaged.write_bytes(damaged.read_bytes()[:-7])
    with pytest.raises(TuningError, match="found a damaged file"):
        run("ticket", tmp_path, resume=True)


def limit_batch(monkeypatch, largest, from_step=1):
    """A device whose memory does for `largest` pairs at once; with more the step `from_step` is the first to fail."""
    real = Trainer.training_step
    seen = []

    def step(self, model, inputs, *arguments, **options):
        size = len(inputs["input_ids"])
        seen.append(size)
        if size > largest and self.state.global_step + 1 >= from_step:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return real(self, model, inputs, *arguments, **options)

    monkeypatch.setattr(Trainer, "training_step", step)
    return seen


@pytest.mark.parametrize(("method", "from_step", "origin"), [("ticket", 1, "the start"), ("full", 5, "step 3")])
def test_out_of_memory_halves_the_micro_batch_and_keeps_the_effective_one(
    run, whole, tmp_path, monkeypatch, method, from_step, origin
):
    _, losses, _ = whole(method)
    seen = limit_batch(monkeypatch, 2, from_step)
    report, divided = run(method, tmp_path / "divided")
    assert max(seen[-8:]) == 2
    last = {step: loss for step, loss, _ in divided}  # a step that was done again counts as it was done last
    assert list(last) == list(range(1, 9))
    assert list(last.values()) == pytest.approx([loss for _, loss, _ in losses], rel=1e-5)
    (note,) = [note for note in report.notes if "memory" in note]
    assert f"at step {from_step} with 4 pairs at once" in note
    assert origin in note
    assert "with 2 pairs at once, 2 times a step; the effective batch stays 4" in note


def test_a_divided_batch_stays_divided_when_the_training_is_resumed(run, tmp_path, monkeypatch):
    seen = limit_batch(monkeypatch, 1)
    settings = {"batch_size": 3, "max_steps": 4}  # 3 pairs cannot be halved, only taken one by one
    _, losses = run("ticket", tmp_path / "whole", **settings)
    run("ticket", tmp_path / "run", **settings, kill_at=2)
    seen.clear()
    report, rest = run("ticket", tmp_path / "run", **settings, resume=True)
    assert set(seen) == {1}
    assert rest == losses[1:]
    assert read_files(tmp_path / "run") == read_files(tmp_path / "whole")
    assert [note.split()[0] for note in report.notes] == ["Out", "Continued"]


def test_out_of_memory_with_one_pair_is_one_sentence(run, tmp_path, monkeypatch):
    limit_batch(monkeypatch, 0, from_step=2)
    with pytest.raises(TuningError, match=r"out of memory at step 2 of 8 with 1 pair at once.*lower max_length"):
        run("ticket", tmp_path, batch_size=1)
    assert find_last_step(tmp_path) == 1


def test_out_of_memory_without_a_checkpoint_is_one_sentence(run, tmp_path, monkeypatch):
    limit_batch(monkeypatch, 2, from_step=3)
    with pytest.raises(TuningError, match="without a checkpoint to go on from"):
        run("ticket", tmp_path, checkpoint_steps=0)


@pytest.mark.parametrize(
    "problem",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("basic_ios::clear: iostream error"),  # what torch's own writer makes of it
    ],
)
def test_a_full_disk_stops_the_training_and_leaves_the_last_good_checkpoint(run, whole, tmp_path, monkeypatch, problem):
    _, losses, files = whole("ticket")
    real = torch.save
    written = []

    def save(content, target):
        written.append(target)
        if sum(str(path).endswith("optimizer.pt") for path in written) == 3:
            raise problem
        real(content, target)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", save)
        with pytest.raises(TuningError, match=r"the checkpoint of step 6 cannot be written .*free some space") as told:
            run("ticket", tmp_path / "run")
    assert "that of step 3 is kept" in str(told.value)
    assert [path.name for path in (tmp_path / "run" / "training").iterdir()] == ["checkpoint-3"]
    _, rest = run("ticket", tmp_path / "run", resume=True)
    assert rest == losses[3:]
    assert read_files(tmp_path / "run") == files


@pytest.mark.parametrize(("value", "words"), [(float("nan"), "the loss is nan"), (float("inf"), "the loss is inf")])
def test_a_loss_that_is_no_number_stops_at_its_step_and_the_last_checkpoint_is_good(
    run, tmp_path, monkeypatch, value, words
):
    real = Trainer.training_step

    def step(self, *arguments, **options):
        loss = real(self, *arguments, **options)
        return loss * value if self.state.global_step == 4 else loss

    monkeypatch.setattr(Trainer, "training_step", step)
    with pytest.raises(TuningError, match=f"{words} at step 5 of 8"):
        run("ticket", tmp_path)
    assert find_last_step(tmp_path) == 3


def test_an_infinite_gradient_stops_the_training_at_its_step(run, tmp_path, monkeypatch):
    real = Trainer.training_step

    def step(self, model, *arguments, **options):
        loss = real(self, model, *arguments, **options)
        if self.state.global_step == 5:
            model.get_input_embeddings().delta.grad[0, 0] = float("inf")
        return loss

    monkeypatch.setattr(Trainer, "training_step", step)
    with pytest.raises(TuningError, match="the gradient's norm is inf at step 6 of 8"):
        run("ticket", tmp_path)
    assert find_last_step(tmp_path) == 3  # the step's own checkpoint would have held what it spoiled
