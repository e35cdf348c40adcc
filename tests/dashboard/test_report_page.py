from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from dashboard.loaders import AlphaChoice, PairChoice
from dashboard.report.block import Block, Table
from dashboard.report.html_table import render_table
from dashboard.state import build_address, forget_addressed, read_address
from dashboard.state.choice import (
    CertificatesView,
    CheckpointsView,
    Choice,
    LayersView,
    ReportView,
    StudiesView,
    TokenMapView,
    TokenText,
)
from dashboard.views.report.blocks import find_block


def read_texts(app):
    kinds = ("markdown", "caption", "info", "warning", "error", "subheader", "header", "title")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


def list_blocks(app):
    return [header.value for header in app.subheader]


def get_button(app, key):
    return next(button for button in app.button if button.key == key)


ALL = [
    "What was compared",
    "The ticket",
    "Ticket size against α",
    "Where the threshold lies",
    "The map of all tokens",
]


def test_without_a_pair_the_page_says_what_to_do_and_has_no_block(open_app):
    app = open_app("report", with_pair=False)
    assert "No pair is open yet" in app.info[0].value
    assert "No block is in the report" in read_texts(app)
    assert list_blocks(app) == []
    assert get_button(app, "report_present").disabled


def test_the_report_begins_with_every_block_that_has_something_to_show(open_app):
    app = open_app("report")
    assert list_blocks(app) == ALL
    assert app.header[0].value.replace("\\", "") == "KS-Lottery report: before → after"
    assert "blocks" not in app.query_params
    assert "5 blocks with 3 pictures." in read_texts(app)


def test_blocks_are_moved_removed_and_added_and_the_address_follows(open_app):
    app = open_app("report")
    get_button(app, "report_up_curve").click().run()
    assert app.query_params["blocks"] == "pair,curve,ticket,threshold,map"
    get_button(app, "report_remove_pair").click().run()
    get_button(app, "report_remove_map").click().run()
    get_button(app, "report_down_curve").click().run()
    assert app.query_params["blocks"] == "ticket,curve,threshold"
    assert list_blocks(app) == ["The ticket", "Ticket size against α", "Where the threshold lies"]
    assert get_button(app, "report_up_ticket").disabled
    assert get_button(app, "report_down_threshold").disabled
    app.selectbox(key="report_added").set_value("layers").run()
    assert app.query_params["blocks"] == "ticket,curve,threshold,layers"
    assert "press Scan the model" in read_texts(app), "chosen, so it stays and says what to do"
    get_button(app, "report_all").click().run()
    assert list_blocks(app) == ALL
    assert "blocks" not in app.query_params


def test_a_report_may_be_empty_and_be_filled_again(open_app):
    app = open_app("report", blocks="pair")
    get_button(app, "report_remove_pair").click().run()
    assert app.query_params["blocks"] == "none"
    assert "No block is in the report" in read_texts(app)
    assert get_button(app, "report_present").disabled
    again = open_app("report", blocks="none")
    assert list_blocks(again) == []
    get_button(again, "report_all").click().run()
    assert list_blocks(again) == ALL


def test_a_link_restores_blocks_and_title(open_app):
    app = open_app("report", blocks="curve,pair", title="My *findings*")
    assert list_blocks(app) == ["Ticket size against α", "What was compared"]
    assert app.header[0].value == r"My \*findings\*"
    assert app.text_input(key="report_title").value == "My *findings*"
    assert app.query_params["title"] == "My *findings*"


def test_an_unknown_block_in_the_address_is_told_and_left_out(open_app):
    app = open_app("report", blocks="pair,<b>wrong</b>,curve")
    assert list_blocks(app) == ["What was compared", "Ticket size against α"]
    assert len(app.warning) == 1
    assert "expected some of pair, ticket, curve" in app.warning[0].value
    assert r"\<b\>wrong" in app.warning[0].value
    assert app.query_params["blocks"] == "pair,curve"


@pytest.mark.parametrize(
    ("address", "words"),
    [({"present": "maybe"}, "expected yes or no"), ({"slide": "0"}, "from 1"), ({"slide": "9" * 5000}, "from 1")],
)
def test_a_wrong_address_is_one_sentence_and_the_page_goes_on(open_app, address, words):
    app = open_app("report", **address)
    assert len(app.warning) == 1
    assert words in app.warning[0].value
    assert list_blocks(app) == ALL


def test_words_stand_around_their_block_and_survive_another_page(open_app, go_to):
    app = open_app("report", blocks="pair,curve")
    app.text_area(key="report_before_curve").set_value("Look at **this** <script>").run()
    app.text_area(key="report_after_curve").set_value("- the end").run()
    app.text_input(key="report_author").set_value("Me, Tuesday").run()
    go_to(app, "alpha")
    go_to(app, "report")
    assert not app.exception
    assert app.text_area(key="report_before_curve").value == "Look at **this** <script>"
    assert app.text_input(key="report_author").value == "Me, Tuesday"
    drawn = [element.proto.body for element in app.get("html")]
    assert "<p>Look at <strong>this</strong> &lt;script&gt;</p>" in drawn
    assert "<ul><li>the end</li></ul>" in drawn
    assert any(caption.value.startswith("Me, Tuesday, ") for caption in app.caption)
    address = app.query_params
    assert address["blocks"] == "pair,curve"
    assert not any(words in str(address[name]) for name in address for words in ("Look at", "the end", "Tuesday"))
    get_button(app, "report_remove_curve").click().run()
    app.selectbox(key="report_added").set_value("curve").run()
    assert app.text_area(key="report_after_curve").value == "- the end", "words of a block left out are kept"


