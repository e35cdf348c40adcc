import json
import re

import pytest

from dashboard import loaders
from kslottery_core.errors import CheckpointError


def read_metrics(app):
    return {metric.label: metric.value for metric in app.metric}


def read_texts(app):
    kinds = ("markdown", "caption", "info", "warning", "error", "subheader", "header", "title")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


@pytest.mark.parametrize("page", ["pair", "tokens", "alpha"])
def test_a_page_without_a_pair_says_what_to_do(open_app, page):
    app = open_app(page, with_pair=False)
    assert "No pair is open yet" in app.info[0].value
    assert not app.metric


@pytest.mark.parametrize("page", ["pair", "tokens", "alpha"])
def test_a_pair_that_cannot_be_opened_is_one_sentence(open_app, page, tmp_path):
    app = open_app(page, after=str(tmp_path / "nowhere"))
    assert len(app.error) == 1
    assert "nowhere" in app.error[0].value


def test_the_demo_is_loaded_by_default(open_app, pair_folder, monkeypatch):
    monkeypatch.setattr(loaders, "DEMO_PATH", pair_folder)
    app = open_app("pair", with_pair=False)
    assert read_metrics(app)["Tokens compared"] == "64"
    assert app.query_params == {}
    assert "the bundled demo" in app.sidebar.caption[0].value


def test_the_pair_page_shows_what_was_compared(open_app):
    app = open_app("pair")
    metrics = read_metrics(app)
    assert (metrics["Tokens compared"], metrics["Rows changed"]) == ("64", "10")
    texts = read_texts(app)
    assert "no, they are two matrices" in texts
    assert "float32" in texts
    assert "model.embed_tokens.weight" in texts
    assert "Computed on CPU" in texts


def test_a_pair_is_compared_from_the_form(open_app, pair_folder):
    app = open_app("pair", with_pair=False)
    app.text_input(key="pair_before").set_value(str(pair_folder / "before"))
    app.button[0].click().run()
    assert "give one after tuning" in app.error[0].value
    assert app.text_input(key="pair_before").value == str(pair_folder / "before")
    app.text_input(key="pair_after").set_value(str(pair_folder / "after"))
    app.button[0].click().run()
    assert not app.error
    assert read_metrics(app)["Tokens compared"] == "64"
    assert app.query_params["after"] == str(pair_folder / "after")


def test_the_same_checkpoint_twice_is_explained(open_app, pair_folder):
    app = open_app("pair", after=str(pair_folder / "before"))
    assert "No row differs" in app.warning[0].value
    assert "No row differs" in open_app("alpha", after=str(pair_folder / "before")).warning[0].value


def test_an_empty_ticket_leads_to_the_least_alpha_that_gives_one(open_app):
    app = open_app("pair", alpha="1e-12", correction="bonferroni")
    message = next(info.value for info in app.info if "No token wins" in info.value)
    assert "The least α that gives a ticket is" in message
    assert "the largest D here is" in message
    app.button(key="raise_alpha").click().run()
    assert int(next(v for label, v in read_metrics(app).items() if label.startswith("Winning"))) >= 1
    assert float(app.query_params["alpha"]) > 1e-12


def test_every_token_is_in_the_table(open_app):
    app = open_app("tokens")
    table = app.dataframe[0].value
    assert len(table) == 64
    assert list(table["D"]) == sorted(table["D"], reverse=True)
    assert "Tick one or several rows" in app.info[0].value


def test_search_and_filters_narrow_the_table(open_app):
    app = open_app("tokens")
    app.text_input(key="token_search").set_value("WORD1").run()
    assert all("word1" in token for token in app.dataframe[0].value["Token"])
    app.text_input(key="token_search").set_value("3-5, 9").run()
    app.selectbox(key="token_search_mode").set_value("id").run()
    assert sorted(app.dataframe[0].value["Id"]) == [3, 4, 5, 9]
    app.selectbox(key="token_winners").set_value("yes").run()
    assert app.dataframe[0].value["Winner"].all()
    app.text_input(key="token_search").set_value("999").run()
    assert [info.value for info in app.info] == [
        "No token passes the search and the filters. Clear the search or open the filters."
    ]
    assert "Tick rows" not in read_texts(app)


@pytest.mark.parametrize(
    ("mode", "search", "words"),
    [
        ("pattern", "(the", "is not a valid regular expression"),
        ("pattern", "a{99999999999999999999}", "is not a valid regular expression"),
        ("id", "the", "'the' is not a token id"),
        ("id", " , ", "',' is not a token id"),
        ("id", "9" * 5000, "is not a token id"),
        ("id", "3-" + "9" * 5000, "is not a token id"),
    ],
)
def test_a_search_that_cannot_be_understood_is_told(open_app, mode, search, words):
    app = open_app("tokens")
    app.selectbox(key="token_search_mode").set_value(mode)
    app.text_input(key="token_search").set_value(search).run()
    assert words in app.error[0].value
    assert app.text_input(key="token_search").value == search


