import json

import pytest

from kslottery_core.corpora import CorpusSpec, list_splits, load_corpus


@pytest.fixture
def flores(tmp_path):
    for split in ("dev", "devtest"):
        folder = tmp_path / "flores" / "flores101_dataset" / split
        folder.mkdir(parents=True)
        for language in ("eng", "cat"):
            (folder / f"{language}.{split}").write_text(f"{split} {language} .\n")
    return tmp_path / "flores"


def test_the_splits_of_flores_are_those_that_a_text_can_be_read_from(flores):
    assert set(list_splits(str(flores))) == {"dev", "devtest"}
    for split in list_splits(str(flores)):
        (pair,) = load_corpus(CorpusSpec(str(flores), split=split)).pairs
        assert (pair.source, pair.target) == (f"{split} eng .", f"{split} cat .")
    assert list_splits(str(flores / "flores101_dataset" / "dev")) == ("dev",)


def test_the_splits_of_a_saved_data_set_are_listed_without_its_package(tmp_path):
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "validation"]}))
    assert list_splits(str(tmp_path)) == ("train", "validation")


@pytest.mark.parametrize("content", ["{", "[]", '{"splits": 3}', '{"splits": [1]}'])
def test_a_broken_list_of_splits_is_none(tmp_path, content):
    (tmp_path / "dataset_dict.json").write_text(content)
    assert list_splits(str(tmp_path)) == ()


@pytest.mark.parametrize("path", ["", "/no/such/folder", "hub:a/b", "x\0y", "~nobody-here/x"])
def test_what_is_no_folder_with_splits_has_none(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    assert list_splits(path) == ()
