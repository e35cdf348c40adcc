"""Whole tunings on a tiny model: what is saved, what stays identical, what is refused before anything starts."""

import dataclasses
import itertools

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from kslottery_core.checkpoints import load_model, open_embedding
from kslottery_core.corpora import DEFAULT_PROMPT, Corpus, CorpusSpec, SentencePair
from kslottery_core.errors import KSLotteryError, TicketError, TuningError
from kslottery_core.progress import never_stop
from kslottery_core.tickets import create_list_ticket
from kslottery_core.tuning import TuningSettings, TuningTask, tune, write_full_checkpoint
from kslottery_core.tuning.dataset import IGNORED, collate, encode_examples
from kslottery_core.tuning.memory import PeakMemory

PAIRS = tuple(
    SentencePair(f"the {a} cat sees {b}", f"a {b} bird in {a}")
    for a, b in itertools.product(["small", "red", "green"], ["house", "garden", "bird"])
)
CORPUS = Corpus("tiny", PAIRS, (), "0" * 64)
SPEC = CorpusSpec("tiny.jsonl", "en", "ca")
SETTINGS = TuningSettings(learning_rate=0.02, max_steps=5, batch_size=4)
TICKET = create_list_ticket([3, 20, 30], 64)


def run(method, folder, model, *, settings=SETTINGS, ticket=TICKET, after=None, should_stop=never_stop, **options):
    events = []
    task = TuningTask(
        method,
        str(model),
        ticket=ticket if method in ("ticket", "transfer") else None,
        after=after,
        corpus=CORPUS,
        languages=SPEC,
        prompt=DEFAULT_PROMPT,
        settings=settings,
        **options,
    )
    tuned = tune(task, folder, on_progress=events.append, should_stop=should_stop)
    return tuned, events


def test_partial_tuning_saves_a_few_kilobytes_that_open_as_a_checkpoint(tiny_llama_folder, tmp_path):
    tuned, events = run("ticket", tmp_path, tiny_llama_folder)
    report = tuned.report
    assert report.trained_parameters == 3 * 16
    assert (report.steps, report.planned_steps, report.stopped) == (5, 5, False)
    assert report.saved_bytes < 5000
    assert [event.step for event in events if event.phase == "tune"] == [1, 2, 3, 4, 5]
    assert all(event.loss is not None and event.learning_rate is not None for event in events if event.phase == "tune")
    saved = load_file(tmp_path / "ticket" / "rows.safetensors")
    assert saved["token_ids"].tolist() == [3, 20, 30]
    assert saved["rows"].dtype == torch.float32
    opened = open_embedding(tmp_path / "ticket")
    assert torch.equal(opened.read_token_rows([3, 20, 30]), saved["rows"])
    base = open_embedding(tiny_llama_folder)
    kept = [row for row in range(64) if row not in TICKET.token_ids]
    assert torch.equal(opened.read_token_rows(kept), base.read_token_rows(kept))


@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
@pytest.mark.parametrize("fixture", ["tiny_llama_folder", "tiny_tied_llama_folder"])
def test_the_full_checkpoint_loads_in_plain_transformers_with_all_else_identical(
    request, tmp_path, weight_decay, fixture
):
    base_folder = request.getfixturevalue(fixture)
    settings = dataclasses.replace(SETTINGS, weight_decay=weight_decay)
    tuned, _ = run("ticket", tmp_path, base_folder, settings=settings, output="checkpoint")
    assert tuned.report.untied_head == (fixture == "tiny_tied_llama_folder")
    assert any("shares one matrix" in note for note in tuned.report.notes) == tuned.report.untied_head
    before = AutoModelForCausalLM.from_pretrained(base_folder).state_dict()
    written = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    after = written.state_dict()
    for name, value in before.items():
        differing = (value != after[name]).reshape(len(value), -1).any(dim=1).nonzero().flatten().tolist()
        assert differing == ([3, 20, 30] if name == "model.embed_tokens.weight" else []), name
    ids = torch.tensor([[3, 20, 7, 30]])
    with torch.no_grad():
        assert torch.equal(written(input_ids=ids).logits, tuned.model(input_ids=ids).logits)


def test_embedding_tuning_of_a_tied_model_leaves_the_head_as_it_was(tiny_tied_llama_folder, tmp_path):
    tuned, _ = run("embedding", tmp_path, tiny_tied_llama_folder)
    before = AutoModelForCausalLM.from_pretrained(tiny_tied_llama_folder)
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert torch.equal(before.lm_head.weight, after.lm_head.weight)
    assert not torch.equal(before.model.embed_tokens.weight, after.model.embed_tokens.weight)
    assert tuned.report.untied_head
    assert tuned.report.trained_parameters == 64 * 16
    assert tuned.report.peak_memory_bytes > 10**6


