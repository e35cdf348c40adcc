"""Hub ids: what is in the cache opens offline, what is not gives one sentence."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub import errors

from kslottery_core.checkpoints import count_parameters, load_model, open_embedding, open_parameters
from kslottery_core.errors import CheckpointError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, used instead of the person's."""
    folder = tmp_path / "hub-cache"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return folder


def fill_cache(cache: Path, model: Path, *, leave_out: tuple[str, ...] = (), branch: str = "main") -> Path:
    repository = cache / "models--org--tiny"
    snapshot = repository / "snapshots" / COMMIT
    shutil.copytree(model, snapshot, ignore=shutil.ignore_patterns(*leave_out))
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    (repository / "refs" / branch).write_text(COMMIT)
    return snapshot


def test_cached_model_opens_offline(cache: Path, tiny_llama_folder: Path) -> None:
    snapshot = fill_cache(cache, tiny_llama_folder)
    matrix, local = open_embedding("org/tiny"), open_embedding(tiny_llama_folder)
    assert (matrix.kind, matrix.source, matrix.model_folder) == ("hub", "org/tiny", snapshot)
    assert torch.equal(matrix.read_rows(0, 64), local.read_rows(0, 64))
    assert (matrix.tied, matrix.token_strings) == (False, local.token_strings)


def test_revision_chooses_the_snapshot(cache: Path, tiny_llama_folder: Path) -> None:
    fill_cache(cache, tiny_llama_folder, branch="v2")
    assert open_embedding("org/tiny", revision="v2").shape == (64, 16)
    assert open_embedding("org/tiny", revision=COMMIT).shape == (64, 16)
    with pytest.raises(CheckpointError, match=r"org/tiny: .*the hub cannot be reached"):
        open_embedding("org/tiny")


def test_cached_shard_of_the_embedding_is_enough(
    cache: Path, tmp_path: Path, make_tiny_llama: Callable[..., Any]
) -> None:
    import json

    make_tiny_llama().save_pretrained(tmp_path / "m", max_shard_size="8KB")
    shards = json.loads((tmp_path / "m" / "model.safetensors.index.json").read_text())["weight_map"]
    others = set(shards.values()) - {shards["model.embed_tokens.weight"]}
    fill_cache(cache, tmp_path / "m", leave_out=tuple(others))
    matrix = open_embedding("org/tiny")
    assert matrix.read_rows(0, 64).shape == (64, 16)
    assert count_parameters(matrix) == sum(parameter.numel() for parameter in make_tiny_llama().parameters())
    with pytest.raises(CheckpointError, match="org/tiny"):
        load_model("org/tiny")


def test_model_of_its_early_days_opens_by_its_bare_name_once_cached(cache: Path, tiny_llama_folder: Path) -> None:
    with pytest.raises(CheckpointError, match="write org/name"):
        open_embedding("tiny")
    fill_cache(cache, tiny_llama_folder).parents[1].rename(cache / "models--tiny")
    assert open_embedding("tiny").kind == "hub"


def test_cached_adapter_opens_on_its_cached_base(
    cache: Path, tmp_path: Path, tiny_llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    from safetensors.torch import save_file

    folder = tmp_path / "adapter"
    folder.mkdir()
    config = {"peft_type": "TRAINABLE_TOKENS", "token_indices": [4], "target_modules": ["embed_tokens"]}
    (folder / "adapter_config.json").write_text(
        json.dumps({**config, "base_model_name_or_path": str(tiny_llama_folder), "task_type": "CAUSAL_LM"})
    )
    rows = torch.randn(1, 16)
    save_file(
        {"base_model.model.model.embed_tokens.trainable_tokens_delta": rows}, folder / "adapter_model.safetensors"
    )
    (folder / "config.json").write_text((tiny_llama_folder / "config.json").read_text())
    fill_cache(cache, folder)
    assert torch.equal(open_embedding("org/tiny").read_rows(4, 5), rows)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(folder))
    model, _ = load_model("org/tiny")
    assert torch.equal(model.get_input_embeddings().weight[4:5], rows)


