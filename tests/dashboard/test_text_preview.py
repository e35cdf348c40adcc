import json

import pytest

from dashboard.loaders.texts import sign_text
from dashboard.views.runs.text_preview import OPEN_PREVIEW, SHARED, TOKENS
from kslottery_core.corpora import CorpusSpec


@pytest.fixture
def launched(monkeypatch):
    import kslottery_core.runs

    specs = []
    monkeypatch.setattr(kslottery_core.runs, "launch_run", lambda store, spec: specs.append(spec) or store.create(spec))
    return specs


@pytest.fixture
def write(tmp_path):
    def write_text(name, content):
        if isinstance(content, list):
            content = "".join(json.dumps(line) + "\n" for line in content)
        (tmp_path / name).write_text(content, encoding="utf-8")
        return str(tmp_path / name)

    return write_text


@pytest.fixture
def pairs():
    return [{"en": f"the word{number} .", "ca": f"the word{number + 9}"} for number in range(12)]


@pytest.fixture
def open_form(open_app):
    """The form with these texts; `tab` is the open tab of the preview."""

    def open_with(train="", test="", *, tab=None, method="ticket", source="en", target="ca", **address):
        app = open_app("runs", **({"alpha": "0.5"} | address))
        app.selectbox(key="run_method").set_value(method).run()
        values = {"run_train": train, "run_test": test, "run_source": source, "run_target": target}
        for key, value in values.items():
            if [field for field in app.text_input if field.key == key]:
                app.text_input(key=key).set_value(value)
        app.run()
        if tab is not None:
            app.session_state[OPEN_PREVIEW] = True
            parts = [part for part in (train, test) if part]
            app.session_state[f"run_text_tabs_{3 if len(parts) == 2 else 1}"] = tab
            app.run()
        assert not app.exception
        return app

    return open_with


def read_texts(app):
    return " ".join(element.value for kind in ("markdown", "caption", "warning") for element in app.get(kind))


def find_table(app, column):
    return next(table.value for table in app.dataframe if column in table.value.columns)


def test_what_a_text_holds_is_told_before_anything_is_opened(open_form, write, pairs):
    app = open_form(write("train.jsonl", pairs))
    assert "Training text: JSON, one object a line. 12 lines read\\: 12 accepted, 0 rejected." in read_texts(app)
    assert not [table for table in app.dataframe if "Source" in table.value.columns]


def test_nothing_is_told_of_texts_that_are_not_named(open_form):
    app = open_form()
    assert "lines read" not in read_texts(app)
    assert not app.get("tab")


def test_the_first_pairs_and_the_rejected_lines_are_shown(open_form, write, pairs):
    app = open_form(write("train.jsonl", [*pairs[:3], {"en": "alone"}, *pairs[3:]]), tab="Training text")
    table = find_table(app, "Source")
    assert list(table["Line"]) == [1, 2, 3, 5, 6]
    assert (table["Source"][0], table["Target"][0]) == ("the word0 .", "the word9")
    rejected = find_table(app, "Reason")
    assert (rejected["Line"][0], rejected["Reason"][0]) == (4, "the field 'ca' is missing")
    assert "a run refuses" not in read_texts(app)


def test_a_text_that_a_run_would_refuse_is_told(open_form, write, pairs):
    app = open_form(write("train.jsonl", [*pairs, {"en": "x"}, {"en": "y"}]), tab="Training text")
    assert "a run refuses a text with more than 10%" in read_texts(app)


def test_filters_are_counted_and_reach_the_run(open_form, write, pairs, launched):
    app = open_form(write("train.jsonl", [*pairs, pairs[0], {"en": "the", "ca": "the " * 40}]))
    app.checkbox(key="run_drop_duplicates").set_value(True)
    app.number_input(key="run_max_characters").set_value(60).run()
    assert "12 accepted, 0 rejected, 1 too long, 1 repeated" in read_texts(app)
    app.button(key="run_start").click().run()
    assert (launched[0].train.drop_duplicates, launched[0].train.max_characters) == (True, 60)


def test_columns_that_are_not_found_can_be_chosen(open_form, write, launched):
    path = write("train.csv", "id,one,two\n" + "".join(f"{n},the word{n},the\n" for n in range(4)))
    app = open_form(path)
    assert "has no column `en` or `ca`" in read_texts(app)
    app.button(key="run_start").click().run()
    assert "The column of the source sentences in the training text is not chosen" in app.error[0].value
    app.selectbox(key="run_train_source_column").set_value("one").run()
    app.selectbox(key="run_train_target_column").set_value("two").run()
    assert "4 lines read\\: 4 accepted" in read_texts(app)
    app.button(key="run_start").click().run()
    assert not app.error
    assert (launched[0].train.source_column, launched[0].train.target_column) == ("one", "two")


def test_columns_with_usual_names_are_proposed(open_form, write, launched):
    app = open_form(write("train.tsv", "src\ttgt\nthe word1\tthe\n"))
    assert app.selectbox(key="run_train_source_column").value == "src"
    app.button(key="run_start").click().run()
    assert not app.error
    assert launched[0].train.target_column == "tgt"


def test_one_column_for_both_sides_is_one_sentence(open_form, write, launched):
    app = open_form(write("train.csv", "one,two\nthe,the\n"))
    for side in ("source", "target"):
        app.selectbox(key=f"run_train_{side}_column").set_value("one").run()
    assert "two different columns" in read_texts(app)
    app.button(key="run_start").click().run()
    assert "two different columns" in app.error[0].value
    assert not launched


