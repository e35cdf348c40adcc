"""Language codes of different standards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kslottery_core.corpora import LANGUAGE_NAMES, match_language, name_language
from kslottery_core.corpora.languages import split_language_code


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        ("en", ["en-US", "ca-ES"], ("en-US",)),
        ("en", ["en-US", "en"], ("en",)),
        ("en", ["EN_us", "en-GB"], ("EN_us", "en-GB")),
        ("en-GB", ["en-US", "en-gb"], ("en-gb",)),
        ("en-GB", ["en-US", "en"], ()),
        ("ca", ["cat_Latn", "eng_Latn"], ("cat_Latn",)),
        ("eng_Latn", ["eng_Latn"], ("eng_Latn",)),
        ("eng", ["en"], ("en",)),
        ("zh", ["zho_Hans", "zho_Hant"], ("zho_Hans", "zho_Hant")),
        ("xx", ["en"], ()),
        ("source", ["source_text"], ("source_text",)),
    ],
)
def test_codes_of_one_language_match(wanted, found, expected):
    assert match_language(wanted, found) == expected


@given(st.lists(st.text(max_size=8), max_size=5), st.text(min_size=1, max_size=8))
def test_a_code_written_exactly_so_is_the_only_match(found, wanted):
    assert match_language(wanted, [*found, wanted]) == (wanted,)
    assert set(match_language(wanted, found)) <= set(found)


def test_every_named_language_has_a_three_letter_code_of_its_own():
    from kslottery_core.corpora.languages import _LONG_CODES

    assert set(_LONG_CODES) == set(LANGUAGE_NAMES)
    longs = [code for codes in _LONG_CODES.values() for code in codes.split()]
    assert len(longs) == len(set(longs))
    assert {len(code) for code in longs} == {3}


def test_a_language_is_named_by_any_of_its_codes():
    assert {name_language(code) for code in ("ca", "cat", "ca-ES", "cat_Latn")} == {"Catalan"}
    assert name_language("tlh_Latn") == "tlh_Latn"
    assert split_language_code(" zho-Hant ") == ("zh", ("hant",))
