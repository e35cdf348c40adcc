import base64
import hashlib
import html.parser
import json
import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from dashboard.report.block import Block, Picture, Table, sign_block
from dashboard.report.html_file import build_html, encode_json, name_file
from dashboard.report.html_table import format_cell, render_table
from dashboard.report.report import Report, Section
from dashboard.report.words import render_words
from dashboard.state import read_address
from dashboard.state.choice import Choice, ReportView
from dashboard.state.report_words import LONGEST_TITLE, ReportWords, ReportWordsError, build_words_file, read_words_file

HOSTILE = "</script><script>document.title='broken'</script><!--<img src=x onerror=alert(1)>\"'&amp;%%data%%"


class Reader(html.parser.HTMLParser):
    """Which elements a page holds, with their attributes, and the text of each script."""

    def __init__(self, content):
        super().__init__()
        self.elements, self.scripts, self.text = [], [], []
        self._in_script = False
        self.feed(content)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "script":
            self._in_script = True
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._in_script = False if tag == "script" else self._in_script

    def handle_data(self, data):
        if self._in_script:
            self.scripts[-1] += data
        else:
            self.text.append(data)


@pytest.fixture
def report():
    figure = go.Figure(go.Scatter(x=np.array([1.0, np.nan]), y=[1, 2], name=HOSTILE, text=[HOSTILE, "b"]))
    frame = pd.DataFrame({"Id": [2047, 5], "Token": [HOSTILE, "=1+1"], "D": [0.28125, np.nan], HOSTILE: [1, 2]})
    block = Block(
        HOSTILE,
        paragraphs=(HOSTILE,),
        pictures=(Picture(figure, HOSTILE, HOSTILE),),
        tables=(Table(frame, HOSTILE, decimals={"D": 4}),),
        signature=HOSTILE,
    )
    sections = (
        Section("one", sign_block(block, "drawn now"), HOSTILE, "**bold**"),
        Section("two", sign_block(Block("Second", problem="Do " + HOSTILE), "drawn now")),
    )
    return Report(HOSTILE, HOSTILE, 0.0, sections)


@pytest.fixture
def page(report):
    return Reader(build_html(report).decode("utf-8"))


def test_hostile_texts_are_shown_and_add_no_element(page, report):
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 4
    assert not {"img", "iframe", "link", "object", "base", "form"} & set(tags)
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    shown = "".join(page.text)
    assert shown.count(HOSTILE) >= 8
    assert "".join(re.findall(r"<strong>(.*?)</strong>", build_html(report).decode())) == "bold"


def test_what_the_page_holds_comes_back_from_its_json(page):
    content = json.loads(page.scripts[0])
    (picture,) = content["pictures"]
    assert picture["figure"]["data"][0]["name"] == HOSTILE
    assert "template" not in picture["figure"]["layout"]
    (table,) = content["tables"]
    assert table["csv"].splitlines()[0].startswith("Id,Token,D,")
    assert "'=1+1" in table["csv"], "a spreadsheet runs nothing"
    assert ({"id": picture["id"]}.items()) <= next(
        attributes for _, attributes in page.elements if attributes.get("class") == "picture"
    ).items()


def test_only_the_files_own_scripts_may_run_and_nothing_may_be_fetched(page):
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert rules["default-src"] == "'none'"
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in page.scripts[1:]]
    assert rules["script-src"].split() == [f"'sha256-{digest}'" for digest in digests]
    assert set(rules["img-src"].split()) == {"data:", "blob:"}
    assert not {"connect-src", "frame-src", "font-src"} & rules.keys(), "they are none by default"
    addresses = [value for _, a in page.elements for name, value in a.items() if name in ("src", "href")]
    assert addresses == ["#one", "#two"]


def test_buttons_and_pictures_have_names(page):
    buttons = [attributes for tag, attributes in page.elements if tag == "button"]
    assert [button.get("data-format") for button in buttons] == [None, "svg", "png", None]
    assert buttons[1]["aria-label"] == f"Save the picture as SVG: {HOSTILE}"
    assert buttons[3]["data-table"] == "one-table-1"
    assert {"role": "group", "aria-label": HOSTILE}.items() <= next(
        a for _, a in page.elements if a.get("class") == "picture"
    ).items()


def test_the_file_is_named_after_the_title(report):
    assert name_file(Report("KS-Lottery: a → Übung/2", "", 0.0, ())) == "ks-lottery-a-übung-2"
    assert name_file(Report("///", "", 0.0, ())) == "report"
    assert "/" not in name_file(report)


def test_json_in_a_page_holds_no_sign_of_markup():
    text = encode_json({"a": "</script><!--&\u2028", "b": np.array([1.5, 2.5])})
    assert not re.search("[<>&\u2028]", text)
    assert json.loads(text)["a"] == "</script><!--&\u2028"


def test_a_large_table_shows_its_first_rows_and_keeps_all_in_its_csv():
    table = Table(pd.DataFrame({"Id": range(500)}), "Many")
    report = Report("T", "", 0.0, (Section("one", Block("B", tables=(table,))),))
    page = Reader(build_html(report).decode())
    assert "The first 200 of 500 rows are shown; the CSV file holds all." in "".join(page.text)
    assert [tag for tag, _ in page.elements].count("td") == 200
    assert len(json.loads(page.scripts[0])["tables"][0]["csv"].splitlines()) == 501


