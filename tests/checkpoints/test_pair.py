"""Two checkpoints side by side: what is common, what differs, what cannot be compared."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from kslottery_core.checkpoints import open_pair
from kslottery_core.errors import CheckpointError


def test_pair_tells_what_was_compared(tiny_llama_folder: Path, tiny_tuned_llama_folder: Path) -> None:
    pair = open_pair(tiny_llama_folder, str(tiny_tuned_llama_folder))
    assert (pair.width, pair.vocabulary_size, pair.tied) == (16, 64, False)
    assert (len(pair.only_before), len(pair.only_after)) == (0, 0)
    assert pair.notes == ("Compared the tensor model.embed_tokens.weight: 64 rows of 16 coordinates.",)
    assert len(pair.tokens) == len(pair.token_kinds) == 64
    assert pair.tokens[:3] == ("<unk>", "<s>", "</s>")
    assert pair.token_kinds[:3] == ("special",) * 3
    assert "␣the" in pair.tokens
    changed = (pair.before.read_rows(0, 64) != pair.after.read_rows(0, 64)).any(dim=1)
    assert changed.nonzero().flatten().tolist() == [3, 5, 8]


def test_tied_pair_and_same_files_are_told(tiny_tied_llama_folder: Path) -> None:
    pair = open_pair(tiny_tied_llama_folder, tiny_tied_llama_folder)
    assert pair.tied is True
    assert any("are tied" in note for note in pair.notes)
    assert any("the same files" in note for note in pair.notes)


def test_types_that_differ_are_told(tiny_llama_folder: Path, tmp_path: Path, make_tiny_llama: Any) -> None:
    make_tiny_llama().bfloat16().save_pretrained(tmp_path)
    notes = open_pair(tiny_llama_folder, tmp_path).notes
    assert any("float32 before and bfloat16 after" in note for note in notes)
    assert any("comes without a readable tokenizer" in note for note in notes)


def test_rows_of_the_longer_side_are_told(
    tiny_llama_folder: Path, tmp_path: Path, make_tiny_llama: Any, save_tiny_model: Callable[..., Path]
) -> None:
    save_tiny_model(make_tiny_llama(vocab_size=70), tmp_path)
    pair = open_pair(tmp_path, tiny_llama_folder)
    assert (pair.vocabulary_size, pair.only_before) == (64, range(64, 70))
    assert any("6 rows (token ids 64 to 69) exist only in" in note for note in pair.notes)


def test_widths_that_differ_are_refused(tiny_llama_folder: Path, tmp_path: Path, make_tiny_llama: Any) -> None:
    make_tiny_llama(hidden_size=8).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"equal embedding width, found 16 in .* and 8 in"):
        open_pair(tiny_llama_folder, tmp_path)


def test_tokenizers_that_differ_are_refused(tiny_llama_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_llama_folder, tmp_path / "other"))
    content = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(content.replace('"</s>"', '"<end>"'))
    with pytest.raises(CheckpointError, match=r"token id 2 is '</s>' in .* and '<end>' in .* \(1 of \d+ ids differ\)"):
        open_pair(tiny_llama_folder, folder)


def test_ways_to_write_one_token_do_not_count_as_difference(tmp_path: Path, tiny_llama_folder: Path) -> None:
    # An added token of two spaces is plain text in one format and "▁▁" in the other.
    from tokenizers import AddedToken, Tokenizer

    folders = []
    for name, content in (("a", "  "), ("b", "▁▁")):
        folder = Path(shutil.copytree(tiny_llama_folder, tmp_path / name))
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.add_tokens([AddedToken(content, normalized=False)])
        tokenizer.save(str(folder / "tokenizer.json"))
        folders.append(folder)
    save = torch.zeros(70, 16)
    for folder in folders:
        (folder / "config.json").unlink()
        save_file({"rows": save}, folder / "model.safetensors")
    pair = open_pair(*folders)
    assert pair.before.token_strings != pair.after.token_strings


def test_token_that_one_side_alone_names_keeps_its_name(tmp_path: Path, tiny_llama_folder: Path) -> None:
    from tokenizers import AddedToken, Tokenizer

    folders = []
    for name in ("a", "b"):
        folder = Path(shutil.copytree(tiny_llama_folder, tmp_path / name))
        (folder / "config.json").unlink()
        save_file({"rows": torch.zeros(66, 16)}, folder / "model.safetensors")
        folders.append(folder)
    tokenizer = Tokenizer.from_file(str(folders[1] / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken("<|new|>", special=True)])
    tokenizer.save(str(folders[1] / "tokenizer.json"))
    pair = open_pair(*folders)
    assert pair.tokens[64:] == ("<|new|>", "<unused 65>")
    assert pair.token_kinds[64:] == ("special", "unused")


def test_pair_of_lone_files_shows_ids(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_file({f"rows.{name}": torch.randn(4, 3)}, tmp_path / f"{name}.safetensors")
    pair = open_pair(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert pair.tied is None
    assert pair.tokens == ("<row 0>", "<row 1>", "<row 2>", "<row 3>")
    assert pair.notes == (
        "Compared the tensor rows.a and rows.b: 4 rows of 3 coordinates.",
        "Whether input and output embedding are tied cannot be told from what was given.",
        "There is no tokenizer beside the weights, so tokens are shown by their id.",
    )


def test_opening_reads_no_row(
    tiny_llama_folder: Path, tiny_tuned_llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("a row was read")

    monkeypatch.setattr("kslottery_core.checkpoints.row_readers.SafetensorsRows.read_rows", fail)
    pair = open_pair(tiny_llama_folder, tiny_tuned_llama_folder)
    assert pair.notes
    assert pair.tokens
