"""A tokenizer alone: from everything that a model loads from, without reading weights."""

import json
import shutil
from pathlib import Path

import pytest

from kslottery_core.checkpoints import load_tokenizer
from kslottery_core.errors import CheckpointError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tiny_llama_folder: Path, tmp_path: Path) -> Path:
    """A model folder whose weights are no weights, so that reading them would fail."""
    copied = Path(shutil.copytree(tiny_llama_folder, tmp_path / "model"))
    (copied / "model.safetensors").write_bytes(b"not weights")
    return copied


def count_words(source: str | Path, **options: str) -> int:
    return len(load_tokenizer(source, **options)("the cat")["input_ids"])


def test_a_folder_and_a_file_in_it_give_its_tokenizer(folder: Path) -> None:
    assert load_tokenizer(folder).get_vocab() == load_tokenizer(folder / "model.safetensors").get_vocab()
    assert load_tokenizer(folder).eos_token == "</s>"


def test_an_adapter_or_ticket_without_its_own_has_its_bases(folder: Path, tmp_path: Path) -> None:
    ticket, adapter = tmp_path / "tuned", tmp_path / "adapter"
    ticket.mkdir()
    for name, content in (("ticket.json", {}), ("base.json", {"source": str(folder)}), ("rows.safetensors", {})):
        (ticket / name).write_text(json.dumps(content))
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(ticket)}))
    assert count_words(ticket) == count_words(adapter) == count_words(folder)
    shutil.copy(folder / "tokenizer.json", adapter)
    shutil.rmtree(folder)
    assert count_words(adapter) > 0
    with pytest.raises(CheckpointError, match=r"tuned: its base model '.*model' cannot be opened"):
        load_tokenizer(ticket)


def test_a_base_that_leads_back_to_itself_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(tmp_path)}))
    with pytest.raises(CheckpointError, match="leads back to itself"):
        load_tokenizer(tmp_path)


def test_a_cached_hub_model_gives_its_tokenizer_offline(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=r"org/tiny: .*the hub cannot be reached"):
        load_tokenizer("org/tiny")
    repository = tmp_path / "cache" / "models--org--tiny"
    shutil.copytree(folder, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "v2").write_text(COMMIT)
    assert count_words("org/tiny", revision="v2") == count_words(folder)


@pytest.mark.parametrize(
    ("name", "message"), [("model", "expected a tokenizer beside the model"), ("none", "path not found")]
)
def test_a_source_without_a_tokenizer_is_one_clear_error(folder: Path, name: str, message: str) -> None:
    for path in (*folder.glob("tokenizer*"), *folder.glob("special*")):
        path.unlink()
    with pytest.raises(CheckpointError, match=message):
        load_tokenizer(folder.with_name(name))
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="its tokenizer cannot be loaded"):
        load_tokenizer(folder)
