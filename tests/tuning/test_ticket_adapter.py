"""Tuned tickets between our folder and PEFT's, both ways, each side opened by PEFT itself; and tickets of both ends."""

import dataclasses
import json

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from kslottery_core.checkpoints import load_model, open_embedding
from kslottery_core.corpora import DEFAULT_PROMPT, Corpus, CorpusSpec, SentencePair
from kslottery_core.errors import CheckpointError, TicketError, TuningError
from kslottery_core.tickets import create_list_ticket
from kslottery_core.tuning import (
    TuningSettings,
    TuningTask,
    load_ticket_adapter,
    save_ticket_adapter,
    save_ticket_rows,
    tune,
    write_full_checkpoint,
)

PAIRS = tuple(SentencePair(f"the {word} cat", f"a {word} bird") for word in ("small", "red", "green", "old"))
SETTINGS = TuningSettings(learning_rate=0.05, max_steps=4, batch_size=4)
TICKET = create_list_ticket([3, 20, 30], 64)
IDS = torch.tensor([[3, 20, 7, 30, 12]])

pytestmark = pytest.mark.filterwarnings(
    "ignore:.is_gradient_checkpointing. is deprecated:FutureWarning",
    "ignore:Model has .tie_word_embeddings=True.:UserWarning",
)


def run(method, folder, model, *, settings=SETTINGS, **options):
    task = TuningTask(
        method,
        str(model),
        corpus=Corpus("tiny", PAIRS, (), "0" * 64),
        languages=CorpusSpec("tiny.jsonl", "en", "ca"),
        prompt=DEFAULT_PROMPT,
        settings=settings,
        **options,
    )
    return tune(task, folder)


def compute_logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


