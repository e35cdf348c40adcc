"""Which part of a text, how much of it may be unusable, how long an example may be: fields of the form in the spec."""

import json

import pytest

from kslottery_core.tuning.settings import DEFAULT_LEARNING_RATES, TRAINED_METHODS


@pytest.fixture
def launched(monkeypatch):
    import kslottery_core.runs

    specs = []
    monkeypatch.setattr(kslottery_core.runs, "launch_run", lambda store, spec: specs.append(spec) or store.create(spec))
    return specs


@pytest.fixture
def write(tmp_path):
    def write_lines(name, *lines):
        path = tmp_path / name
        path.write_text("".join((json.dumps(line) if isinstance(line, dict) else line) + "\n" for line in lines))
        return str(path)

    return write_lines


@pytest.fixture
def flores(tmp_path):
    for split, count in (("dev", 3), ("devtest", 2)):
        (tmp_path / "flores" / split).mkdir(parents=True)
        for language in ("eng", "cat"):
            (tmp_path / "flores" / split / f"{language}.{split}").write_text("the word1\n" * count)
    return str(tmp_path / "flores")


@pytest.fixture
def open_form(open_app):
    def open_with(train, test="", method="embedding"):
        app = open_app("runs", alpha="0.5")
        app.session_state["run_form"] = True
        app.run()
        app.selectbox(key="run_method").set_value(method).run()
        values = {"run_train": train, "run_test": test, "run_source": "en", "run_target": "ca"}
        for key, value in values.items():
            app.text_input(key=key).set_value(value)
        app.run()
        assert not app.exception
        return app

    return open_with


def read_texts(app):
    return " ".join(element.value for kind in ("markdown", "caption", "warning") for element in app.get(kind))


def start(app):
    app.button(key="run_start").click().run()
    assert not app.exception
    return [error.value.replace("\\", "") for error in app.error]


PAIR = {"en": "the word1", "ca": "the"}


def test_a_folder_of_flores_is_asked_for_its_split_and_the_two_texts_differ(open_form, flores, launched):
    app = open_form(flores, flores)
    assert (app.selectbox(key="run_train_split").value, app.selectbox(key="run_test_split").value) == ("dev", "devtest")
    assert "3 lines read" in read_texts(app).replace("\\", "")
    assert start(app) == []
    assert (launched[0].train.split, launched[0].test.split) == ("dev", "devtest")


def test_another_split_can_be_chosen(open_form, flores, launched):
    app = open_form(flores)
    app.selectbox(key="run_train_split").set_value("devtest").run()
    assert "2 lines read" in read_texts(app).replace("\\", "")
    assert start(app) == []
    assert launched[0].train.split == "devtest"


def test_a_split_does_not_follow_to_a_file(open_form, flores, write, launched):
    app = open_form(flores)
    app.text_input(key="run_train").set_value(write("train.jsonl", PAIR)).run()
    assert not [field for field in app.selectbox if field.key == "run_train_split"]
    assert start(app) == []
    assert launched[0].train.split is None


def test_a_text_on_the_hub_is_asked_for_split_and_subset(open_form, launched):
    app = open_form("hub:organisation/texts")
    app.text_input(key="run_train_split").set_value("train")
    app.text_input(key="run_train_subset").set_value("ro-en").run()
    assert "lies on the hub" in read_texts(app)
    assert not launched


def test_the_limit_of_rejected_lines_is_a_share_of_both_texts(open_form, write, launched):
    bad = write("bad.jsonl", PAIR, "no JSON", PAIR)
    app = open_form(bad, bad)
    assert app.number_input(key="run_rejected_percent").value == 10.0
    assert "expected at most 10% of the lines to be rejected, found 1 of 3" in start(app)[0]
    app.number_input(key="run_rejected_percent").set_value(None).run()
    assert start(app) == ["The limit of rejected lines is missing; fill it in."]
    app.number_input(key="run_rejected_percent").set_value(40.0).run()
    assert start(app) == []
    assert (launched[0].train.max_rejected_share, launched[0].test.max_rejected_share) == (0.4, 0.4)


def test_the_longest_example_is_a_field_of_every_method(open_form, write, launched):
    app = open_form(write("train.jsonl", PAIR), method="full")
    assert app.number_input(key="run_max_length_full").value == 256
    app.number_input(key="run_max_length_full").set_value(None).run()
    assert start(app) == ["The length of the longest example is missing; fill it in."]
    app.number_input(key="run_max_length_full").set_value(99).run()
    assert start(app) == []
    assert launched[0].tuning.max_length == 99


@pytest.mark.parametrize("method", [method for method in TRAINED_METHODS if method != "ticket"])
def test_the_form_suggests_the_learning_rate_of_the_command_line(open_form, write, launched, method):
    app = open_form(write("train.jsonl", PAIR), method=method)
    assert start(app) == []
    assert launched[0].tuning.learning_rate == DEFAULT_LEARNING_RATES[method]


@pytest.mark.parametrize(
    ("method", "kind", "key", "value", "words"),
    [
        ("lora", "text_input", "run_lora_targets", "qproj", "no linear layer called 'qproj'"),
        ("lora", "number_input", "run_lora_rank", 5000, "lora rank: expected at most 32"),
        ("prefix", "number_input", "run_virtual_tokens", 2048, "leave no room for text in the 2,048 positions"),
        ("full", "number_input", "run_max_length_full", 10**9, "max_length: expected at most 2,048"),
        ("full", "number_input", "run_max_length_full", 3, "training pair 1 (line 1) alone has"),
        ("full", "number_input", "run_min_characters", 900, "none that passes the filters"),
        ("full", "text_area", "run_prompt", "no place", "expected the placeholder {source}"),
    ],
)
def test_what_cannot_run_is_one_sentence_and_every_entry_stays(
    open_form, write, launched, method, kind, key, value, words
):
    path = write("train.jsonl", PAIR)
    app = open_form(path, method=method)
    getattr(app, kind)(key=key).set_value(value)
    app.number_input(key="run_rejected_percent").set_value(25.0).run()
    (error,) = start(app)
    assert words in error
    assert "\n" not in error
    assert getattr(app, kind)(key=key).value == value
    assert app.number_input(key="run_rejected_percent").value == 25.0
    assert app.text_input(key="run_train").value == path
    assert app.selectbox(key="run_method").value == method
    assert not launched