def test_every_matrix_of_a_cached_model_opens_offline(cache: Path, tmp_path: Path, tiny_llama_folder: Path) -> None:
    import json

    from safetensors.torch import save_file

    with pytest.raises(CheckpointError, match=r"org/tiny: .*the hub cannot be reached"):
        open_parameters("org/tiny")
    snapshot = fill_cache(cache, tiny_llama_folder)
    parameters = open_parameters("org/tiny", revision="main")
    assert (parameters.kind, len(parameters.names)) == ("hub", 16)
    name = "model.layers.1.mlp.up_proj.weight"
    expected = open_parameters(tiny_llama_folder).open(name).read_rows(0, 32)
    assert torch.equal(parameters.open(name).read_rows(0, 32), expected)
    (snapshot / "model.safetensors").unlink()
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 3, "base_model_name_or_path": str(tiny_llama_folder)}
    (snapshot / "adapter_config.json").write_text(json.dumps(config))
    prefix = "base_model.model.model.layers.1.mlp.up_proj"
    tensors = {f"{prefix}.lora_A.weight": torch.ones(1, 16), f"{prefix}.lora_B.weight": torch.ones(32, 1)}
    save_file(tensors, snapshot / "adapter_model.safetensors")
    assert torch.equal(open_parameters("org/tiny").open(name).read_rows(0, 32), expected + 3)


def test_whole_model_loads_from_the_cache(
    cache: Path, tiny_llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = fill_cache(cache, tiny_llama_folder)
    asked: dict[str, Any] = {}

    def download(repository: str, **options: Any) -> str:
        asked.update(options, repository=repository)
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    model, tokenizer = load_model("org/tiny")
    assert model.config.vocab_size == 64
    assert tokenizer.eos_token == "</s>"
    assert (asked["repository"], asked["revision"]) == ("org/tiny", COMMIT)
    assert "*.bin" not in asked["allow_patterns"]


def test_model_without_safetensors_downloads_bin(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    fill_cache(cache, tmp_path / "m")
    asked: dict[str, Any] = {}

    def download(repository: str, **options: Any) -> str:
        asked.update(options)
        raise errors.LocalEntryNotFoundError("offline")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(CheckpointError, match="cannot be reached"):
        load_model("org/tiny")
    assert "*.bin" in asked["allow_patterns"]


@pytest.mark.parametrize("open_it", [open_embedding, load_model])
def test_nothing_cached_and_offline_is_one_sentence(cache: Path, open_it: Callable[..., Any]) -> None:
    with pytest.raises(CheckpointError) as caught:
        open_it("org/nothing")
    assert str(caught.value) == (
        "org/nothing: there is no such folder here, it is not complete in the local hub cache, and the hub cannot be "
        "reached; check the path, or go online once to download it."
    )


def test_weights_that_are_not_cached_are_told(cache: Path, tiny_llama_folder: Path) -> None:
    fill_cache(cache, tiny_llama_folder, leave_out=("*.safetensors",))
    with pytest.raises(CheckpointError, match="not complete in the local hub cache"):
        open_embedding("org/tiny")


def answer() -> Any:
    """As much of an HTTP response as the hub's errors look at."""
    return SimpleNamespace(headers={}, request=None)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (errors.GatedRepoError("no", response=answer()), "gated"),
        (errors.RepositoryNotFoundError("no", response=answer()), "no public model of that name"),
        (errors.RevisionNotFoundError("no", response=answer()), "not this revision"),
        (errors.HFValidationError("no"), "nor a valid hub id"),
        (ConnectionError("no"), "cannot be reached"),
        (OSError("no"), "cannot be reached"),
        (errors.RemoteEntryNotFoundError("no", response=answer()), r"found no config\.json"),
    ],
)
def test_each_answer_of_the_hub_has_its_sentence(
    monkeypatch: pytest.MonkeyPatch, problem: Exception, message: str
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise problem

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_embedding("org/tiny", revision="v1")
    assert "org/tiny (revision v1)" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_hub_model_without_weights_is_told(monkeypatch: pytest.MonkeyPatch, tiny_llama_folder: Path) -> None:
    def fetch(_: str, name: str, **__: object) -> str:
        if name != "config.json":
            raise errors.RemoteEntryNotFoundError("no", response=answer())
        return str(tiny_llama_folder / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    with pytest.raises(CheckpointError, match=r"model\.safetensors or pytorch_model\.bin .* found no weights"):
        open_embedding("org/tiny")


def test_hub_repository_of_other_files_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: object, **__: object) -> str:
        raise errors.RemoteEntryNotFoundError("no", response=answer())

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    with pytest.raises(CheckpointError, match="found neither config"):
        load_model("org/tiny")