def train_with_peft(base, folder, token_ids, steps=3):
    """An adapter that PEFT made, trained and saved; returns its model."""
    model = AutoModelForCausalLM.from_pretrained(base)
    config = peft.TrainableTokensConfig(token_indices=token_ids, target_modules=["embed_tokens"], task_type="CAUSAL_LM")
    wrapped = peft.get_peft_model(model, config)
    optimizer = torch.optim.AdamW([p for p in wrapped.parameters() if p.requires_grad], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        wrapped(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()
    wrapped.save_pretrained(folder)
    return wrapped.eval()


@pytest.mark.parametrize(
    ("fixture", "rows"), [("tiny_llama_folder", "input"), ("tiny_tied_llama_folder", "input_and_head")]
)
def test_peft_opens_an_exported_ticket_and_gives_the_same_logits(request, tmp_path, fixture, rows):
    base = request.getfixturevalue(fixture)
    tuned = run("ticket", tmp_path, base, ticket=TICKET, settings=dataclasses.replace(SETTINGS, ticket_rows=rows))
    adapter = save_ticket_adapter(tmp_path / "ticket", tmp_path / "adapter")
    assert peft.PeftConfig.from_pretrained(adapter).base_model_name_or_path == str(base)
    opened = peft.AutoPeftModelForCausalLM.from_pretrained(adapter).eval()
    assert torch.equal(compute_logits(opened), compute_logits(tuned.model))
    assert not torch.equal(compute_logits(opened), compute_logits(AutoModelForCausalLM.from_pretrained(base)))
    merged = opened.merge_and_unload()
    assert torch.equal(compute_logits(merged), compute_logits(tuned.model))
    ours, _ = load_model(adapter)
    assert torch.equal(compute_logits(ours), compute_logits(tuned.model))


@pytest.mark.parametrize("fixture", ["tiny_llama_folder", "tiny_tied_llama_folder"])
def test_a_ticket_read_from_peft_gives_the_logits_of_peft(request, tmp_path, fixture):
    base = request.getfixturevalue(fixture)
    theirs = train_with_peft(base, tmp_path / "adapter", [30, 3, 20])
    read = load_ticket_adapter(tmp_path / "adapter")
    assert read.ticket.token_ids == (3, 20, 30)
    assert (read.ticket.rule, read.ticket.vocabulary_size, read.ticket.width) == ("list", 64, 16)
    assert len(read.ticket.tokens) == 3
    assert read.with_head == ("tied" in fixture)
    stored = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    rows = stored["base_model.model.model.embed_tokens.trainable_tokens_delta"]
    assert torch.equal(read.rows, rows[[1, 2, 0]])
    folder = save_ticket_rows(
        tmp_path / "ticket", read.ticket, read.rows, read.source, read.revision, with_head=read.with_head
    )
    opened, _ = load_model(folder)
    assert torch.equal(compute_logits(opened), compute_logits(theirs))
    assert torch.equal(open_embedding(folder).read_token_rows([30]), rows[:1])
    assert open_embedding(folder).tied == ("tied" in fixture)
    written = AutoModelForCausalLM.from_pretrained(write_full_checkpoint(folder, tmp_path / "whole"))
    assert torch.equal(compute_logits(written), compute_logits(theirs))


def test_a_ticket_survives_the_way_to_peft_and_back(tiny_llama_folder, tmp_path):
    run("ticket", tmp_path, tiny_llama_folder, ticket=TICKET)
    save_ticket_adapter(tmp_path / "ticket", tmp_path / "adapter")
    read = load_ticket_adapter(tmp_path / "adapter")
    before = load_file(tmp_path / "ticket" / "rows.safetensors")
    assert read.ticket.token_ids == TICKET.token_ids
    assert torch.equal(read.rows, before["rows"])
    assert read.source == str(tiny_llama_folder)


def test_an_input_ticket_of_a_tied_base_is_no_adapter(tiny_tied_llama_folder, tmp_path):
    run("ticket", tmp_path, tiny_tied_llama_folder, ticket=TICKET)
    with pytest.raises(TicketError, match=r"changes input rows alone, but its base .* export a whole checkpoint"):
        save_ticket_adapter(tmp_path / "ticket", tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


def test_an_embedding_whose_stored_name_is_shorter_finds_its_module(tmp_path, save_tiny_model):
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=64, n_embd=16, n_layer=1, n_head=2, n_positions=64, bos_token_id=1, eos_token_id=2,
        tie_word_embeddings=False,
    )  # fmt: skip
    base = save_tiny_model(GPT2LMHeadModel(config), tmp_path / "gpt2")
    folder = save_ticket_rows(tmp_path / "ticket", create_list_ticket([3, 7], 64), torch.randn(2, 16), str(base))
    adapter = save_ticket_adapter(folder, tmp_path / "adapter")
    assert peft.PeftConfig.from_pretrained(adapter).target_modules == ["transformer.wte"]
    opened = peft.AutoPeftModelForCausalLM.from_pretrained(adapter).eval()
    ours, _ = load_model(folder)
    assert torch.equal(compute_logits(opened), compute_logits(ours))


def test_a_ticket_on_a_tuned_ticket_is_exported_over_that_base(tiny_llama_folder, tmp_path):
    first = save_ticket_rows(
        tmp_path / "first", create_list_ticket([5], 64), torch.randn(1, 16), str(tiny_llama_folder)
    )
    run("ticket", tmp_path, first, ticket=TICKET)
    adapter = save_ticket_adapter(tmp_path / "ticket", tmp_path / "adapter")
    assert peft.PeftConfig.from_pretrained(adapter).base_model_name_or_path == str(first)
    expected, _ = load_model(tmp_path / "ticket")
    opened = peft.PeftModel.from_pretrained(load_model(first)[0], adapter).eval()
    assert torch.equal(compute_logits(opened), compute_logits(expected))
    assert torch.equal(compute_logits(load_model(adapter)[0]), compute_logits(expected))


def change_adapter(folder, *, rows=None, **settings):
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, **settings}))
    if rows is not None:
        name = "base_model.model.model.embed_tokens.trainable_tokens_delta"
        save_file({name: rows}, folder / "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"token_indices": [3, 20, 3]}, TicketError, "found the id 3 more than once"),
        ({"token_indices": [3, 20, 64]}, TicketError, "expected token ids from 0 to 63, found 64"),
        ({"token_indices": [3, -1, 4]}, TicketError, "expected token ids from 0 to 63, found -1"),
        ({"token_indices": [3]}, TicketError, "expected 1 rows of width 16, found 3 of width 16"),
        ({"rows": torch.zeros(3, 8)}, TicketError, "expected 3 rows of width 16, found 3 of width 8"),
        ({"token_indices": "all"}, CheckpointError, "expected a list of token ids"),
        ({"peft_type": "LORA"}, TicketError, "expected an adapter of type TRAINABLE_TOKENS, found 'LORA'"),
        ({"base_model_name_or_path": ""}, CheckpointError, "expected the path or hub id of the base model"),
    ],
)
def test_an_adapter_that_is_no_ticket_of_its_base_is_refused(tiny_llama_folder, tmp_path, changes, error, message):
    train_with_peft(tiny_llama_folder, tmp_path / "adapter", [3, 20, 30], steps=1)
    change_adapter(tmp_path / "adapter", **changes)
    with pytest.raises(error, match=message):
        load_ticket_adapter(tmp_path / "adapter")


