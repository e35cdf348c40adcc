"""What a path or a name means, and one clear sentence for each that means nothing."""

from pathlib import Path

import pytest

from kslottery_core.checkpoints import open_embedding
from kslottery_core.checkpoints.sources import find_source
from kslottery_core.errors import CheckpointError


@pytest.mark.parametrize("source", ["", "   ", Path()])
def test_empty_path_is_told(source: str | Path) -> None:
    with pytest.raises(CheckpointError, match="empty"):
        open_embedding(source)


@pytest.mark.parametrize(
    "source",
    [
        "/nowhere/model",
        "./missing",
        "~/no/such/folder",
        "model.safetensors",
        "org/model.gguf",
        "a/b/c",
        "no\0name",
        "x" * 5000,
    ],
)
def test_missing_path_is_no_hub_id(source: str) -> None:
    with pytest.raises(CheckpointError, match="path not found"):
        open_embedding(source)


def test_missing_path_object_is_no_hub_id() -> None:
    with pytest.raises(CheckpointError, match="path not found"):
        open_embedding(Path("org/name"))


def test_mistyped_folder_inside_a_folder_that_exists_is_no_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="path not found"):
        open_embedding("data/befor")
    assert find_source("org/befor").kind == "hub"


def test_revision_of_a_local_path_is_refused(tiny_llama_folder: Path) -> None:
    with pytest.raises(CheckpointError, match="leave the revision out"):
        open_embedding(tiny_llama_folder, revision="main")


def test_folder_without_a_model_names_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="an empty folder"):
        open_embedding(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"expected a folder with a model .* found only config\.json"):
        open_embedding(tmp_path)


def test_several_weight_files_without_index_ask_for_one(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    with pytest.raises(CheckpointError, match=r"2 files \(a\.gguf, b\.gguf\)"):
        open_embedding(tmp_path)


def test_file_of_another_kind_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(CheckpointError, match="a file of another kind"):
        open_embedding(tmp_path / "notes.txt")


def test_kinds_are_told_by_content_where_the_name_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"PK\x03\x04....")
    (tmp_path / "model").write_bytes(b"GGUF....")
    assert find_source(tmp_path / "weights").kind == "bin"
    assert find_source(tmp_path / "model").kind == "gguf"


def test_special_file_is_told() -> None:
    with pytest.raises(CheckpointError, match="special file"):
        open_embedding("/dev/null")
