import json

import pytest

from dashboard.views.runs import row_choice
from kslottery_core.tickets import load_ticket, save_ticket, select_random_ticket


@pytest.fixture
def text(tmp_path):
    """`the` stands twice in every pair, word1 once, word2 in the first pair alone."""
    lines = [{"en": "the word1 word2", "ca": "the"}, {"en": "the word1", "ca": "the"}]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def launched(monkeypatch):
    import kslottery_core.runs

    specs = []
    monkeypatch.setattr(kslottery_core.runs, "launch_run", lambda store, spec: specs.append(spec) or store.create(spec))
    return specs


@pytest.fixture
def open_form(open_app, text):
    """The form on the tests' pair with a text to train on, rows chosen in one way."""

    def open_with(source, *, method="ticket", **address):
        app = open_app("runs", **({"alpha": "0.5"} | address))
        app.session_state["run_form"] = True
        app.run()
        app.text_input(key="run_source").set_value("en")
        app.text_input(key="run_target").set_value("ca")
        app.text_input(key="run_train").set_value(str(text))
        if method != "ticket":
            app.selectbox(key="run_method").set_value(method).run()
        app.selectbox(key="run_ticket_source").set_value(source).run()
        assert not app.exception
        return app

    return open_with


def read_texts(app):
    return " ".join(element.value for kind in ("markdown", "caption") for element in app.get(kind))


def start(app):
    app.button(key="run_start").click().run()
    assert not app.exception
    return [error.value for error in app.error]


def test_the_most_frequent_tokens_are_shown_and_tuned(open_form, launched):
    app = open_form(row_choice.FROM_FREQUENT)
    app.number_input(key="run_frequent").set_value(2).run()
    assert "most frequent tokens of train.jsonl (as read in training)" in read_texts(app).replace("\\", "")
    app.selectbox(key="run_counted").set_value("text").run()
    shown = read_texts(app)
    assert "(the text alone)" in shown.replace("\\", "")
    assert "**2 tokens**" in shown
    assert "`the`" in shown
    assert "most frequent tokens of train.jsonl" in shown
    assert "also in the ticket at α = 0.5" in shown
    assert start(app) == []
    (spec,) = launched
    assert (spec.ticket.rule, spec.ticket.size, spec.ticket.width) == ("frequent", 2, 32)
    assert 2 in spec.ticket.token_ids
    assert spec.name == "Partial Tuning, 2 frequent tokens"


def test_random_rows_are_as_many_as_the_ticket_and_follow_their_seed(open_form, launched):
    app = open_form(row_choice.FROM_RANDOM)
    size = app.number_input(key="run_random").value
    assert size == int(app.text_input(key="run_name").placeholder.split(", ")[1].split()[0])
    app.number_input(key="run_row_seed").set_value(5).run()
    assert start(app) == []
    assert launched[0].ticket.token_ids == select_random_ticket(64, size, 5).token_ids


def test_matched_rows_lie_outside_the_ticket(open_form, launched):
    app = open_form(row_choice.FROM_ALPHA)
    start(app)
    app = open_form(row_choice.FROM_MATCHED)
    assert "None of them is in the ticket" in read_texts(app)
    start(app)
    at_alpha, matched = (spec.ticket for spec in launched)
    assert at_alpha.size == matched.size
    assert not set(at_alpha.token_ids) & set(matched.token_ids)


def test_matching_an_empty_ticket_is_told(open_form, launched):
    app = open_form(row_choice.FROM_MATCHED, alpha="1e-12", correction="bonferroni")
    assert "nothing to match" in read_texts(app)
    assert "nothing to match" in start(app)[0]
    assert not launched


def test_the_tokens_of_the_prompt_follow_the_template(open_form, launched):
    app = open_form(row_choice.FROM_PROMPT)
    app.text_area(key="run_prompt").set_value("word1 {source} .").run()
    assert "Tokens of the prompt template" in read_texts(app)
    start(app)
    assert launched[0].ticket.rule == "prompt"
    app = open_form(row_choice.FROM_PROMPT)
    app.text_area(key="run_prompt").set_value("no place for it").run()
    assert r"\{source\}" in read_texts(app) or "{source}" in read_texts(app)


def test_a_published_ticket_of_another_model_is_told_before_the_start(open_form, launched):
    app = open_form(row_choice.FROM_PUBLISHED)
    app.selectbox(key="run_published").set_value("en-ca@0.05").run()
    shown = read_texts(app)
    assert "**18 tokens**" in shown
    assert "another vocabulary" in shown
    assert "this model of 64 rows" in shown
    assert "64 rows" in start(app)[0]
    assert not launched