def test_transfer_copies_the_rows_and_nothing_else(tiny_llama_folder, tiny_tuned_llama_folder, tmp_path):
    ticket = create_list_ticket([3, 8], 64)
    tuned, _ = run("transfer", tmp_path, tiny_llama_folder, ticket=ticket, after=str(tiny_tuned_llama_folder))
    matrix = tuned.model.get_input_embeddings().weight
    assert torch.equal(matrix[[3, 8]], open_embedding(tiny_tuned_llama_folder).read_token_rows([3, 8]))
    assert torch.equal(matrix[5], open_embedding(tiny_llama_folder).read_token_rows([5])[0])
    assert (tuned.report.steps, tuned.report.final_loss, tuned.report.seconds) == (0, None, None)
    assert (tuned.report.trained_parameters, tuned.report.copied_parameters) == (0, 2 * 16)
    assert (tmp_path / "ticket" / "rows.safetensors").exists()


def test_base_trains_and_saves_nothing(tiny_llama_folder, tmp_path):
    tuned, _ = run("base", tmp_path / "new", tiny_llama_folder)
    assert tuned.report.trained_parameters == 0
    assert tuned.report.saved_path is None
    assert not (tmp_path / "new").exists()


def test_full_tuning_lowers_the_loss_and_saves_a_checkpoint(tiny_llama_folder, tmp_path):
    tuned, _ = run("full", tmp_path, tiny_llama_folder)
    assert tuned.report.final_loss < tuned.report.first_loss
    load_model(tmp_path / "model")


def test_the_same_seed_gives_the_same_rows_and_another_seed_others(tiny_llama_folder, tmp_path):
    rows = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run("ticket", tmp_path / name, tiny_llama_folder, settings=dataclasses.replace(SETTINGS, seed=seed))
        rows[name] = load_file(tmp_path / name / "ticket" / "rows.safetensors")["rows"]
    assert torch.equal(rows["a"], rows["b"])
    assert not torch.equal(rows["a"], rows["c"])


def test_gradient_accumulation_equals_one_larger_batch(tiny_llama_folder, tmp_path):
    whole, _ = run("ticket", tmp_path / "a", tiny_llama_folder, settings=dataclasses.replace(SETTINGS, max_steps=2))
    parts, _ = run(
        "ticket",
        tmp_path / "b",
        tiny_llama_folder,
        settings=dataclasses.replace(SETTINGS, max_steps=2, batch_size=2, gradient_accumulation=2),
    )
    assert parts.report.final_loss == pytest.approx(whole.report.final_loss, rel=1e-3)


def test_a_stopped_training_keeps_what_it_learned(tiny_llama_folder, tmp_path):
    asked = iter([False, False, *[True] * 100])
    tuned, _ = run("ticket", tmp_path, tiny_llama_folder, should_stop=lambda: next(asked))
    assert tuned.report.stopped
    assert 0 < tuned.report.steps < 5
    assert "Stopped at step" in tuned.report.notes[-1]
    assert (tmp_path / "ticket" / "rows.safetensors").exists()


def test_a_loss_that_is_no_number_stops_with_its_step(tiny_llama_folder, tmp_path):
    with pytest.raises(TuningError, match=r"loss is nan at step \d of 5"):
        run("embedding", tmp_path, tiny_llama_folder, settings=dataclasses.replace(SETTINGS, learning_rate=1e38))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"ticket": None}, TuningError, "ticket: the method ticket needs one"),
        ({"ticket": create_list_ticket([], 64)}, TicketError, "empty ticket"),
        ({"ticket": create_list_ticket([70], 100)}, TicketError, "token id 70 does not exist in this model of 64"),
        ({"ticket": dataclasses.replace(TICKET, width=99)}, TicketError, "width 99, this model has width 16"),
        ({"settings": dataclasses.replace(SETTINGS, max_length=5)}, TuningError, "cut its target off entirely"),
    ],
)
def test_bad_requests_are_refused_before_training(tiny_llama_folder, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        run("ticket", tmp_path / "new", tiny_llama_folder, **options)
    assert not (tmp_path / "new").exists()


def test_incomplete_requests_are_refused(tiny_llama_folder, tmp_path):
    with pytest.raises(TuningError, match="expected one of base, full"):
        run("magic", tmp_path, tiny_llama_folder)
    with pytest.raises(TuningError, match="after: the method transfer"):
        run("transfer", tmp_path, tiny_llama_folder)
    with pytest.raises(TuningError, match="needs a corpus and a prompt"):
        TuningTask("full", str(tiny_llama_folder))


def test_transfer_from_another_model_is_refused(tiny_llama_folder, tmp_path, make_tiny_llama, save_tiny_model):
    other = save_tiny_model(make_tiny_llama(hidden_size=32), tmp_path / "other")
    with pytest.raises(TuningError, match="expected rows of width 16 up to id 30, found 64 rows of width 32"):
        run("transfer", tmp_path / "out", tiny_llama_folder, after=str(other))


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 0},
        {"learning_rate": float("nan")},
        {"epochs": -1},
        {"max_steps": 0},
        {"batch_size": 0},
        {"gradient_accumulation": 0},
        {"max_length": 0},
        {"weight_decay": -0.1},
        {"warmup_share": 1.0},
        {"schedule": "zigzag"},
        {"seed": -1},
        {"seed": 2**32},
        {"precision": "float8"},
    ],
)
def test_settings_out_of_range_are_refused(change):
    (name,) = change
    with pytest.raises(TuningError, match=f"{name}: expected"):
        TuningSettings(**change)


