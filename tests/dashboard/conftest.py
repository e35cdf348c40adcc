import json
import shutil
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

import dashboard
import kslottery_core.runs
from dashboard import loaders
from dashboard.controls import picture
from kslottery_core.checkpoints import open_pair
from kslottery_core.ks import compute_pair_ks

APP = Path(dashboard.__file__).with_name("app.py")
VOCABULARY, WIDTH = 64, 32


def refuse_to_cancel(record, **how):
    raise AssertionError(f"{record.run_id} would be cancelled for real")


@pytest.fixture
def cancelled(monkeypatch):
    """Cancelling writes the run's `cancel` file and notes how it was asked for; nobody is signalled."""
    calls = []

    def cancel(record, **how):
        calls.append((record.run_id, how))
        (record.folder / "cancel").touch()
        return "The run has been asked to stop."

    monkeypatch.setattr(kslottery_core.runs, "cancel_run", cancel)
    return calls


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Runs and cached results of a test stay in its own folder, and no demo is found unless a test makes one."""
    monkeypatch.setenv("KSLOTTERY_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(loaders, "DEMO_PATH", tmp_path / "no-demo")
    # No page of a test may signal a process: the run it shows as alive is often the test itself.
    monkeypatch.setattr(kslottery_core.runs, "cancel_run", refuse_to_cancel)
    monkeypatch.setattr(picture, "HEAD_START_SECONDS", 0)  # no browser loads anything here
    yield tmp_path / "home"
    loaders.st.cache_resource.clear()


@pytest.fixture(scope="session")
def pair_folder(tmp_path_factory):
    """Two tiny Llama models with a tokenizer: rows 3 to 12 of `after` are moved, the lower the further."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("pair")
    words = ["<s>", "</s>", "the", ".", "7", *(f"▁word{number}" for number in range(VOCABULARY - 5))]
    core = Tokenizer(models.WordLevel({word: token_id for token_id, word in enumerate(words)}, unk_token="the"))
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")
    torch.manual_seed(3)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=WIDTH,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            tie_word_embeddings=False,
        )
    )
    for name in ("before", "after"):
        if name == "after":
            rows = model.get_input_embeddings().weight.data
            for token_id in range(3, 13):
                rows[token_id] += 0.01 * (13 - token_id) / 5
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder


@pytest.fixture
def tied_folder(pair_folder, tmp_path):
    """The same pair, as a model stores it whose output layer is its input embedding."""
    from safetensors.torch import load_file, save_file

    for name in ("before", "after"):
        shutil.copytree(pair_folder / name, tmp_path / "tied" / name)
        config = tmp_path / "tied" / name / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"tie_word_embeddings": True}))
        weights = tmp_path / "tied" / name / "model.safetensors"
        tensors = load_file(weights)
        tensors.pop("lm_head.weight")
        save_file(tensors, weights, metadata={"format": "pt"})
    return tmp_path / "tied"


@pytest.fixture
def pair(pair_folder):
    return open_pair(pair_folder / "before", pair_folder / "after")


@pytest.fixture
def result(pair):
    return compute_pair_ks(pair, device="cpu")


@pytest.fixture
def open_app(pair_folder):
    """Open a page of the app: `open_app("alpha", alpha="0.5")`; `with_pair=False` leaves the pair out."""

    def open_page(page="pair", *, with_pair=True, **address):
        app = AppTest.from_file(str(APP), default_timeout=60)
        if with_pair:
            address = {"before": str(pair_folder / "before"), "after": str(pair_folder / "after"), **address}
        for name, value in address.items():
            app.query_params[name] = value
        turn_to(app, page)
        assert not app.exception, app.exception[0].message
        return app

    return open_page


def turn_to(app, page):
    """Change the page as the sidebar does, and run."""
    app._page_hash = calc_hash("" if page == "pair" else page)
    return app.run()


@pytest.fixture
def go_to():
    return turn_to


@pytest.fixture
def save_run(home):
    """Write a run's folder as a worker leaves it: `save_run("name", state="finished", scores=[...])`."""

    def save(run_id, *, root=None, state="finished", message=None, scores=(), outputs=(), method="base", **status):
        folder = (root or home / "runs") / run_id
        folder.mkdir(parents=True)
        spec = {"name": status.pop("name", f"Run {run_id}"), "method": method, "model": "/models/base"}
        spec |= {"ticket": status.pop("ticket", None), "train": status.pop("train", None)}
        (folder / "spec.json").write_text(json.dumps(spec))
        content = {"state": state, "created": status.pop("created", 100.0), "message": message}
        if state != "queued":
            content |= {"started": 110.0}
        if state in ("finished", "failed", "cancelled"):
            content |= {"ended": 130.0}
        (folder / "status.json").write_text(json.dumps(content | status))
        if state == "finished":
            cost = {
                "trained_parameters": 64,
                "tuning_seconds": 12.5,
                "peak_memory_bytes": 2_000_000,
                "saved_bytes": 4096,
            }
            result = {"scores": list(scores), "stopped_share": 0.5, "cost": cost, "notes": ["a note"]}
            (folder / "result.json").write_text(json.dumps(result))
        if outputs:
            (folder / "outputs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in outputs))
        return folder

    return save


@pytest.fixture
def make_score():
    """A score as it stands in `result.json`; keyword arguments replace fields."""

    def make(value=20.0, **changes):
        fields = {
            "metric": "BLEU",
            "extraction": "whole output",
            "value": value,
            "signature": "nrefs:1|case:mixed|tok:13a",
            "decoding": "greedy",
            "prompt_hash": "p1",
            "test_set_hash": "t1",
            "sentences": 2,
        }
        return fields | changes

    return make


@pytest.fixture
def scanned(open_app):
    """The Layers page after the whole model was scanned."""
    app = open_app("layers")
    app.button(key="scan_button").click().run()
    return app
