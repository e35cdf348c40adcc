import json
from dataclasses import asdict
from pathlib import Path

import pytest
import streamlit as st
from streamlit.runtime.state.query_params import QueryParams

from dashboard.loaders import AlphaChoice, PairChoice
from dashboard.state import (
    SEARCH_MODES,
    CheckpointsView,
    Choice,
    LayersView,
    TokenFilter,
    build_address,
    forget_addressed,
    read_address,
    read_token_id,
)
from dashboard.state.parameters import PARAMETERS

MADE_BEFORE = json.loads(Path(__file__).with_name("made_before").joinpath("addresses.json").read_text(encoding="utf-8"))
"""Addresses of version 0.1.0 with what it took from them: fields of the choice that are no default, and problems."""

FULL = Choice(
    pair=PairChoice("/a", "org/b", before_revision=None, after_revision="v1", parameter="wte.weight"),
    alpha=AlphaChoice(1e-7, "bh", "asymptotic"),
    token_ids=(13, 5),
    run_id="r1",
    compared_runs=("r1", "r2"),
    token_filter=TokenFilter("a,b=&#", "pattern", True, False, True, ("word", "unknown"), ("latin", "none"), 3, 900),
    measure="chrF++, first line",
    layers=LayersView("column", "*mlp*", "median", True, "model.layers.3.mlp.up_proj.weight"),
    checkpoints=CheckpointsView(("/a/checkpoint-1", "org/b@v2"), True),
)


@pytest.fixture
def addresses(monkeypatch):
    """The address while the Tokens page draws its last part, run by run, and how often one was sent to the browser."""
    from dashboard.views.tokens import page

    drawn, sent = [], []
    send = QueryParams._send_query_param_msg
    monkeypatch.setattr(QueryParams, "_send_query_param_msg", lambda params: sent.append(1) or send(params))
    show = page.show_ticket_overlap
    monkeypatch.setattr(page, "show_ticket_overlap", lambda *how: drawn.append(st.query_params.to_dict()) or show(*how))
    return drawn, sent


def test_the_address_names_what_was_chosen_while_the_page_is_still_being_drawn(open_app, addresses):
    drawn, sent = addresses
    app = open_app("tokens", tokens="3")
    drawn.clear()
    sent.clear()
    app.segmented_control(key="story_part").set_value("coordinates").run()
    (during,) = drawn
    assert (during["tokens"], during["story"]) == ("3", "coordinates")
    assert len(sent) == 1  # one entry in the browser's history
    sent.clear()
    app.run()
    assert not sent


def test_a_page_opened_without_an_address_gets_its_own_before_it_is_drawn(open_app, go_to, addresses, pair_folder):
    drawn, sent = addresses
    app = open_app("alpha", alpha="0.2")
    for name in list(app.query_params):
        del app.query_params[name]  # as the menu's link opens it
    sent.clear()
    go_to(app, "tokens")
    assert drawn[-1] == {"before": str(pair_folder / "before"), "after": str(pair_folder / "after"), "alpha": "0.2"}
    assert app.query_params["alpha"] == "0.2"
    assert len(sent) == 1


def test_the_runs_page_leaves_one_entry_though_it_chooses_the_newest_run_itself(open_app, go_to, addresses, save_run):
    _, sent = addresses
    save_run("r1")
    app = open_app("alpha", alpha="0.2")
    for name in list(app.query_params):
        del app.query_params[name]
    sent.clear()
    go_to(app, "runs")
    assert app.query_params["run"] == "r1"
    assert len(sent) == 1


def test_what_a_page_changes_itself_is_in_the_address_afterwards(open_app):
    app = open_app("tokens", tokens="3,9999")
    assert "9999 is not in this pair" in app.warning[0].value.replace(",", "")
    assert app.query_params["tokens"] == "3"


@pytest.mark.parametrize(
    ("page", "kept"),
    [
        ("tokens", "token_ids"),
        ("tokens", "token_filter"),
        ("layers", "layers"),
        ("checkpoints", "checkpoints"),
        ("checkpoints", "token_ids"),
        ("runs", "run_id"),
        ("compare", "compared_runs"),
        ("compare", "measure"),
        ("pair", "pair"),
    ],
)
def test_an_address_restores_what_it_was_made_from(page, kept):
    choice, problems = read_address(build_address(FULL, page), Choice())
    assert problems == ()
    assert (choice.pair, choice.alpha) == (FULL.pair, FULL.alpha)
    assert getattr(choice, kept) == getattr(FULL, kept)


