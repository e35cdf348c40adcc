"""Which runs trained a pair's rows: the files of the model that a run starts from are looked at, and cheaply."""

import json
import shutil

import pytest

from dashboard import loaders
from dashboard.loaders import PairChoice
from dashboard.views.tokens.loading import list_row_runs


@pytest.fixture
def comparison(pair_folder):
    return loaders.load_comparison(PairChoice(str(pair_folder / "before"), str(pair_folder / "after")))


@pytest.fixture
def model(pair_folder, tmp_path, save_run):
    """A copy of the after model, from which a run on all rows started."""
    shutil.copytree(pair_folder / "after", tmp_path / "model")
    folder = save_run("20260101-000000-embedding-aaaa", name="Whole embedding", method="embedding")
    spec = json.loads((folder / "spec.json").read_text())
    (folder / "spec.json").write_text(json.dumps(spec | {"model": str(tmp_path / "model")}))
    return tmp_path / "model"


def list_names(comparison):
    return [run.name for run in list_row_runs(comparison).runs]


def test_what_a_model_is_need_not_be_asked_again_for_its_rows(comparison, model, monkeypatch):
    monkeypatch.setattr(
        "kslottery_core.checkpoints.architecture.read_architecture",
        lambda config_file: pytest.fail("transformers was asked, though the same config.json was read for the pair"),
    )
    assert list_names(comparison) == ["Whole embedding"]


def test_a_model_overwritten_in_place_is_counted_anew(comparison, model):
    from safetensors.numpy import load_file, save_file

    assert list_names(comparison) == ["Whole embedding"]
    changed, weights = model.stat().st_mtime_ns, model / "model.safetensors"
    tensors = load_file(weights)
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"][:40].copy()
    tensors["lm_head.weight"] = tensors["lm_head.weight"][:40].copy()
    save_file(tensors, model.parent / "other.safetensors", metadata={"format": "pt"})
    weights.write_bytes((model.parent / "other.safetensors").read_bytes())
    config = model / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"vocab_size": 40}))
    assert model.stat().st_mtime_ns == changed
    assert list_names(comparison) == []


def test_a_model_that_cannot_be_read_is_looked_at_again(comparison, model):
    weights = model / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(b"half a file")
    found = list_row_runs(comparison)
    assert (found.runs, found.unknown) == ((), 1)
    weights.write_bytes(content)
    assert list_names(comparison) == ["Whole embedding"]
