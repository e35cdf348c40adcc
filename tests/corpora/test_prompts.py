"""Prompt templates: what they must hold and how they are filled."""

import hashlib

import pytest

from kslottery_core.corpora import (
    DEFAULT_PROMPT,
    LANGUAGE_NAMES,
    check_prompt,
    fill_prompt,
    hash_prompt,
    name_language,
)
from kslottery_core.errors import CorpusError


def test_default_prompt_names_both_languages_and_ends_where_the_translation_goes():
    filled = fill_prompt(DEFAULT_PROMPT, source="The dog sleeps.", source_language="en", target_language="ca")
    assert filled == ("Translate the following sentence from English to Catalan.\nEnglish: The dog sleeps.\nCatalan:")


def test_braces_in_the_sentence_are_left_alone():
    assert fill_prompt("{source} ->", source="{x} {} }", source_language="en", target_language="de") == "{x} {} } ->"


def test_doubled_braces_are_single_braces_in_the_prompt():
    template = '{{"text": "{source}"}}'
    check_prompt(template)
    assert fill_prompt(template, source="a", source_language="en", target_language="de") == '{"text": "a"}'


def test_unknown_language_code_stands_for_itself():
    assert name_language("tlh") == "tlh"
    assert name_language("Catalan") == "Catalan"
    assert LANGUAGE_NAMES["ro"] == "Romanian"
    assert (
        fill_prompt("{source} {target_language}:", source="a", source_language="en", target_language="tlh") == "a tlh:"
    )


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("Translate:", "found none; add {source}"),
        ("", "found none; add {source}"),
        ("{{source}}", "found none; add {source}"),
        ("{source} {target}", "found {target}"),
        ("{source} {}", "found {}"),
        ("{source} {0}", "found {0}"),
        ("{source!r}", "found {source!r}"),
        ("{source:>9}", "found {source:>9}"),
        ("{source.__class__}", "found {source.__class__}"),
        ("{source[0]}", "found {source[0]}"),
        ("{source} }", "a brace alone"),
        ("{source} {", "a brace alone"),
        ("{source", "a brace alone"),
    ],
)
def test_template_that_cannot_be_filled_is_one_clear_error(template, message):
    with pytest.raises(CorpusError) as caught:
        check_prompt(template)
    assert message in str(caught.value)
    assert str(caught.value).startswith("prompt template: ")
    with pytest.raises(CorpusError):
        fill_prompt(template, source="a", source_language="en", target_language="ca")


def test_prompt_hash_is_the_beginning_of_sha256():
    assert hash_prompt("{source}") == hashlib.sha256(b"{source}").hexdigest()[:12]
    assert hash_prompt("{source}") != hash_prompt("{source} ")
