"""`tune lora|prefix`, `export --as` and `bench tuning` as a person types them."""

import json

import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftConfig
from transformers import AutoModelForCausalLM

from kslottery_core.checkpoints import load_model
from kslottery_core.runs import RunStore

PAIRS = [("the small cat", "a red bird"), ("a green bird", "the house"), ("the red house", "a cat"), ("a", "the")]
IDS = torch.tensor([[3, 20, 7, 30, 12]])
LISTED = {"token_ids": [3, 20], "vocabulary_size": 64, "rule": "list"}

pytestmark = pytest.mark.filterwarnings(
    "ignore:.is_gradient_checkpointing. is deprecated:FutureWarning",
    "ignore:Model has .tie_word_embeddings=True.:UserWarning",
)


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("KSLOTTERY_HOME", str(tmp_path / "home"))


@pytest.fixture
def tune(run, tmp_path):
    """Tune in the foreground; returns the run's record."""
    corpus = tmp_path / "pairs.jsonl"
    corpus.write_text("".join(json.dumps({"translation": {"en": s, "ca": t}}) + "\n" for s, t in PAIRS))
    (tmp_path / "ticket.json").write_text(json.dumps(LISTED))

    def tune_method(method, model, *options):
        given = ("--ticket", tmp_path / "ticket.json") if method == "ticket" else ()
        status, out, err = run(
            "tune", method, model, *given, "--train", corpus, "--test", corpus, "--max-steps", 2,
            "--learning-rate", 0.05, "--max-new-tokens", 4, "--device", "cpu", "--watch", "foreground", *options,
        )  # fmt: skip
        assert status == 0, err
        assert "finished" in out
        return RunStore().list()[0]

    return tune_method


def compute_logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def test_a_lora_run_is_scored_and_written_out_whole(run, tune, tiny_llama_folder, tmp_path):
    record = tune("lora", tiny_llama_folder, "--lora-rank", 2, "--lora-alpha", 4, "--lora-targets", "q_proj, v_proj")
    lora = record.spec.tuning.lora
    assert (lora.rank, lora.alpha, lora.target_modules) == (2, 4.0, ("q_proj", "v_proj"))
    assert record.result["scores"]
    assert record.result["cost"]["trained_parameters"] == 2 * 2 * 2 * (16 + 16)
    assert record.result["cost"]["saved_bytes"] > 0
    assert run("export", record.run_id, tmp_path / "whole")[0] == 0
    adapter, _ = load_model(record.checkpoints / "adapter")
    written = AutoModelForCausalLM.from_pretrained(tmp_path / "whole")
    torch.testing.assert_close(compute_logits(written), compute_logits(adapter))
    assert run("export", record.run_id, tmp_path / "copy", "--as", "adapter")[0] == 0
    opened = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "copy")
    torch.testing.assert_close(compute_logits(opened), compute_logits(adapter), rtol=1e-4, atol=1e-5)
    status, _, err = run("export", record.run_id, tmp_path / "rows", "--as", "ticket")
    assert (status, "found 'LORA', which is no ticket" in err) == (2, True)


def test_a_prefix_run_is_scored_and_cannot_be_written_out_whole(run, tune, tiny_llama_folder, tmp_path):
    record = tune("prefix", tiny_llama_folder, "--virtual-tokens", 3)
    assert record.spec.tuning.prefix.virtual_tokens == 3
    assert record.result["scores"]
    assert record.result["cost"]["trained_parameters"] == 3 * 2 * 2 * 16
    status, _, err = run("export", record.run_id, tmp_path / "whole")
    assert (status, "cannot be merged into a whole checkpoint" in err) == (2, True)
    assert len(err.strip().splitlines()) == 1
    assert run("export", record.run_id, tmp_path / "copy", "--as", "adapter")[0] == 0
    assert PeftConfig.from_pretrained(tmp_path / "copy").num_virtual_tokens == 3
    status, _, err = run(
        "evaluate", tmp_path / "copy", "--test", tmp_path / "pairs.jsonl", "--max-new-tokens", 4, "--device", "cpu",
        "--watch", "foreground",
    )  # fmt: skip
    assert status == 0, err
    again = RunStore().list()[0].result["scores"]
    assert [score["value"] for score in again] == [score["value"] for score in record.result["scores"]]