def test_prompt_tokens_are_out_of_the_loss_and_the_end_token_is_in_it(tiny_tokenizer):
    examples = encode_examples(tiny_tokenizer, PAIRS[:1], SPEC, "Say: {source}\nIn Catalan:", 256)
    (item,) = examples.items
    target = [token_id for token_id, label in zip(item["input_ids"], item["labels"], strict=True) if label != IGNORED]
    assert tiny_tokenizer.decode(target[:-1]).strip() == PAIRS[0].target
    assert target[-1] == tiny_tokenizer.eos_token_id
    assert examples.target_tokens == len(target)
    whole = tiny_tokenizer(f"Say: {PAIRS[0].source}\nIn Catalan: {PAIRS[0].target}")["input_ids"]
    assert item["input_ids"][:-1] == whole


def test_a_target_that_is_cut_short_is_counted(tiny_tokenizer):
    whole = encode_examples(tiny_tokenizer, PAIRS[:1], SPEC, "{source}:", 256)
    length = len(whole.items[0]["input_ids"])
    assert whole.shortened == 0
    assert encode_examples(tiny_tokenizer, PAIRS[:1], SPEC, "{source}:", length - 1).shortened == 1


def test_a_tokenizer_without_an_end_token_is_refused(tiny_tokenizer):
    class Endless:
        eos_token_id = None

    with pytest.raises(TuningError, match="end-of-sequence"):
        encode_examples(Endless(), PAIRS, SPEC, "{source}", 10)


def test_padding_is_masked_and_out_of_the_loss():
    batch = collate([{"input_ids": [5, 6, 7], "labels": [IGNORED, 6, 7]}, {"input_ids": [8], "labels": [8]}], 2)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 2, 2]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 6, 7], [8, IGNORED, IGNORED]]


def test_peak_memory_sees_a_large_allocation():
    memory = PeakMemory("cpu")
    assert memory.peak_bytes is None
    with memory:
        block = bytearray(200 * 2**20)
        block[::4096] = b"x" * len(block[::4096])
        import time

        time.sleep(0.2)
    assert memory.peak_bytes > 200 * 2**20


def test_after_autocast_training_the_model_is_plain_again(tiny_llama_folder, tmp_path):
    tuned, _ = run(
        "embedding", tmp_path, tiny_llama_folder, settings=dataclasses.replace(SETTINGS, precision="bfloat16")
    )
    assert tuned.report.precision == "bfloat16"
    assert tuned.model.dtype == torch.bfloat16
    assert not hasattr(tuned.model, "_original_forward")
    ids = torch.tensor([[3, 20, 7, 30]])
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.bfloat16)
    with torch.no_grad():
        assert torch.equal(saved(input_ids=ids).logits, tuned.model(input_ids=ids).logits)


def test_a_training_of_one_step_moves_its_rows(tiny_llama_folder, tmp_path):
    tuned, _ = run("ticket", tmp_path, tiny_llama_folder, settings=dataclasses.replace(SETTINGS, max_steps=1))
    moved = open_embedding(tmp_path / "ticket").read_token_rows([3, 20, 30])
    assert tuned.report.steps == 1
    assert not torch.equal(moved, open_embedding(tiny_llama_folder).read_token_rows([3, 20, 30]))


def test_what_on_loaded_raises_ends_the_tuning_before_it_starts(tiny_llama_folder, tmp_path):
    task = TuningTask(
        "ticket", str(tiny_llama_folder), ticket=TICKET, corpus=CORPUS, languages=SPEC, prompt="{source}:"
    )

    def refuse(model, tokenizer):
        raise TuningError("not this model")

    with pytest.raises(TuningError, match="not this model"):
        tune(task, tmp_path / "new", on_loaded=refuse)
    assert not (tmp_path / "new").exists()


def test_a_tuned_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(KSLotteryError):
        write_full_checkpoint(tmp_path / "missing", tmp_path / "out")
