import re

import pandas as pd
import pytest

from dashboard.report.csv_file import build_csv
from dashboard.wording import (
    escape_markdown,
    format_code,
    format_formula,
    format_name,
    format_share,
    format_token,
    shorten,
)
from kslottery_core.csv_file import protect_cell

JOINER = "\u2060"


def read_shown(escaped):
    """What a reader sees of escaped Markdown: escapes taken back, the invisible joiner gone."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", escaped).replace(JOINER, "")


def read_code(markdown):
    """The text of one code span that is the whole of `markdown`, by the rules of CommonMark; None if it is not one."""
    fence = re.match("`+", markdown)[0]
    inside = markdown[len(fence) : -len(fence)]
    if not markdown.endswith(fence) or len(fence) in [len(run) for run in re.findall("`+", inside)]:
        return None
    stripped = inside.startswith(" ") and inside.endswith(" ") and inside.strip()
    return inside[1:-1] if stripped else inside


@pytest.mark.parametrize(
    "text",
    [
        "![picture](https://evil.example/p.png)",
        "[link](javascript:alert(1))",
        "<img src=x onerror=alert(1)>",
        "<https://evil.example>",
        ":red[loud] :blue-background[x]",
        "$x^2$ and $$y$$",
        "# title",
        "**bold** _soft_ ~~gone~~ `code`",
        "a | b",
        "\\",
        "\\[already escaped\\]",
        "&#58;smile&#58; &lt;b&gt;",
        ":smile: :material/star: :streamlit:",
        "https://evil.example and www.evil.example and a@evil.example",
        "- item",
        "+ item",
        "1. item",
        "===",
        "C:\\models\\base",
    ],
)
def test_escaped_text_shows_itself_and_nothing_comes_alive(text):
    escaped = escape_markdown(text)
    assert read_shown(escaped) == text
    bare = re.sub(r"\\[!-/:-@\[-`{-~]", "", escaped)
    assert not re.search(r"[\\`*_\[\]()#!<>$:~|&]", bare)
    assert not re.match(r"[-+=]|\d+\.\s", bare) or escaped.startswith("\\")
    # The page looks for these in the text that is left after unescaping.
    unescaped = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", escaped)
    late = r":[\w+-][\w_+-]*:|:material/\w+:|https?://|www\.\w|[-.\w+]@[-\w]+\.\w"
    assert not re.search(late, unescaped)


def test_the_checks_of_escaped_text_can_fail():
    assert read_shown("\\[x") == "[x" != "\\[x"
    assert read_code("``a``b``") is None
    assert read_code("`a`") == "a"


def test_escaped_text_stays_on_one_line():
    assert "\n" not in escape_markdown("first\n\n# second\r\nthird")


@pytest.mark.parametrize(
    "token", ["`", "``", "a`b", "```", "`` ` ```", "␣the", "a|b", " ", "  a ", "$", "\\", ":red[x]"]
)
def test_a_token_is_code_whatever_it_holds(token):
    assert read_code(format_token(token)) == token


def test_code_has_no_line_break_to_break_out_of():
    assert "\n" not in format_code("a\n\n![x](https://evil.example)")
    assert format_code("") == "` `"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_a_formula_is_made_text(text):
    assert protect_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["the", "", "a=b", -1.5, -2, None, True])
def test_cells_that_are_no_formula_stay(value):
    assert protect_cell(value) is value


def test_a_csv_file_keeps_its_numbers_and_disarms_its_text():
    table = pd.DataFrame({"Token": ["=HYPERLINK(1)", "-", "the"], "Mean shift": [-0.5, 1.0, -2.0], "k": [-1, 2, 3]})
    lines = build_csv(table).decode().splitlines()
    assert lines == ["Token,Mean shift,k", "'=HYPERLINK(1),-0.5,-1", "'-,1.0,2", "the,-2.0,3"]


def test_a_csv_file_keeps_missing_numbers_empty_beside_text():
    table = pd.DataFrame({"Run": ["+x", "y"], "Score": [None, -3.5], "Size": [None, None]})
    assert build_csv(table).decode().splitlines() == ["Run,Score,Size", "'+x,,", "y,-3.5,"]


def test_the_names_of_columns_are_disarmed_too():
    table = pd.DataFrame({"=HYPERLINK(1)": [1], "-run": ["x"], "k": [2]})
    assert build_csv(table).decode().splitlines() == ["'=HYPERLINK(1),'-run,k", "1,x,2"]


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [
        (1_000, 32_000, "3.13 %"),  # 3.125 exactly
        (1, 8_000, "0.0125 %"),
        (9, 800, "1.13 %"),  # 1.125 exactly
        (1, 30_000, "0.0033 %"),
        (31_990, 32_000, "just under 100 %"),  # 99.96875
        (31_984, 32_000, "just under 100 %"),  # 99.95 exactly
        (31_983, 32_000, "99.9 %"),
        (32_000, 32_000, "100 %"),
        (0, 32_000, "0 %"),
        (3, 0, "not measured"),
    ],
)
def test_a_share_rounds_halves_up_and_says_100_only_of_the_whole(part, whole, words):
    assert format_share(part, whole) == words


def test_long_text_is_shortened():
    assert shorten("9" * 5000, 10) == "999999999…"
    assert shorten("short") == "short"


def test_every_kind_of_the_core_has_a_name():
    from dashboard.wording import KIND_NAMES

    kinds = ("special", "byte", "control", "word", "number", "punctuation", "unused", "unknown")
    assert [format_name(KIND_NAMES, kind) for kind in kinds] == [kind.capitalize() for kind in kinds]
    assert set(kinds) == set(KIND_NAMES)


def test_the_bound_of_a_certificate_is_a_formula_without_code_signs():
    from kslottery_core.certification import LEVELS

    shown = format_formula(next(level for level in LEVELS if level.name == "ks_bound").definition)
    assert "p₁ − p₂ > 2 × sum of D" in shown
    assert "_" not in shown
    assert "*" not in shown
    assert "p₁ and p₂ are the two largest probabilities" in shown
