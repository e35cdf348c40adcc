"""Tokens as text: strings of a vocabulary, labels that tell them apart, and the script that each is written in."""

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kslottery_core.checkpoints.library_output import keep_transformers_quiet

TOKEN_KINDS = ("special", "byte", "control", "word", "number", "punctuation", "unused", "unknown")
"""`unused`: a row that no token of the tokenizer points to; `unknown`: there is no tokenizer to ask."""

SPACE, NEWLINE, TAB = "␣", "↵", "⇥"
VISIBLE = {" ": SPACE, "\n": NEWLINE, "\t": TAB, "\r": "\\r"}
BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def label_tokens(
    strings: Sequence[str] | None, special_ids: Iterable[int], rows: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Labels and kinds (see TOKEN_KINDS) of the token ids 0..rows-1.

    Byte-level strings (GPT-2: one character a byte) and SentencePiece strings (▁ for a space) are told apart by which
    of "Ġ" and "▁" the vocabulary uses more, because many tokenizer files name no scheme.
    """
    if strings is None:
        return tuple(f"<row {row}>" for row in range(rows)), ("unknown",) * rows
    special = frozenset(special_ids)
    byte_level = sum("Ġ" in token for token in strings) > sum("▁" in token for token in strings)
    labelled = [
        _label_token(strings[row], byte_level, row in special)
        if row < len(strings) and strings[row]
        else (f"<unused {row}>", "unused")
        for row in range(rows)
    ]
    return tuple(label for label, _ in labelled), tuple(kind for _, kind in labelled)


def _label_token(token: str, byte_level: bool, special: bool) -> tuple[str, str]:
    if special:
        return _show_text(token), "special"
    if (byte := BYTE_TOKEN.fullmatch(token)) is not None:
        value = int(byte[1], 16)
        return (f"{token} {_show_text(chr(value))}" if value < 0x80 else token), "byte"
    if not byte_level:
        text = token.replace("▁", " ")
        return _show_text(text), _find_kind(text)
    characters = _map_byte_characters()
    if not characters.keys() >= set(token):
        return _show_text(token), _find_kind(token)  # an added token is stored as plain text
    content = bytes(map(characters.__getitem__, token))
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return _show_broken_text(content), "byte"
    return _show_text(text), _find_kind(text)


def _show_text(text: str) -> str:
    if text.isprintable():  # nearly every token: none of its characters is control, format or space but " "
        return text.replace(" ", SPACE)
    return "".join(VISIBLE.get(character) or _show_character(character) for character in text)


def _show_character(character: str) -> str:
    # C*: control, format (also bidirectional overrides), private, unassigned; Z*: spaces that look like others.
    if unicodedata.category(character)[0] in "CZ":
        return character.encode("unicode_escape").decode("ascii")
    return character


def _show_broken_text(content: bytes) -> str:
    """UTF-8 with single undecodable bytes shown as <0xE2>."""
    text = content.decode("utf-8", errors="surrogateescape")
    return "".join(
        f"<0x{ord(character) - 0xDC00:02X}>" if 0xDC80 <= ord(character) <= 0xDCFF else _show_text(character)
        for character in text
    )


def _find_kind(text: str) -> str:
    if text.strip(" ").isalpha():
        return "word"
    kinds = {unicodedata.category(character)[0] for character in text}
    if kinds <= {"C", "Z"}:
        return "control"
    if kinds & {"L", "M"}:
        return "word"
    return "number" if "N" in kinds else "punctuation"


@cache
def _map_byte_characters() -> dict[str, int]:
    """GPT-2's printable stand-in of each byte: visible Latin-1 bytes stand for themselves, the rest from U+0100 on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in set(visible)]
    characters = {chr(byte): byte for byte in visible}
    characters.update({chr(0x100 + position): byte for position, byte in enumerate(hidden)})
    return characters


NO_SCRIPT, SEVERAL_SCRIPTS, OTHER_SCRIPT = "none", "several", "other"

_NAMED = (
    "latin",
    "greek",
    "cyrillic",
    "armenian",
    "hebrew",
    "arabic",
    "devanagari",
    "bengali",
    "gurmukhi",
    "gujarati",
    "oriya",
    "tamil",
    "telugu",
    "kannada",
    "malayalam",
    "sinhala",
    "thai",
    "lao",
    "tibetan",
    "myanmar",
    "georgian",
    "ethiopic",
    "khmer",
    "mongolian",
    "hangul",
)

TOKEN_SCRIPTS = (*_NAMED, "kana", "han", OTHER_SCRIPT, SEVERAL_SCRIPTS, NO_SCRIPT)
"""`kana` is Hiragana and Katakana; `none` has no letter, or is no text: a special token, a lone byte, an unused row."""

_FIRST_WORDS = {
    **{name.upper(): name for name in _NAMED},
    "HIRAGANA": "kana",
    "KATAKANA": "kana",
    "KATAKANA-HIRAGANA": "kana",
    "HENTAIGANA": "kana",
    "CJK": "han",
    "IDEOGRAPHIC": "han",
    "KANGXI": "han",
    "FEMININE": "latin",
    "MASCULINE": "latin",
    "KELVIN": "latin",
    "ANGSTROM": "latin",
    "OHM": "greek",
}
_WIDTHS = ("FULLWIDTH ", "HALFWIDTH ", "VERTICAL ")
# Of any script where no script's name follows: marks and signs that take that of what stands beside them, and letters
# that are mathematics.
_SHARED = re.compile(r"^(?:COMBINING|MODIFIER LETTER(?: SMALL| CAPITAL)?|VARIATION|MATHEMATICAL|MICRO)\b ?")
_SHARED_LETTERS = ("DOUBLE-STRUCK", "SCRIPT", "BLACK-LETTER", "INVERTED", "ALEF", "BET", "GIMEL", "DALET")
# How a label writes what cannot be seen: line breaks by the letter r, others by their number, lone bytes in brackets.
_ESCAPES = re.compile(r"\\(?:r|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})|<0x[0-9A-F]{2}>")
_KINDS_WITHOUT_TEXT = ("special", "byte", "unused", "unknown")


def find_scripts(labels: Sequence[str], kinds: Sequence[str]) -> tuple[str, ...]:
    """The script (see TOKEN_SCRIPTS) of each token, (V,), from its label and kind as `label_tokens` gives them."""
    return tuple(
        NO_SCRIPT if kind in _KINDS_WITHOUT_TEXT else find_script(label)
        for label, kind in zip(labels, kinds, strict=True)
    )


def find_script(label: str) -> str:
    """The one script of all letters in a label, `several`, or `none` where it has no letter that belongs to one."""
    text = _ESCAPES.sub("", label) if "\\" in label or "<0x" in label else label
    scripts = set(map(_find_character_script, text)) - {None}
    if not scripts:
        return NO_SCRIPT
    return str(scripts.pop()) if len(scripts) == 1 else SEVERAL_SCRIPTS


@cache
def _find_character_script(character: str) -> str | None:
    """The script of one letter or mark; None for all else, and for what every script uses."""
    if unicodedata.category(character)[0] not in "LM":
        return None
    name = unicodedata.name(character, "")
    for width in _WIDTHS:
        name = name.removeprefix(width)
    bare = _SHARED.sub("", name)
    first = bare.split(" ")[0]
    if bare != name or first in _SHARED_LETTERS:
        return _FIRST_WORDS.get(first)
    return _FIRST_WORDS.get(first, OTHER_SCRIPT)


TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
)