def test_a_regular_expression_finds_tokens(open_app):
    app = open_app("tokens")
    app.selectbox(key="token_search_mode").set_value("pattern")
    app.text_input(key="token_search").set_value("^.word[12]$").run()
    assert len(app.dataframe[0].value) == 2


def test_picked_tokens_come_from_the_address_and_show_their_story(open_app):
    app = open_app("tokens", tokens="3,40")
    texts = read_texts(app)
    assert "token 3" in texts
    assert "token 40" in texts
    assert "This row did not change" in texts
    assert [metric.label for metric in app.metric].count("Cosine") == 2
    assert app.query_params["tokens"] == "3,40"


def test_ticking_rows_changes_the_address(open_app):
    app = open_app("tokens")
    key = app.dataframe[0].proto.id.rsplit("-", 1)[1]
    app.session_state[key] = {"selection": {"rows": [0, 2], "columns": [], "cells": []}}
    app.run()
    ids = list(app.dataframe[0].value["Id"])
    assert app.query_params["tokens"] == f"{ids[0]},{ids[2]}"
    app.button(key="clear_tokens").click().run()
    assert "tokens" not in app.query_params


def test_a_token_that_is_not_in_the_pair_is_told(open_app):
    app = open_app("tokens", tokens="3,9999")
    assert "9,999 is not in this pair" in app.warning[0].value


def test_alpha_from_the_address_is_shown_by_all_its_controls(open_app):
    app = open_app("alpha", alpha="0.5", correction="holm", p="asymptotic")
    assert app.text_input(key="alpha_number").value == "0.5"
    assert app.selectbox(key="alpha_correction").value == "holm"
    assert app.selectbox(key="alpha_method").value == "asymptotic"


def test_slider_and_number_move_together_where_there_is_no_dial(scanned):
    app = scanned
    app.text_input(key="alpha_number").set_value("0.0123").run()
    assert app.select_slider(key="alpha_slider").value == 0.0123
    app.select_slider(key="alpha_slider").set_value(0.5).run()
    assert app.text_input(key="alpha_number").value == "0.5"
    assert app.query_params["alpha"] == "0.5"


@pytest.mark.parametrize("typed", ["", "abc", "0", "1", "-3", "1e-300", "nan"])
def test_a_wrong_alpha_is_told_in_a_sentence_and_the_old_one_stays(open_app, typed):
    app = open_app("alpha", alpha="0.5")
    app.text_input(key="alpha_number").set_value(typed).run()
    assert "expected a number from 1e-12 to 0.999" in app.error[0].value.replace("\\", "")
    assert app.text_input(key="alpha_number").value == "0.5"
    assert app.query_params["alpha"] == "0.5"


def test_moving_alpha_names_the_tokens_that_enter_and_leave(open_app):
    app = open_app("alpha", alpha="1e-6")
    few = int(read_metrics(app)["Tokens in the ticket"])
    app.text_input(key="alpha_number").set_value("0.9").run()
    many = int(read_metrics(app)["Tokens in the ticket"])
    assert many > few
    assert f"{many - few} tokens entered" in read_texts(app)
    app.text_input(key="alpha_number").set_value("1e-6").run()
    texts = read_texts(app)
    assert f"{many - few} tokens left" in texts
    assert "Next to enter" in texts


def test_the_alpha_page_says_what_the_ticket_costs_and_what_p_is_not(open_app):
    app = open_app("alpha", alpha="0.5")
    metrics = read_metrics(app)
    assert int(metrics["Parameters to train"].replace(",", "")) == 32 * int(metrics["Tokens in the ticket"])
    assert metrics["Share of the whole model"].endswith("%")
    assert "not as an error rate" in read_texts(app)


def test_a_correction_makes_the_ticket_no_larger(open_app):
    app = open_app("alpha")
    plain = int(read_metrics(app)["Tokens in the ticket"])
    app.selectbox(key="alpha_correction").set_value("bonferroni").run()
    assert int(read_metrics(app)["Tokens in the ticket"]) <= plain
    assert app.query_params["correction"] == "bonferroni"


def test_a_wrong_alpha_in_the_address_is_told_once_and_the_default_shown(open_app):
    app = open_app("alpha", alpha="lots")
    assert "lots" in app.warning[0].value
    assert app.text_input(key="alpha_number").value == "0.05"


def test_the_choice_follows_from_page_to_page(open_app, go_to):
    app = open_app("alpha", alpha="0.5")
    size = read_metrics(app)["Tokens in the ticket"]
    app.query_params.clear()  # as the sidebar's links do
    go_to(app, "pair")
    assert read_metrics(app)["Winning tokens at α = 0.5"] == size
    assert app.query_params["alpha"] == "0.5"