def test_defaults_leave_no_trace_in_the_address():
    assert build_address(Choice(), "tokens") == {}


def test_an_empty_address_changes_nothing():
    assert read_address({}, FULL) == (FULL, ())


def test_another_pair_drops_what_was_picked_inside_the_old_one():
    choice, _ = read_address({"before": "/c", "after": "/d"}, FULL)
    assert choice.token_ids == ()
    assert choice.layers == LayersView("column", "*mlp*", "median", True, None)


@pytest.mark.parametrize("alpha", ["much", "0", "1", "-1", "nan", "inf", "1e-13"])
def test_a_wrong_alpha_is_told_and_ignored(alpha):
    choice, problems = read_address({"alpha": alpha}, Choice())
    assert choice.alpha == AlphaChoice()
    assert len(problems) == 1
    assert alpha in problems[0]


@pytest.mark.parametrize(
    "address",
    [
        {"correction": "sidak"},
        {"p": "exactly"},
        {"tokens": "3,the"},
        {"tokens": "9" * 5000},
        {"alpha": "9" * 5000},
        {"in": "titles"},
        {"kinds": "word,verb"},
        {"winners": "perhaps"},
        {"unit": "diagonal"},
        {"colour": "9" * 5000},
        {"scale": "cubic"},
        {"steps": "cubic"},
        {"checkpoints": "\n".join(map(str, range(5000)))},
    ],
)
def test_unknown_words_in_the_address_are_told(address):
    _, problems = read_address(address, Choice())
    assert len(problems) == 1
    assert len(problems[0]) < 250


def test_the_usable_part_of_a_wrong_address_is_used():
    choice, problems = read_address({"tokens": "3,the,3,8", "alpha": "0.2"}, Choice())
    assert choice.token_ids == (3, 8)
    assert choice.alpha.significance_level == 0.2
    assert len(problems) == 1


@pytest.mark.parametrize("page", ["pair", "tokens", "alpha", "layers", "checkpoints", "runs", "compare"])
def test_going_back_restores_the_defaults_that_an_address_leaves_out(page):
    then = Choice(pair=PairChoice("/a", "/b"))
    address = build_address(then, page)
    choice, _ = read_address(address, forget_addressed(FULL, page, address))
    assert build_address(choice, page) == address


def test_going_back_on_one_pair_keeps_the_picked_tokens():
    address = build_address(Choice(pair=FULL.pair), "alpha")
    choice, _ = read_address(address, forget_addressed(FULL, "alpha", address))
    assert (choice.token_ids, choice.alpha) == (FULL.token_ids, AlphaChoice())


@pytest.mark.parametrize("mode", SEARCH_MODES)
def test_every_search_mode_survives_the_address(mode):
    wanted = TokenFilter(search="x", mode=mode)
    assert read_address(build_address(Choice(token_filter=wanted), "tokens"), Choice())[0].token_filter == wanted


@pytest.mark.parametrize(
    ("text", "token_id"), [("0", 0), ("278", 278), ("-1", None), ("the", None), ("9" * 5000, None)]
)
def test_a_token_id_is_a_whole_number_of_a_sane_length(text, token_id):
    assert read_token_id(text) == token_id


@pytest.mark.parametrize("made", MADE_BEFORE, ids=lambda made: f"{made['page'] or 'typed'}-{len(str(made))}")
def test_an_address_made_before_restores_the_same_choice(made):
    choice, problems = read_address(made["address"], Choice())
    fields, default = (json.loads(json.dumps(asdict(one))) for one in (choice, Choice()))
    assert {name: value for name, value in fields.items() if value != default[name]} == {
        # a field that came later stands at its default
        name: {**default[name], **value} if isinstance(value, dict) else value
        for name, value in made["choice"].items()
    }
    assert list(problems) == made["problems"]
    if made["page"] is not None:
        assert build_address(choice, made["page"]) == made["address"]


def test_the_table_names_each_parameter_once_and_only_fields_that_exist():
    names = [parameter.name for parameter in PARAMETERS]
    assert len(set(names)) == len(names)
    fields = [(parameter.part, parameter.field) for parameter in PARAMETERS]
    assert len(set(fields)) == len(fields)
    for parameter in PARAMETERS:
        parameter.get(Choice())
