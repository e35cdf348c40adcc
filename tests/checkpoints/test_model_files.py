import hashlib
import json
import os
import shutil
from types import SimpleNamespace

import pytest

from kslottery_core.checkpoints import compute_model_digest, find_last_change, model_files
from kslottery_core.errors import CheckpointError


@pytest.fixture
def model(tiny_llama_folder, tmp_path):
    return shutil.copytree(tiny_llama_folder, tmp_path / "model")


def change_weights(folder, name="model.layers.0.mlp.up_proj.weight"):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors[name] = tensors[name] + 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_copy_has_the_digest_of_its_original(model, tiny_llama_folder):
    os.utime(model / "model.safetensors", (1.0, 1.0))
    assert compute_model_digest(model) == compute_model_digest(tiny_llama_folder)
    assert compute_model_digest(model / "model.safetensors") == compute_model_digest(model)


def test_the_digest_is_that_of_all_contents_by_name(model):
    for name in ("optimizer.pt", "training_args.bin", "README.md", ".hidden.json"):
        (model / name).write_text("of no effect")
    expected = hashlib.sha256()
    for path in sorted(model.iterdir()):
        if path.name not in ("optimizer.pt", "training_args.bin", "README.md", ".hidden.json"):
            expected.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    assert compute_model_digest(model) == expected.hexdigest()


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja"])
def test_every_file_that_decides_something_counts(model, name):
    before = compute_model_digest(model)
    path = model / name
    path.write_text((path.read_text() if path.exists() else "") + "\n")
    assert compute_model_digest(model) != before


def test_other_layers_under_the_same_embedding_are_another_model(model):
    from kslottery_core.checkpoints import open_embedding

    digest, fingerprint = compute_model_digest(model), open_embedding(model).fingerprint
    change_weights(model)
    assert open_embedding(model).fingerprint == fingerprint
    assert compute_model_digest(model) != digest


def test_a_file_that_did_not_change_is_read_once(model, monkeypatch):
    read = []
    digest = hashlib.file_digest
    monkeypatch.setattr(model_files.hashlib, "file_digest", lambda file, kind: read.append(file) or digest(file, kind))
    compute_model_digest(model)
    first = len(read)
    compute_model_digest(model)
    assert first == len(list(model.iterdir())) and len(read) == first


def test_a_ticket_has_the_files_of_its_base_in_it(model, tmp_path):
    import torch
    from safetensors.torch import save_file

    ticket = tmp_path / "ticket"
    ticket.mkdir()
    save_file({"token_ids": torch.tensor([1]), "rows": torch.zeros(1, 16)}, ticket / "rows.safetensors")
    (ticket / "ticket.json").write_text("{}")
    (ticket / "base.json").write_text(json.dumps({"source": str(model)}))
    before = compute_model_digest(ticket)
    assert find_last_change(ticket) == (ticket / "base.json").stat().st_mtime
    change_weights(model)
    assert compute_model_digest(ticket) != before
    os.utime(model / "config.json", (4e9, 4e9))
    assert find_last_change(ticket) == 4e9
    (ticket / "base.json").write_text(json.dumps({"source": str(ticket)}))
    with pytest.raises(CheckpointError, match="leads back to itself"):
        compute_model_digest(ticket)


def test_a_lone_file_counts_with_what_belongs_to_it_alone(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF and more")
    before = compute_model_digest(path)
    (tmp_path / "other.gguf").write_bytes(b"GGUF of another")
    (tmp_path / "notes.json").write_text("{}")
    assert compute_model_digest(path) == before
    (tmp_path / "tokenizer_config.json").write_text("{}")
    assert compute_model_digest(path) != before


def test_a_hub_id_counts_by_its_revision_or_the_commit_that_is_loaded(tmp_path, monkeypatch):
    folder = tmp_path / "one"

    def fetch(files, name):
        files.folder = folder
        return folder / name

    monkeypatch.setattr(model_files.HubFiles, "fetch", fetch)
    pinned, unpinned = compute_model_digest("some/model", "v1"), compute_model_digest("some/model")
    folder.mkdir()
    (folder / "config.json").touch()
    assert find_last_change("some/model") == (folder / "config.json").stat().st_mtime
    assert find_last_change("some/model", "v1") is None
    folder = tmp_path / "two"
    assert compute_model_digest("some/model", "v1") == pinned != compute_model_digest("some/model", "v2")
    assert compute_model_digest("some/model") != unpinned


def test_a_file_that_cannot_be_read_is_told(model, monkeypatch):
    def refuse(*known):
        raise PermissionError("denied")

    monkeypatch.setattr(model_files, "_digest_file", refuse)
    with pytest.raises(CheckpointError, match=r"cannot be read \(denied\)"):
        compute_model_digest(model)
    monkeypatch.setattr(
        model_files, "_list_parts", lambda *given: SimpleNamespace(files=[("a", model / "a")], fetched=[])
    )
    with pytest.raises(CheckpointError, match="a file of it cannot be read"):
        find_last_change(model)
