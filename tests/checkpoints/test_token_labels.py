"""A person can read every token."""

import json
import unicodedata
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from kslottery_core.checkpoints import label_tokens
from kslottery_core.checkpoints.token_strings import load_token_table


def label_one(token: str, *, byte_level: bool = False, special: bool = False) -> tuple[str, str]:
    labels, kinds = label_tokens([token, "Ġ" if byte_level else "▁", "x"], [0] if special else [], 1)
    return labels[0], kinds[0]


@pytest.mark.parametrize(
    ("token", "label", "kind"),
    [
        ("▁the", "␣the", "word"),
        ("▁", "␣", "control"),
        ("▁▁▁", "␣␣␣", "control"),
        ("\n", "↵", "control"),
        ("\t", "⇥", "control"),
        ("\r\n", "\\r↵", "control"),
        ("▁12", "␣12", "number"),
        ("½", "½", "number"),
        ("x1", "x1", "word"),
        ("...", "...", "punctuation"),
        ("▁€", "␣€", "punctuation"),
        ("নি", "নি", "word"),
        ("\u202eabc", "\\u202eabc", "word"),
        ("\u00a0", "\\xa0", "control"),
        ("\u200b", "\\u200b", "control"),
        ("<0x0A>", "<0x0A> ↵", "byte"),
        ("<0x41>", "<0x41> A", "byte"),
        ("<0x00>", "<0x00> \\x00", "byte"),
        ("<0xE2>", "<0xE2>", "byte"),
    ],
)
def test_sentencepiece_tokens_are_readable(token: str, label: str, kind: str) -> None:
    assert label_one(token) == (label, kind)


@pytest.mark.parametrize(
    ("token", "label", "kind"),
    [
        ("Ġthe", "␣the", "word"),
        ("ĊĊ", "↵↵", "control"),
        ("ĉ", "⇥", "control"),
        ("Ã©", "é", "word"),
        ("â", "<0xE2>", "byte"),
        ("Ġâ", "␣<0xE2>", "byte"),
        ("Ġ7", "␣7", "number"),
        (");", ");", "punctuation"),
        ("    ", "␣␣␣␣", "control"),
        ("日本", "日本", "word"),
    ],
)
def test_byte_level_tokens_are_readable(token: str, label: str, kind: str) -> None:
    assert label_one(token, byte_level=True) == (label, kind)


def test_every_byte_has_its_stand_in() -> None:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    from kslottery_core.checkpoints.token_strings import _map_byte_characters

    assert set(_map_byte_characters()) == set(alphabet)
    assert sorted(_map_byte_characters().values()) == list(range(256))


@pytest.mark.parametrize("text", ["Ünï çødé\n", " \t€", "नमस्ते"])
def test_byte_level_text_survives(text: str) -> None:
    ((encoded, _),) = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)
    plain, _ = label_tokens([text, "▁"], [], 1)
    assert label_one(encoded, byte_level=True)[0] == plain[0]


def test_special_tokens_stay_as_they_are() -> None:
    assert label_one("<|im_end|>", special=True) == ("<|im_end|>", "special")


def test_rows_without_a_token_are_unused() -> None:
    labels, kinds = label_tokens(["a", "", "b"], [], 5)
    assert labels == ("a", "<unused 1>", "b", "<unused 3>", "<unused 4>")
    assert kinds == ("word", "unused", "word", "unused", "unused")


def test_without_a_tokenizer_rows_are_named_by_id() -> None:
    assert label_tokens(None, [], 2) == (("<row 0>", "<row 1>"), ("unknown", "unknown"))


def save_byte_level_tokenizer(folder: Path) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=270,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the cat sees the cat\n"] * 5, trainer)
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


def test_fast_tokenizer_is_read_without_transformers(tmp_path: Path) -> None:
    tokenizer = save_byte_level_tokenizer(tmp_path)
    table = load_token_table(tmp_path)
    assert table.strings is not None
    assert len(table.strings) == tokenizer.get_vocab_size()
    assert all(tokenizer.token_to_id(token) == token_id for token_id, token in enumerate(table.strings))
    assert table.special_ids == {0}
    assert "␣cat" in label_tokens(table.strings, table.special_ids, len(table.strings))[0]


def test_tokens_with_a_role_are_special(tmp_path: Path) -> None:
    tokenizer = save_byte_level_tokenizer(tmp_path)
    config = {"eos_token": {"content": "the"}, "pad_token": "nowhere", "bos_token": None}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "special_tokens_map.json").write_text("[broken")
    assert load_token_table(tmp_path).special_ids == {0, tokenizer.token_to_id("the")}


@pytest.mark.no_cover  # a million characters; counted, this takes four times as long
def test_every_character_of_unicode_is_shown_or_escaped_by_its_category() -> None:
    characters = [chr(point) for point in range(0x110000) if not 0xD800 <= point <= 0xDFFF]
    visible = {" ": "␣", "\n": "↵", "\t": "⇥", "\r": "\\r", "▁": "␣"}
    expected = {"C": "control", "Z": "control", "L": "word", "M": "word", "N": "number"}
    labels, kinds = label_tokens(characters, [], len(characters))
    for character, label, kind in zip(characters, labels, kinds, strict=True):
        category = unicodedata.category(" " if character == "▁" else character)[0]
        escaped = character.encode("unicode_escape").decode("ascii")
        assert label == visible.get(character, escaped if category in "CZ" else character), ascii(character)
        assert kind == expected.get(category, "punctuation"), ascii(character)


def test_slow_tokenizer_files_are_read_through_transformers(tmp_path: Path) -> None:
    vocabulary = {"<|endoftext|>": 0, "Ġ": 1, "a": 2, "b": 3, "Ġa": 4}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nĠ a\n")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer"}))
    table = load_token_table(tmp_path)
    assert table.strings == ("<|endoftext|>", "Ġ", "a", "b", "Ġa")
    assert table.special_ids == {0}


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model"])
def test_broken_tokenizer_gives_a_note_and_no_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{")
    table = load_token_table(tmp_path)
    assert table.strings is None
    assert table.note is not None
    assert "cannot be read" in table.note


def test_tokenizer_without_tokens_gives_a_note(tmp_path: Path) -> None:
    Tokenizer(models.BPE()).save(str(tmp_path / "tokenizer.json"))
    assert "no tokens" in (load_token_table(tmp_path).note or "")


@pytest.mark.parametrize("folder", [None, "empty"])
def test_no_tokenizer_gives_a_note(tmp_path: Path, folder: str | None) -> None:
    table = load_token_table(None if folder is None else tmp_path)
    assert "no tokenizer" in (table.note or "")
