"""Rows as the union or intersection of tickets: the present one, those of runs, and files."""

import json

import pytest

from dashboard.controls.ticket_shelf import AT_ALPHA
from dashboard.views.runs import row_choice

CORPUS = {"en": "the word1", "ca": "the"}


@pytest.fixture
def launched(monkeypatch):
    import kslottery_core.runs

    specs = []
    monkeypatch.setattr(kslottery_core.runs, "launch_run", lambda store, spec: specs.append(spec) or store.create(spec))
    return specs


def make_ticket(*token_ids, **changes):
    return {"token_ids": list(token_ids), "vocabulary_size": 64, "rule": "list", "width": 32, **changes}


@pytest.fixture
def open_form(open_app, save_run, tmp_path):
    """The form with two runs that have tickets, rows put together in one way."""
    save_run("r1", method="ticket", name="First", ticket=make_ticket(3, 20, 40), created=1.0)
    save_run("r2", method="ticket", name="Second", ticket=make_ticket(20, 40, 41), created=2.0)
    save_run("r3", method="transfer", name="Second again", ticket=make_ticket(20, 40, 41), created=1.5)
    save_run("r4", name="No ticket")

    def open_with(source, **address):
        path = tmp_path / "train.jsonl"
        path.write_text(json.dumps(CORPUS) + "\n")
        app = open_app("runs", **({"alpha": "0.5"} | address))
        app.session_state["run_form"] = True
        app.run()
        for key, value in (("run_source", "en"), ("run_target", "ca"), ("run_train", str(path))):
            app.text_input(key=key).set_value(value)
        app.selectbox(key="run_ticket_source").set_value(source).run()
        assert not app.exception
        return app

    return open_with


def read_texts(app):
    return " ".join(element.value for kind in ("markdown", "caption") for element in app.get(kind))


def choose(app, *keys):
    app.session_state["run_combined"] = list(keys)
    return app.run()


def start(app):
    app.button(key="run_start").click().run()
    assert not app.exception
    return [error.value.replace("\\", "") for error in app.error]


def test_the_present_ticket_and_those_of_runs_are_at_hand_each_once(open_form):
    app = open_form(row_choice.FROM_UNION)
    shelf = app.multiselect(key="run_combined")
    assert shelf.value == [AT_ALPHA]
    assert [option.rpartition(" (")[0] for option in shelf.options] == [
        "The ticket at α 0.5",
        "That of the run Second",
        "That of the run First",
    ]
    assert shelf.options[2].endswith("(3 tokens)")


@pytest.mark.parametrize(
    ("source", "rule", "ids"),
    [(row_choice.FROM_UNION, "union", (3, 20, 40, 41)), (row_choice.FROM_INTERSECTION, "intersection", (20, 40))],
)
def test_the_tickets_of_two_runs_are_put_together_and_tuned(open_form, launched, source, rule, ids):
    app = choose(open_form(source), "r1", "r2")
    assert f"**{len(ids)} tokens**" in read_texts(app)
    assert start(app) == []
    ticket = launched[0].ticket
    assert (ticket.rule, ticket.token_ids, ticket.width) == (rule, ids, 32)
    assert "that of the run First (3 tokens)" in ticket.note
    assert launched[0].name == f"Partial Tuning, {rule} of tickets"


def test_files_are_added_to_what_is_chosen(open_form, launched):
    app = choose(open_form(row_choice.FROM_UNION), "r1")
    files = [("more.json", json.dumps(make_ticket(50)).encode(), "application/json"), ("l.txt", b"51", "text/plain")]
    app.file_uploader(key="run_combined_files").set_value(files).run()
    assert start(app) == []
    assert launched[0].ticket.token_ids == (3, 20, 40, 50, 51)
    assert "more.json (1 tokens)" in launched[0].ticket.note


@pytest.mark.parametrize(
    ("keys", "content", "words"),
    [
        ((), None, "At least two tickets are needed, found none"),
        (("r1",), None, "At least two tickets are needed, found one"),
        (("r1",), make_ticket(3, 3), "wrong.json: ticket: expected distinct token ids"),
        (
            ("r1",),
            make_ticket(3, vocabulary_size=99),
            "expected tickets for the same vocabulary, found 64 in that of the run",
        ),
        (("r1",), make_ticket(3, width=8), "expected tickets of the same width, found 32 in that of the run"),
        (("r1",), make_ticket(), "wrong.json: this ticket is empty"),
        (("r1",), {"token_ids": "x"}, "wrong.json: field 'token_ids'"),
    ],
)
def test_what_cannot_be_put_together_is_one_sentence_and_stays_chosen(open_form, launched, keys, content, words):
    app = choose(open_form(row_choice.FROM_UNION), *keys)
    if content is not None:
        file = ("wrong.json", json.dumps(content).encode(), "application/json")
        app.file_uploader(key="run_combined_files").set_value([file]).run()
    assert words in read_texts(app).replace("\\", "")
    (error,) = start(app)
    assert words in error
    assert app.session_state["run_combined"] == list(keys)
    assert not launched


def test_tickets_without_a_common_token_are_told_at_the_start(open_form, launched, save_run):
    save_run("r5", method="ticket", name="Alone", ticket=make_ticket(60), created=0.5)
    app = choose(open_form(row_choice.FROM_INTERSECTION), "r1", "r5")
    assert "**0 tokens**" in read_texts(app)
    assert start(app) == ["The ticket is empty; choose rows in another way."]
    assert not launched


def test_without_a_pair_tickets_of_runs_can_still_be_put_together(open_form, open_app):
    app = open_form(row_choice.FROM_UNION)
    app = open_app("runs", with_pair=False)
    app.session_state["run_form"] = True
    app.run()
    app.selectbox(key="run_ticket_source").set_value(row_choice.FROM_UNION).run()
    assert len(app.multiselect(key="run_combined").options) == 2