@dataclass(frozen=True)
class TokenTable:
    """Strings by id ("" for an id that no token has), the special ids, and why there are none if so."""

    strings: tuple[str, ...] | None = None
    special_ids: frozenset[int] = frozenset()
    note: str | None = None


def list_tokenizer_files(folder: Path) -> list[Path]:
    """The tokenizer's files that are in `folder`."""
    return [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]


def load_token_table(folder: Path | None) -> TokenTable:
    """Read the tokenizer in `folder`; a missing or broken one gives a table without strings and a note."""
    present = [] if folder is None else [path.name for path in list_tokenizer_files(folder)]
    if folder is None or not present:
        return TokenTable(note="There is no tokenizer beside the weights, so tokens are shown by their id.")
    try:
        if "tokenizer.json" in present:
            strings, special_ids = _read_fast_tokenizer(folder)
        else:
            strings, special_ids = _read_any_tokenizer(folder)
    # tokenizers and its converters raise bare Exception for broken files.
    except Exception as problem:
        reason = str(problem).strip().splitlines()[0] if str(problem).strip() else type(problem).__name__
        return TokenTable(
            note=f"The tokenizer in {folder} cannot be read ({reason[:200]}), so tokens are shown by their id."
        )
    if not strings:
        return TokenTable(note=f"The tokenizer in {folder} holds no tokens, so tokens are shown by their id.")
    return TokenTable(_order_by_id(strings), frozenset(special_ids))


def _order_by_id(strings: dict[int, str]) -> tuple[str, ...]:
    return tuple(strings.get(token_id, "") for token_id in range(max(strings) + 1))


def _read_fast_tokenizer(folder: Path) -> tuple[dict[int, str], set[int]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = tokenizer.get_vocab(with_added_tokens=True)
    special = {token_id for token_id, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    special |= {ids[token] for token in _read_named_special_tokens(folder) if token in ids}
    return {token_id: token for token, token_id in ids.items()}, special


def _read_named_special_tokens(folder: Path) -> set[str]:
    """Tokens that the configuration gives a role (bos_token, ...), which tokenizer.json need not mark special."""
    named = set()
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        try:
            settings = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        for key, value in settings.items() if isinstance(settings, dict) else ():
            token = value.get("content") if isinstance(value, dict) else value
            if key.endswith("_token") and isinstance(token, str):
                named.add(token)
    return named


def _read_any_tokenizer(folder: Path) -> tuple[dict[int, str], set[int]]:
    with keep_transformers_quiet():
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        ids = tokenizer.get_vocab()
        special = set(tokenizer.all_special_ids)
    return {token_id: token for token, token_id in ids.items()}, special
