"""What an architecture is, is asked of transformers once."""

import json
import subprocess
import sys

import pytest

from kslottery_core.checkpoints import architecture as kept_architecture
from kslottery_core.checkpoints import open_embedding, open_pair
from kslottery_core.checkpoints.architecture import load_architecture, read_architecture
from kslottery_core.errors import CheckpointError


@pytest.fixture
def refuse_to_build(monkeypatch):
    def refuse(config_file):
        raise AssertionError(f"{config_file} was built again")

    return lambda: monkeypatch.setattr(kept_architecture, "read_architecture", refuse)


def test_a_kept_architecture_equals_the_built_one_and_is_not_built_again(
    tiny_tied_llama_folder, tmp_path, refuse_to_build
):
    config_file = tiny_tied_llama_folder / "config.json"
    expected = read_architecture(config_file)
    assert load_architecture(config_file, [tmp_path]) == expected
    refuse_to_build()
    assert load_architecture(config_file, [tmp_path]) == expected
    with pytest.raises(AssertionError, match="built again"):
        load_architecture(config_file, [tmp_path / "other"])


def test_another_config_another_version_and_a_torn_file_are_asked_anew(
    tiny_llama_folder, tiny_tied_llama_folder, tmp_path, monkeypatch
):
    config_file = tiny_llama_folder / "config.json"
    load_architecture(config_file, [tmp_path])
    (kept,) = tmp_path.iterdir()
    whole = kept.read_text()
    assert load_architecture(tiny_tied_llama_folder / "config.json", [tmp_path]).tied
    assert len(list(tmp_path.iterdir())) == 2

    kept.write_text(whole[:40])
    assert load_architecture(config_file, [tmp_path]) == read_architecture(config_file)
    assert kept.read_text() == whole

    content = json.loads(whole)
    content["transformers"], content["architecture"]["parameter_count"] = "0.1", 5
    kept.write_text(json.dumps(content))
    assert load_architecture(config_file, [tmp_path / "own", tmp_path]).parameter_count == 5  # it came with the model
    assert load_architecture(config_file, [tmp_path]).parameter_count != 5
    assert kept.read_text() == whole


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(tiny_llama_folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    config_file = tiny_llama_folder / "config.json"
    assert load_architecture(config_file, [tmp_path / "file"]) == read_architecture(config_file)


def test_a_refused_config_is_refused_again_and_nothing_is_kept(tmp_path):
    config_file = tmp_path / "model" / "config.json"
    config_file.parent.mkdir()
    config_file.write_text('{"model_type": "no_such_thing"}')
    for _ in range(2):
        with pytest.raises(CheckpointError, match="cannot read this configuration"):
            load_architecture(config_file, [tmp_path / "kept"])
    assert not (tmp_path / "kept").exists()


def test_a_known_pair_opens_without_torch_and_transformers(tiny_llama_folder, tiny_tuned_llama_folder, tmp_path):
    pair = open_pair(tiny_llama_folder, tiny_tuned_llama_folder, description_folders=[tmp_path])
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from kslottery_core.checkpoints import count_parameters, open_pair\n"
        "before, after, folders = sys.argv[1], sys.argv[2], [Path(name) for name in sys.argv[3:]]\n"
        "pair = open_pair(before, after, description_folders=folders)\n"
        "print(pair.vocabulary_size, pair.width, pair.tied, count_parameters(pair.before), len(pair.tokens))\n"
        "print(*sorted({'torch', 'transformers'} & set(sys.modules)))"
    )

    def look(*folders):
        command = [sys.executable, "-c", code, tiny_llama_folder, tiny_tuned_llama_folder, *folders]
        return subprocess.run([*map(str, command)], capture_output=True, text=True, check=True).stdout.splitlines()

    facts, loaded = look(tmp_path)
    assert facts == f"{pair.vocabulary_size} {pair.width} {pair.tied} {read_count(pair)} {pair.vocabulary_size}"
    assert loaded == ""
    assert look() == [facts, "torch transformers"]


def read_count(pair):
    return read_architecture(pair.before.model_folder / "config.json").parameter_count


def test_an_adapter_s_base_is_kept_too(tiny_llama_folder, tmp_path, refuse_to_build):
    open_embedding(tiny_llama_folder, description_folders=[tmp_path])
    refuse_to_build()
    assert open_embedding(tiny_llama_folder / "model.safetensors", description_folders=[tmp_path]).tied is False