def test_words_are_loaded_from_a_file_and_a_wrong_one_is_one_sentence(open_app):
    app = open_app("report")
    content = (
        '{"version":1,"title":"Loaded","author":"Us","blocks":["pair"],'
        '"words":{"pair":{"before":"from the file","after":""}}}'
    )
    app.file_uploader(key="report_words_file").upload("words.json", content.encode(), "application/json").run()
    assert not app.exception
    assert list_blocks(app) == ["What was compared"]
    assert (app.query_params["title"], app.query_params["blocks"]) == ("Loaded", "pair")
    assert app.text_area(key="report_before_pair").value == "from the file"
    app.file_uploader(key="report_words_file").upload("other.json", b"[1]", "application/json").run()
    assert len(app.error) == 1
    assert "other.json: expected the words of a report" in app.error[0].value.replace("\\", "")
    assert app.text_area(key="report_before_pair").value == "from the file"


def test_unknown_blocks_of_a_file_are_told_and_left_out_with_their_words(open_app):
    app = open_app("report")
    content = (
        '{"version":1,"title":"","author":"","blocks":["curve","gone"],'
        '"words":{"curve":{"before":"kept"},"lost":{"before":"dropped"}}}'
    )
    app.file_uploader(key="report_words_file").upload("words.json", content.encode(), "application/json").run()
    assert list_blocks(app) == ["Ticket size against α"]
    assert app.query_params["blocks"] == "curve"
    assert "there is no block 'gone', 'lost'; left out" in app.error[0].value.replace("\\", "")
    assert not app.warning
    assert app.session_state["kslottery.report_words"].around == {"curve": ("kept", "")}


def test_every_button_of_the_list_is_named_after_its_block(open_app):
    app = open_app("report", blocks="pair,curve")
    assert get_button(app, "report_up_curve").label == "Up **Ticket size against α**"
    labels = [
        button.label for button in app.button if button.key.startswith(("report_up", "report_down", "report_rem"))
    ]
    assert len(set(labels)) == len(labels) == 6


def test_the_preview_writes_numbers_as_the_file_does(open_app, monkeypatch):
    frame = pd.DataFrame(
        {
            "Id": [57241, 7],
            "Rows": [57241, 7],
            "Saved": [57241.0, np.nan],
            "D": [0.30469, 0.5],
            "Step": pd.array([12000, None], dtype="Int64"),
        }
    )
    block = Block("What was compared", tables=(Table(frame, "Rows", decimals={"D": 4}),))
    known = replace(find_block("pair"), build=lambda context: block)
    monkeypatch.setattr("dashboard.views.report.controls.find_block", lambda name: known)
    app = open_app("report", blocks="pair")
    shown = app.dataframe[0].proto
    texts = pa.ipc.open_stream(shown.arrow_data.styler.display_values).read_pandas()
    assert texts.to_numpy().tolist() == [
        ["57241", "57,241", "57,241", "0.3047", "12000"],
        ["7", "7", "not measured", "0.5000", "not measured"],
    ]
    file = render_table(block.tables[0], caption="", most_rows=2)
    assert all(f">{text}</td>" in file for text in texts.to_numpy().ravel())
    assert app.dataframe[0].value["Rows"].tolist() == [57241, 7], "still numbers, to be sorted"


def test_presenting_shows_one_slide_and_no_control(open_app):
    app = open_app("report", blocks="pair,curve")
    get_button(app, "report_present").click().run()
    assert not app.exception
    assert (app.query_params["present"], app.query_params["slide"]) == ("yes", "1")
    assert [title.value.replace("\\", "") for title in app.title] == ["KS-Lottery report: before → after"]
    assert not (app.button or app.text_input or app.selectbox or app.sidebar.caption)


def test_a_link_opens_a_slide_and_one_beyond_the_last_shows_the_last(open_app):
    app = open_app("report", blocks="pair,curve", present="yes", slide="2")
    assert app.title[0].value == "What was compared"
    assert open_app("report", blocks="pair,curve", present="yes", slide="99").title[0].value == "Ticket size against α"


def test_presenting_ends_when_another_page_is_opened(open_app, go_to):
    app = open_app("report", present="yes")
    app.query_params.clear()
    assert "kslottery.presented_report" in app.session_state
    go_to(app, "alpha")
    assert app.sidebar.caption
    assert "kslottery.presented_report" not in app.session_state, "a whole report is not kept for nothing"
    go_to(app, "report")
    assert app.title[0].value == "Show what was found"


def test_another_pages_address_presents_nothing(open_app):
    app = open_app("alpha", present="yes")
    assert app.sidebar.caption
    assert app.title[0].value == "How many tokens win?"


def test_the_address_of_a_report_holds_what_its_blocks_show():
    choice = Choice(
        pair=PairChoice("/a", "/b"),
        alpha=AlphaChoice(0.5),
        token_ids=(3, 5),
        token_map=TokenMapView("cosine", "l2_shift", log_x=False),
        token_text=TokenText("/text.jsonl", "en", "ca"),
        compared_runs=("one",),
        measure="BLEU, first line",
        layers=LayersView(unit="column"),
        checkpoints=CheckpointsView(("/c", "/d")),
        studies=StudiesView("s", "en-ca"),
        certificates=CertificatesView(kind="outputs"),
        report=ReportView(("pair", "curve"), "Title", presenting=True, slide=3),
    )
    address = build_address(choice, "report")
    assert read_address(address, Choice()) == (choice, ())
    forgotten = forget_addressed(choice, "report", address)
    assert forgotten == Choice(pair=choice.pair)
    assert build_address(choice, "alpha").keys() == {"before", "after", "alpha"}
