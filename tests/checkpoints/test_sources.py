"""What a path or a name means, and one clear sentence for each that means nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from kslottery_core.checkpoints import check_source, looks_like_hub_id, open_embedding
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


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, used instead of the person's, beside an empty current directory."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "hub"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("org/name", True),
        (" Org-1/name_2.0-hf ", True),
        ("org/" + "x" * 96, True),
        ("org/" + "x" * 97, False),
        ("befor", False),
        ("gpt2", False),
        ("data/befor", False),
        ("data/here", False),
        ("a/b/c", False),
        ("org/name/", False),
        ("/org/name", False),
        ("./name", False),
        ("~/name", False),
        ("org/a--b", False),
        ("org/a..b", False),
        ("org/name.", False),
        ("org/name.git", False),
        ("org/name.gguf", False),
        ("org/naïve", False),
        ("", False),
    ],
)
def test_hub_ids_are_told_from_paths(cache: Path, source: str, expected: bool) -> None:
    Path("data/here").mkdir(parents=True)
    assert looks_like_hub_id(source) is expected


@pytest.mark.parametrize("source", ["gpt2", "data/befor"])
def test_name_in_the_hub_cache_is_a_hub_id(cache: Path, source: str) -> None:
    Path("data").mkdir()
    folder = cache / f"models--{source.replace('/', '--')}" / "snapshots"
    folder.mkdir(parents=True)
    assert not looks_like_hub_id(source)
    (folder / "0123").mkdir()
    assert looks_like_hub_id(source)
    assert find_source(source, "v1").kind == "hub"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("befor", r"befor: path not found, .* write org/name .*\./name"),
        ("data/befor", "the folder data is here but holds no befor"),
        ("a/b/c", "path not found; expected a model folder"),
        ('"org/name"', "without quotation marks around it"),
        ("'/models/my llama'", "without quotation marks around it"),
        (Path("befor"), "path not found"),
        ("", "empty"),
        ("data", "an empty folder"),
    ],
)
def test_mistyped_source_is_refused_early(cache: Path, source: str | Path, message: str) -> None:
    Path("data").mkdir()
    with pytest.raises(CheckpointError, match=message) as caught:
        check_source(source)
    assert "\n" not in str(caught.value)


def test_sources_that_can_be_opened_pass_the_check(cache: Path, tiny_llama_folder: Path) -> None:
    check_source(tiny_llama_folder)
    check_source(str(tiny_llama_folder / "model.safetensors"))
    check_source("org/name", "v1")
    with pytest.raises(CheckpointError, match="leave the revision out"):
        check_source(tiny_llama_folder, "v1")


def test_check_loads_no_torch(tiny_llama_folder: Path) -> None:
    check = (
        "import sys; from kslottery_core.checkpoints import check_source; check_source('org/name');"
        f"check_source({str(tiny_llama_folder)!r}); sys.exit(any(m in sys.modules for m in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", check], cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_unreadable_path_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(CheckpointError, match="cannot be read"):
        check_source(tmp_path)


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
