import unicodedata

import pytest
import regex

from kslottery_core.checkpoints.token_strings import TOKEN_SCRIPTS, find_script, find_scripts

# Letters that Unicode gives to a script although their names do not say so.
UNNAMED = {0x2071, 0x207F, 0x2132, 0x214E, 0x2183, 0x2184, 0x3006}


@pytest.mark.parametrize(
    ("label", "script"),
    [
        ("␣the", "latin"),
        ("naïve", "latin"),
        ("ﬁ", "latin"),
        ("Ａ", "latin"),
        ("мир", "cyrillic"),
        ("␣και", "greek"),
        ("سلام", "arabic"),
        ("שלום", "hebrew"),
        ("नमस्ते", "devanagari"),
        ("ไทย", "thai"),
        ("漢字", "han"),
        ("々", "han"),
        ("ひらがな", "kana"),
        ("カー", "kana"),
        ("ｶﾅ", "kana"),
        ("한국", "hangul"),
        ("ქართული", "georgian"),
        ("አማርኛ", "ethiopic"),
        ("𐌰", "other"),
        ("食べる", "several"),
        ("αx", "several"),
        ("e\u0301", "latin"),
        ("\u0301", "none"),
        ("007", "none"),
        ("...", "none"),
        ("␣", "none"),
        ("↵↵", "none"),
        ("", "none"),
        ("µ", "none"),
        ("𝐀", "none"),
        ("می\\u200cخواهم", "arabic"),
        ("\\x00", "none"),
        ("\\rfoo", "latin"),
    ],
)
def test_the_script_of_a_label_is_that_of_its_letters(label, script):
    assert find_script(label) == script


def test_what_is_no_text_has_no_script():
    labels = ("<s>", "<0x41> A", "<unused 5>", "<row 7>", "the")
    kinds = ("special", "byte", "unused", "unknown", "word")
    assert find_scripts(labels, kinds) == ("none", "none", "none", "none", "latin")


def test_every_letter_has_the_script_that_unicode_gives_it():
    pieces = {"kana": r"[\p{Script=Hiragana}\p{Script=Katakana}]", "han": r"\p{Script=Han}"}
    named = {s: pieces.get(s, rf"\p{{Script={s}}}") for s in TOKEN_SCRIPTS if s not in ("other", "several", "none")}
    letters = [
        chr(code)
        for code in range(0x20000)
        if code not in UNNAMED and unicodedata.category(chr(code)) in ("Lu", "Ll", "Lt", "Lo")
    ]
    assert len(letters) > 60_000
    scripts = {letter: find_script(letter) for letter in letters}
    for script, pattern in named.items():
        expected = {letter for letter in letters if regex.match(pattern, letter)}
        found = {letter for letter in letters if scripts[letter] == script}
        assert found == expected, (script, sorted(found ^ expected)[:5])
        assert found