def test_an_adapter_without_rows_of_the_embedding_is_refused(tiny_llama_folder, tmp_path):
    train_with_peft(tiny_llama_folder, tmp_path / "adapter", [3], steps=1)
    save_file({"base_model.model.other": torch.zeros(1)}, tmp_path / "adapter" / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match="expected replaced rows of the input embedding"):
        load_ticket_adapter(tmp_path / "adapter")


def test_a_ticket_of_both_ends_is_saved_opened_and_written_out_tied(tiny_tied_llama_folder, tmp_path):
    settings = dataclasses.replace(SETTINGS, ticket_rows="input_and_head")
    ticket = create_list_ticket([3, 20, 30], 64)
    tuned = run("ticket", tmp_path, tiny_tied_llama_folder, settings=settings, ticket=ticket, output="checkpoint")
    assert tuned.report.trained_parameters == 3 * 16
    assert not tuned.report.untied_head
    assert tuned.model.lm_head.weight is tuned.model.model.embed_tokens.weight
    opened, _ = load_model(tmp_path / "ticket")
    written = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    for model in (opened, written):
        assert torch.equal(compute_logits(model), compute_logits(tuned.model))
        assert model.lm_head.weight is model.model.embed_tokens.weight
    plain = run("ticket", tmp_path / "plain", tiny_tied_llama_folder, ticket=ticket)
    assert plain.report.untied_head
    assert not torch.equal(compute_logits(plain.model), compute_logits(tuned.model))


def test_both_ends_of_an_untied_model_are_refused(tiny_llama_folder, tmp_path):
    settings = dataclasses.replace(SETTINGS, ticket_rows="input_and_head")
    with pytest.raises(TuningError, match="whose output head is its input embedding"):
        run("ticket", tmp_path / "new", tiny_llama_folder, settings=settings, ticket=create_list_ticket([3], 64))
    assert not (tmp_path / "new").exists()


def test_a_ticket_of_a_larger_vocabulary_is_refused_and_of_a_smaller_one_noted(tiny_llama_folder, tmp_path):
    with pytest.raises(TicketError, match="made for a vocabulary of 100 tokens, this model has 64 rows"):
        run("ticket", tmp_path / "new", tiny_llama_folder, ticket=create_list_ticket([3], 100))
    tuned = run("ticket", tmp_path, tiny_llama_folder, ticket=create_list_ticket([3], 60))
    assert "The ticket was made for a vocabulary of 60 tokens, this model has 64 rows." in tuned.report.notes