def test_a_choice_of_columns_does_not_follow_to_another_file(open_form, write, pairs, launched):
    app = open_form(write("train.csv", "one,two\nthe,the\n"))
    app.selectbox(key="run_train_source_column").set_value("one").run()
    app.text_input(key="run_train").set_value(write("train.jsonl", pairs)).run()
    assert not [field for field in app.selectbox if field.key == "run_train_source_column"]
    app.button(key="run_start").click().run()
    assert launched[0].train.source_column is None


def test_languages_that_a_translation_memory_lacks_are_told_with_those_it_has(open_form, write):
    units = "<tu><tuv xml:lang='fr'><seg>a</seg></tuv><tuv xml:lang='de'><seg>b</seg></tuv></tu>"
    app = open_form(write("train.tmx", f"<tmx><body>{units}</body></tmx>"))
    assert "It has 2 languages or columns: `fr`, `de`." in read_texts(app)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("train.jsonl", "", "expected at least one line"),
        ("train.csv", "en,ca\n", "expected at least one line"),
        ("train.txt", "hello", "expected a file that ends in"),
        ("train.json", "[1, 2", "train.json"),
        ("train.jsonl", "\0\0", "binary file"),
    ],
)
@pytest.mark.parametrize("tab", ["Training text", TOKENS])
def test_a_text_that_cannot_be_read_is_one_sentence_wherever_one_looks(open_form, write, name, content, words, tab):
    path = write(name, content)
    app = open_form(path, tab=tab)
    assert words in read_texts(app).replace("\\", "")
    assert app.text_input(key="run_train").value == path


def test_a_path_without_a_file_is_told_before_the_start(open_form):
    app = open_form("/no/such/text.jsonl", tab="Training text")
    assert "There is no file at /no/such/text.jsonl" in read_texts(app).replace("\\", "")
    assert not app.error


def test_shared_sentences_are_shown_with_their_lines(open_form, write, pairs):
    tests = [{"en": "something else entirely here", "ca": "x"}, pairs[4]]
    app = open_form(write("train.jsonl", pairs), write("test.jsonl", tests), tab=SHARED)
    assert "**1 of 2 test sentences** stands in the training text word for word" in read_texts(app)
    table = find_table(app, "Likeness")
    assert (table["Test line"][0], table["Training line"][0], table["Likeness"][0]) == (2, 5, 1.0)
    assert table["Test sentence"][0] == table["Training sentence"][0] == "the word4 ."


def test_texts_that_share_nothing_say_so(open_form, write, pairs):
    app = open_form(write("train.jsonl", pairs), write("test.jsonl", [{"en": "quite other", "ca": "y"}]), tab=SHARED)
    assert "**0 of 1 test sentence**" in read_texts(app)


def test_the_tokens_that_count_for_the_loss_are_marked(open_form, write, pairs):
    app = open_form(write("train.jsonl", pairs), tab=TOKENS)
    (chips,) = [element.proto.body for element in app.get("html") if "learned" in element.proto.body]
    assert chips.count('class="learned"') == 3  # the, word9, end
    assert chips.endswith('<span class="learned">&lt;/s&gt;</span>&#8203;</div>')
    assert "3 tokens" in read_texts(app)


def test_the_tokens_follow_the_prompt_and_the_example(open_form, write, pairs):
    app = open_form(write("train.jsonl", pairs), tab=TOKENS)
    app.text_area(key="run_prompt").set_value("word1 {source} .").run()
    before = app.get("html")[0].proto.body
    assert before.count('class="read"') < 12
    app.text_area(key="run_prompt").set_value("word1").run()
    assert "{source}" in app.warning[0].value.replace("\\", "")


def test_a_token_is_text_and_no_mark_up(open_form, write, pair_folder):
    app = open_form(write("train.jsonl", [{"en": "the", "ca": "the"}]), tab=TOKENS)
    body = app.get("html")[0].proto.body
    assert "<s>" not in body
    assert "&lt;/s&gt;" in body


def test_instructions_bring_their_own_template(open_form, write, launched):
    lines = [{"instruction": "the word1", "input": "", "output": "word2"}] * 2
    app = open_form(write("train.json", json.dumps(lines)), tab="Training text")
    assert "brings its own prompt template" in read_texts(app)
    app.button(key="run_start").click().run()
    assert not app.error


def test_a_text_on_the_hub_is_fetched_only_when_asked_for(open_form, monkeypatch, launched):
    from dashboard.controls import text_fields

    asked = []
    monkeypatch.setattr(text_fields, "load_preview", lambda spec: asked.append(spec))
    app = open_form("hub:organisation/texts", tab="Training text")
    assert asked == []
    assert "lies on the hub" in read_texts(app)
    assert app.button(key="fetch_train").label.startswith("Fetch the training text")


def test_the_base_model_has_only_its_test_text_looked_at(open_form, write, pairs):
    app = open_form("", write("test.jsonl", pairs), method="base", tab=TOKENS)
    assert "which the model reads" in read_texts(app)


def test_a_changed_file_is_another_text(write, pairs):
    path = write("train.jsonl", pairs)
    before = sign_text(CorpusSpec(path))
    write("train.jsonl", pairs[:2])
    assert sign_text(CorpusSpec(path)) != before