def test_a_tied_ticket_goes_to_peft_and_back(run, tune, tiny_tied_llama_folder, tmp_path):
    record = tune("ticket", tiny_tied_llama_folder, "--ticket-rows", "input_and_head")
    assert record.result["tuning"]["untied_head"] is False
    status, out, _ = run("export", record.run_id, tmp_path / "adapter", "--as", "adapter")
    assert (status, "Wrote the adapter" in out) == (0, True)
    status, out, _ = run("export", tmp_path / "adapter", tmp_path / "ticket", "--as", "ticket")
    assert (status, "Wrote the ticket of 2 tokens" in out) == (0, True)
    ours, _ = load_model(record.checkpoints / "ticket")
    theirs = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter")
    back, _ = load_model(tmp_path / "ticket")
    assert torch.equal(compute_logits(ours), compute_logits(theirs))
    assert torch.equal(compute_logits(ours), compute_logits(back))
    status, _, err = run("export", record.run_id, tmp_path / "x", "--as", "ticket")
    assert (status, "is a tuned ticket already" in err) == (2, True)


def test_a_copied_adapter_finds_the_base_that_was_named_from_its_folder(run, tune, tiny_llama_folder, tmp_path):
    record = tune("lora", tiny_llama_folder)
    config_file = record.checkpoints / "adapter" / "adapter_config.json"
    config = json.loads(config_file.read_text())
    (config_file.parent / "base").symlink_to(tiny_llama_folder)
    config_file.write_text(json.dumps({**config, "base_model_name_or_path": "base"}))
    assert run("export", config_file.parent, tmp_path / "copy", "--as", "adapter")[0] == 0
    assert PeftConfig.from_pretrained(tmp_path / "copy").base_model_name_or_path == str(tiny_llama_folder.resolve())


def test_a_run_that_left_a_whole_model_needs_no_export(run, tune, tiny_llama_folder, tmp_path):
    record = tune("full", tiny_llama_folder)
    status, _, err = run("export", record.run_id, tmp_path / "x")
    assert (status, "left a whole checkpoint already" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lora", "--lora-rank", 0), "lora rank: expected a whole number of at least 1, found 0"),
        (("lora", "--lora-targets", "q_proj,"), "lora target modules: expected names"),
        (("lora", "--virtual-tokens", 3), "virtual_tokens: the method lora has no such option, only prefix does"),
        (("lora", "--ticket-rows", "input_and_head"), "belongs to the method ticket, found the method lora"),
        (("prefix", "--virtual-tokens", 0), "virtual tokens: expected a whole number of at least 1"),
        (("prefix", "--lora-rank", 4), "rank: the method prefix has no such option, only lora does"),
        (("prefix", "--output", "checkpoint"), "cannot be merged into a whole checkpoint"),
        (("full", "--learning-rate", 0), "learning_rate: expected a number above 0"),
    ],
)
def test_wrong_options_are_one_sentence(run, tiny_llama_folder, tmp_path, arguments, message):
    corpus = tmp_path / "pairs.jsonl"
    corpus.write_text(json.dumps({"translation": {"en": "a", "ca": "b"}}) + "\n")
    method, *options = arguments
    status, _, err = run("tune", method, tiny_llama_folder, "--train", corpus, *options)
    assert status == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "home").exists()


def test_bench_tuning_prints_a_table_and_writes_the_figures(run, tmp_path):
    status, out, err = run(
        "bench", "tuning", "--rows", 200, "--width", 16, "--batch-size", 2, "--length", 5, "--ticket-size", 3,
        "--repeats", 1, "--device", "cpu", "--out", tmp_path / "figures.json",
    )  # fmt: skip
    assert status == 0, err
    assert "PEFT TrainableTokens" in out
    assert "200 x 16 (0 MB)" in out
    assert "2 x 5 x 16 (0 MB)" in out
    written = json.loads((tmp_path / "figures.json").read_text())
    assert [timing["name"] for timing in written["timings"]] == [
        "whole embedding",
        "PEFT TrainableTokens",
        "our ticket",
    ]
    status, _, err = run("bench", "tuning", "--dtype", "int8")
    assert (status, "dtype: expected one of" in err) == (2, True)
