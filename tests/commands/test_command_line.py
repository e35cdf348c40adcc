"""The command line as a person types it: what it prints, what it writes, and one sentence with status 2 when wrong."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from kslottery_core.checkpoints import open_embedding
from kslottery_core.runs import RunStore

PAIRS = [("the small cat", "a red bird"), ("a green bird", "the house"), ("the red house", "a cat"), ("a", "the")]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KSLOTTERY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"translation": {"en": s, "ca": t}}) + "\n" for s, t in PAIRS))
    return path


def test_ks_prints_a_summary_and_the_top_tokens(run, tiny_llama_folder, tiny_tuned_llama_folder):
    status, out, _ = run("ks", tiny_llama_folder, tiny_tuned_llama_folder, "--top", 3)
    assert status == 0
    assert "64 tokens of width 16" in out
    assert "rows changed   3 (4.7%)" in out
    assert "uncalibrated" in out
    table = out.split("\n\n")[1].splitlines()
    assert {line.split()[-7] for line in table[2:]} == {"3", "5", "8"}
    assert len(table) == 5


def test_ks_writes_counts_width_and_shifts(run, tiny_llama_folder, tiny_tuned_llama_folder, tmp_path):
    status, out, _ = run("ks", tiny_llama_folder, tiny_tuned_llama_folder, "--out", tmp_path / "ks.npz")
    assert (status, "Wrote 64 counts of width 16" in out) == (0, True)
    with np.load(tmp_path / "ks.npz") as file:
        assert file["counts"].shape == (64,)
        assert int(file["width"]) == 16
        assert np.flatnonzero(file["counts"]).tolist() == [3, 5, 8]
        assert {"l2_shift", "cosine", "mean_shift"} <= set(file.files)


def test_ks_works_on_single_files(run, tmp_path):
    before = torch.randn(10, 8)
    save_file({"rows": before}, tmp_path / "before.safetensors")
    save_file({"rows": before + 1}, tmp_path / "after.safetensors")
    status, out, _ = run("ks", tmp_path / "before.safetensors", tmp_path / "after.safetensors", "--out", tmp_path / "k")
    assert status == 0, out
    assert (tmp_path / "k").exists()


def test_ticket_writes_the_winning_tokens(run, tiny_llama_folder, tiny_tuned_llama_folder, tmp_path):
    out_path = tmp_path / "ticket.json"
    status, out, _ = run("ticket", tiny_llama_folder, tiny_tuned_llama_folder, "--alpha", 0.05, "--out", out_path)
    assert status == 0
    ticket = json.loads(out_path.read_text())
    assert ticket["token_ids"] == [3, 5, 8]
    assert (ticket["significance_level"], ticket["correction"], ticket["width"]) == (0.05, "none", 16)
    assert ticket["fingerprint_before"] == open_embedding(tiny_llama_folder).fingerprint
    assert "3 of 64 tokens" in out


def test_ticket_by_top_k_and_by_tau_and_published(run, tiny_llama_folder, tiny_tuned_llama_folder):
    assert "2 of 64 tokens" in run("ticket", tiny_llama_folder, tiny_tuned_llama_folder, "--top-k", 2)[1]
    assert "3 of 64 tokens" in run("ticket", tiny_llama_folder, tiny_tuned_llama_folder, "--threshold", "tau")[1]
    status, out, _ = run("ticket", "--published", "en-ca@0.5")
    assert (status, "81 of 32,000 tokens" in out, "and 41 more" in out) == (0, True, True)


def test_an_empty_ticket_is_no_error_and_says_what_would_help(run, tiny_llama_folder):
    status, out, _ = run("ticket", tiny_llama_folder, tiny_llama_folder)
    assert (status, "No row differs" in out) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ks", "nowhere/at/all", "nor/here"), "nowhere/at/all"),
        (("ks", "{model}", "{model}", "--alpha", "2"), "0 < alpha < 1"),
        (("ks", "{model}", "{model}", "--device", "tpu"), "auto, cpu, cuda"),
        (("ticket", "{model}"), "two checkpoints"),
        (("ticket", "--published", "xx"), "expected one of ca"),
        (("ticket", "{model}", "{model}", "--top-k", "0"), "from 1 to 64"),
        (("tune", "ticket", "{model}", "--train", "{corpus}"), "needs a ticket"),
        (("tune", "ticket", "{model}", "--ticket", "missing.json"), "missing.json"),
        (("tune", "embedding", "{model}", "--train", "none.jsonl"), "none.jsonl"),
        (("tune", "embedding", "{model}", "--train", "{corpus}", "--learning-rate", "0"), "learning_rate"),
        (("tune", "embedding", "{model}", "--train", "{corpus}", "--prompt", "no place"), "{source}"),
        (("evaluate", "{model}", "--test", "none.jsonl"), "none.jsonl"),
        (("evaluate", "{model}", "--test", "{corpus}", "--beams", "0"), "beams"),
        (("runs", "show", "nothing"), "no runs at all"),
        (("runs", "cancel", "nothing"), "no runs at all"),
        (("export", "nothing", "out"), "no runs at all"),
        (("demo", "build", "{corpus}"), "empty or new folder"),
    ],
)
def test_wrong_input_is_one_sentence_and_status_two(run, home, tiny_llama_folder, corpus, arguments, message):
    filled = [a.replace("{model}", str(tiny_llama_folder)).replace("{corpus}", str(corpus)) for a in arguments]
    status, _, err = run(*filled)
    assert status == 2
    assert err.startswith("Error: ")
    assert message in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


def test_tune_evaluate_list_show_and_export_in_this_process(
    run, home, corpus, tiny_llama_folder, tiny_tuned_llama_folder, tmp_path
):
    run("ticket", tiny_llama_folder, tiny_tuned_llama_folder, "--out", tmp_path / "t.json")
    status, out, err = run(
        "tune", "ticket", tiny_llama_folder, "--ticket", tmp_path / "t.json", "--train", corpus, "--test", corpus,
        "--max-steps", 3, "--max-new-tokens", 4, "--device", "cpu", "--watch", "foreground", "--name", "my run",
    )  # fmt: skip
    assert status == 0, err
    assert "my run: finished" in out
    assert "trained 48 parameters" in out
    assert "BLEU, first line" in out
    assert "tok:13a" in out
    assert "4 sentences, greedy, at most 4 new tokens, float32, prompt " in out
    (record,) = RunStore().list()
    status, out, _ = run("runs", "list")
    assert record.run_id in out
    assert "finished" in out
    status, out, _ = run("runs", "show", record.run_id)
    assert "chrF++, whole output" in out
    assert "finished" in run("runs", "cancel", record.run_id)[1]
    status, out, _ = run("export", record.run_id, tmp_path / "whole")
    assert status == 0
    AutoModelForCausalLM.from_pretrained(tmp_path / "whole")
    status, _, err = run("export", record.run_id, tmp_path / "whole")
    assert (status, "choose another" in err) == (2, True)
    status, _, err = run("export", tiny_llama_folder, tmp_path / "x")
    assert (status, "no rows.safetensors" in err) == (2, True)


def test_evaluate_follows_a_detached_run_to_its_end(run, home, corpus, tiny_llama_folder):
    status, out, err = run(
        "evaluate", tiny_llama_folder, "--test", corpus, "--max-new-tokens", 4, "--device", "cpu"
    )  # fmt: skip
    assert status == 0, err
    assert "finished" in out
    assert "BLEU, whole output" in out


def test_a_failed_run_ends_with_its_sentence(run, home, corpus, tiny_llama_folder, tmp_path):
    (tmp_path / "wide.json").write_text('{"token_ids": [99], "vocabulary_size": 100, "rule": "list"}')
    status, _, err = run(
        "tune", "ticket", tiny_llama_folder, "--ticket", tmp_path / "wide.json", "--train", corpus, "--device", "cpu",
        "--watch", "foreground",
    )  # fmt: skip
    assert status == 2
    assert "token id 99 does not exist in this model" in err


def test_an_empty_store_is_told(run, home):
    assert "No runs yet" in run("runs", "list")[1]


def test_the_module_and_the_script_are_the_same_command_line():
    by_module = subprocess.run([sys.executable, "-m", "kslottery_core", "--help"], capture_output=True, text=True)
    assert by_module.returncode == 0
    for command in ("ks", "ticket", "tune", "evaluate", "export", "runs", "demo"):
        assert command in by_module.stdout
    script = Path(sys.executable).parent / "kslottery"
    by_script = subprocess.run([script, "ticket", "--published", "zz"], capture_output=True, text=True)
    assert by_script.returncode == 2
    assert by_script.stderr.startswith("Error: published ticket: expected one of")