@pytest.mark.parametrize(
    ("value", "column", "text"),
    [
        (0.28125, "D", "0.2813"),
        (0.28125, "Cosine", "0.2812"),
        (123456.7, "Seconds", "123,457"),
        (2048, "Rows", "2,048"),
        (2047, "Id", "2047"),
        (True, "Wins", "yes"),
        (np.bool_(False), "Wins", "no"),
        (None, "D", "not measured"),
        (float("nan"), "D", "not measured"),
        (pd.NA, "Step", "not measured"),
        (float("inf"), "D", "inf"),
        ("a", "D", "a"),
    ],
)
def test_a_cell_is_written_as_people_read_it(value, column, text):
    table = Table(pd.DataFrame(), "Caption", decimals={"D": 4})
    assert format_cell(table, value, column) == text


def test_columns_of_numbers_stand_right_also_where_some_are_missing():
    table = Table(pd.DataFrame({"a": [1.5, None], "b": ["x", "y"]}), "C")
    text = render_table(table, caption="C", most_rows=5)
    assert text.count('class="number"') == 3
    assert '<th scope="col">b</th>' in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("  \n\n ", ""),
        ("one\ntwo", "<p>one<br>two</p>"),
        ("one\n\ntwo", "<p>one</p>\n<p>two</p>"),
        ("- a\n- *b*", "<ul><li>a</li><li><em>b</em></li></ul>"),
        ("intro\n- a", "<p>intro</p>\n<ul><li>a</li></ul>"),
        ("**bold** and `**not**`", "<p><strong>bold</strong> and <code>**not**</code></p>"),
        ("<b>x</b> & [l](javascript:alert(1))", "<p>&lt;b&gt;x&lt;/b&gt; &amp; [l](javascript:alert(1))</p>"),
        ('`<img onerror="x">`', "<p><code>&lt;img onerror=&quot;x&quot;&gt;</code></p>"),
        ("2 * 3 * 4", "<p>2 * 3 * 4</p>"),
    ],
)
def test_words_become_paragraphs_lists_and_nothing_else(text, expected):
    assert render_words(text) == expected


def test_words_come_back_from_their_file():
    view = ReportView(blocks=("pair", "curve"), title="T – “x”")
    words = ReportWords("Me", {"pair": ("a\nb", ""), "curve": ("", ""), "gone": ("", "kept")})
    found_view, found = read_words_file(build_words_file(view, words).encode(), "words.json")
    assert (found_view.blocks, found_view.title, found.author) == (view.blocks, view.title, "Me")
    assert found.around == {"pair": ("a\nb", ""), "gone": ("", "kept")}
    everything = build_words_file(ReportView(), words).encode("utf-8-sig")
    assert read_words_file(everything, "words.json")[0].blocks is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe", "found no JSON"),
        (b"[" * 100_000, "found no JSON"),
        (b"[]", "expected the words of a report"),
        (b'{"version": 2}', "expected the words of a report"),
        (b'{"version":1,"title":1,"author":"","blocks":null,"words":{}}', "title: expected a text"),
        (b'{"version":1,"title":"","author":"","blocks":"pair","words":{}}', "blocks: expected a list"),
        (b'{"version":1,"title":"","author":"","blocks":[1],"words":{}}', "blocks: expected a text"),
        (b'{"version":1,"title":"","author":"","blocks":null,"words":{"pair":"x"}}', "pair: expected before and after"),
        (b'{"version":1,"title":"","author":"","blocks":null,"words":{"pair":{"before":[]}}}', "pair: expected a text"),
        (
            b'{"version":1,"title":"%s","author":"","blocks":null,"words":{}}' % (b"x" * 201),
            "title: expected a text of at most 200 characters",
        ),
        (
            b'{"version":1,"title":"","author":"%s","blocks":null,"words":{}}' % (b"x" * 201),
            "author: expected a text of at most 200 characters",
        ),
        (
            b'{"version":1,"title":"a\\ud800","author":"","blocks":null,"words":{}}',
            "title: expected a text that can be written as UTF-8, found '\\ud800'",
        ),
        (
            b'{"version":1,"title":"","author":"","blocks":null,"words":{"\\udfff":{}}}',
            "words: expected a text that can be written as UTF-8",
        ),
    ],
)
def test_a_file_of_something_else_is_one_sentence(content, words):
    with pytest.raises(ReportWordsError, match=r"^mine\.json: ") as problem:
        read_words_file(content, "mine.json")
    assert words in str(problem.value)
    str(problem.value).encode("utf-8")


def test_a_title_of_the_longest_length_comes_back():
    view = ReportView(title="ä" * LONGEST_TITLE)
    assert read_words_file(build_words_file(view, ReportWords()).encode(), "words.json")[0] == view
    assert read_address({"title": "ä" * (LONGEST_TITLE + 1)}, Choice())[0].report.title == view.title
