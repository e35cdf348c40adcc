"""Tokens as a person can read them: spaces and newlines visible, bytes named, nothing that breaks a table."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache

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