def test_a_typed_checkpoint_is_still_there_after_another_page(open_app, go_to):
    app = open_app("pair")
    app.text_input(key="pair_after").set_value("/somewhere/else").run()
    go_to(app, "alpha")
    go_to(app, "pair")
    assert app.text_input(key="pair_after").value == "/somewhere/else"


def test_no_code_words_reach_the_page(open_app, save_run, make_score):
    save_run("20260101-000000-base-aaaa", scores=[make_score()])
    for page in ("pair", "tokens", "alpha", "layers", "checkpoints", "runs", "compare"):
        app = open_app(page)
        widgets = [
            element.label for kind in ("metric", "selectbox", "text_input", "button") for element in app.get(kind)
        ]
        names_in_files = re.compile("embed_tokens|input_layernorm")
        shown = names_in_files.sub("", read_texts(app).replace("\\", "")) + json.dumps(widgets)
        words = [word for word in shown.split() if "_" in word and "/" not in word and "`" not in word]
        assert words == []


def test_search_and_filters_are_in_the_address_and_come_back(open_app):
    app = open_app("tokens")
    app.text_input(key="token_search").set_value("word1").run()
    app.selectbox(key="token_changed").set_value("yes").run()
    app.multiselect(key="token_kinds").set_value(["word"]).run()
    address = app.query_params
    assert (address["search"], address["changed"], address["kinds"]) == ("word1", "yes", "word")
    again = open_app("tokens", search="^.word[12]$", **{"in": "pattern"})
    assert len(again.dataframe[0].value) == 2
    assert again.text_input(key="token_search").value == "^.word[12]$"
    assert again.selectbox(key="token_search_mode").value == "pattern"


def test_a_kind_that_the_pair_does_not_have_filters_nothing(open_app):
    app = open_app("tokens", kinds="byte")
    assert not app.multiselect(key="token_kinds").value
    assert len(app.dataframe[0].value) == 64


def test_thousands_of_digits_in_the_address_are_one_sentence(open_app):
    app = open_app("tokens", tokens="9" * 5000)
    assert "expected token ids" in app.warning[0].value
    assert len(app.warning[0].value) < 250


def test_what_the_address_holds_is_text_and_no_markdown(open_app):
    app = open_app("alpha", alpha="![x](https://evil.example/p.png)", correction=":red[x]")
    assert not [warning for warning in app.warning if "](https" in warning.value or ":red[" in warning.value]


@pytest.fixture
def opened(monkeypatch):
    """Which pairs the checkpoints room is asked to open; nothing is fetched."""
    import kslottery_core.checkpoints

    asked = []

    def open_pair(before, after, **how):
        asked.append((before, after))
        raise CheckpointError("no hub in tests.")

    monkeypatch.setattr(kslottery_core.checkpoints, "open_pair", open_pair)
    return asked


@pytest.mark.parametrize("page", ["pair", "tokens", "alpha", "runs"])
def test_an_address_downloads_nothing_without_a_click(open_app, opened, page):
    app = open_app(page, before="org/x", after="org/y")
    assert opened == []
    assert "`org/x` and `org/y`" in next(info.value for info in app.info if "hub" in info.value)
    app.button(key="allow_download").click().run()
    assert opened[:1] == [("org/x", "org/y")]
    assert "no hub in tests" in app.error[0].value
    assert not [button for button in app.button if button.key == "allow_download"]


def test_the_permission_for_one_pair_holds_for_no_other(open_app, opened, go_to):
    app = open_app("pair", before="org/x", after="org/y")
    app.button(key="allow_download").click().run()
    opened.clear()
    app.query_params["after"] = "org/z"
    go_to(app, "tokens")
    assert opened == []
    assert app.button(key="allow_download")


def test_compare_is_a_click_that_may_download(open_app, opened):
    app = open_app("pair", with_pair=False)
    app.text_input(key="pair_before").set_value("org/x")
    app.text_input(key="pair_after").set_value("org/y")
    app.button[0].click().run()
    assert opened[:1] == [("org/x", "org/y")]


def test_what_is_tuned_in_a_tied_model_is_told_on_the_pair_page(open_app, tied_folder):
    app = open_app("pair", before=str(tied_folder / "before"), after=str(tied_folder / "after"))
    assert "runs started here tune the input rows only; the output layer keeps its values" in read_texts(app)
    assert "tune the input rows only" not in read_texts(open_app("pair"))


def test_it_is_told_too_where_every_row_changed(open_app, tied_folder):
    from safetensors.torch import load_file, save_file

    weights = tied_folder / "after" / "model.safetensors"
    save_file({name: tensor + 0.01 for name, tensor in load_file(weights).items()}, weights, metadata={"format": "pt"})
    texts = read_texts(open_app("pair", before=str(tied_folder / "before"), after=str(tied_folder / "after")))
    assert "Every row changed" in texts
    assert "tune the input rows only" in texts