def test_a_typed_list_is_shown_and_tuned(open_form, launched):
    app = open_form(row_choice.FROM_LIST)
    app.text_area(key="run_list").set_value('5-7, the, "7"').run()
    assert "**5 tokens**" in read_texts(app)
    start(app)
    assert launched[0].ticket.token_ids == (2, 4, 5, 6, 7)
    assert launched[0].ticket.note == "5 tokens named in the run form."


@pytest.mark.parametrize(
    ("typed", "words"),
    [("5-3", "from the smaller id"), ("99", "from 0 to 63"), ("nosuch", "no token"), ("", "found none")],
)
def test_a_wrong_list_is_one_sentence_and_stays_as_typed(open_form, launched, typed, words):
    app = open_form(row_choice.FROM_LIST)
    app.text_area(key="run_list").set_value(typed).run()
    (error,) = start(app)
    assert words in error
    assert app.text_area(key="run_list").value == typed
    assert not launched


@pytest.mark.parametrize(
    ("name", "content", "ids"),
    [("list.txt", b"5, 6\n7", (5, 6, 7)), ("list.json", b'[5, "the"]', (2, 5)), ("ticket.json", None, None)],
)
def test_a_file_may_hold_a_ticket_or_a_list(open_form, launched, tmp_path, name, content, ids):
    ticket = select_random_ticket(64, 3, 1)
    if content is None:
        save_ticket(ticket, tmp_path / "t.json")
        content, ids = (tmp_path / "t.json").read_bytes(), load_ticket(tmp_path / "t.json").token_ids
    app = open_form(row_choice.FROM_FILE)
    app.file_uploader(key="run_ticket_file").set_value((name, content, "text/plain")).run()
    assert f"**{len(ids)} tokens**" in read_texts(app)
    assert start(app) == []
    assert launched[0].ticket.token_ids == ids


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"{", "no JSON file"), (b"\xff\xfe", "not valid UTF-8"), (b"{}", "missing"), (b"1 1", "2 times")],
)
def test_a_file_that_is_no_ticket_is_one_sentence(open_form, launched, content, words):
    app = open_form(row_choice.FROM_FILE)
    app.file_uploader(key="run_ticket_file").set_value(("ticket.json", content, "application/json")).run()
    (error,) = start(app)
    assert words in error
    assert not launched


def test_transfer_asks_for_a_text_only_to_count_tokens_in(open_form, launched, text):
    app = open_form(row_choice.FROM_ALPHA, method="transfer")
    assert not [field for field in app.text_input if field.key == "run_train"]
    app.selectbox(key="run_ticket_source").set_value(row_choice.FROM_FREQUENT).run()
    assert app.text_input(key="run_train").label == "Text to count tokens in"
    app.text_input(key="run_train").set_value(str(text)).run()
    assert start(app) == []
    assert (launched[0].ticket.rule, launched[0].train) == ("frequent", None)


def test_without_a_pair_rows_are_chosen_from_the_named_model(open_app, pair_folder, text, launched):
    app = open_app("runs", with_pair=False)
    assert row_choice.FROM_ALPHA not in app.selectbox(key="run_ticket_source").options
    app.selectbox(key="run_ticket_source").set_value(row_choice.FROM_RANDOM).run()
    assert "base model is missing" in read_texts(app)
    app.text_input(key="run_model").set_value(str(pair_folder / "before"))
    app.text_input(key="run_train").set_value(str(text))
    app.text_input(key="run_source").set_value("en")
    app.text_input(key="run_target").set_value("ca").run()
    assert "**20 tokens**" in read_texts(app)
    assert start(app) == []
    assert launched[0].ticket.size == 20


def test_a_model_on_the_hub_is_not_asked_for_before_a_click(open_form, monkeypatch):
    from kslottery_core import checkpoints

    app, asked = open_form(row_choice.FROM_RANDOM), []
    monkeypatch.setattr(checkpoints, "open_embedding", lambda model, **how: asked.append(model))
    app.text_input(key="run_model").set_value("organisation/model").run()
    assert asked == []
    assert app.button(key="fetch_vocabulary").label.startswith("Fetch it")


def test_a_cleared_number_is_told_in_the_preview_and_at_the_start(open_form, launched):
    app = open_form(row_choice.FROM_RANDOM)
    app.number_input(key="run_random").set_value(None).run()
    assert not app.exception
    assert "number of tokens is missing" in read_texts(app)
    assert start(app) == ["The number of tokens is missing; fill it in."]
