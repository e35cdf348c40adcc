"""Which writing system the letters of a token belong to, told by the names that Unicode gives to its characters."""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

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
