import json

import pytest

from dashboard.controls.run_summary import summarise_run
from dashboard.wording import METHOD_EXPLANATIONS, METHOD_NAMES, RULE_NAMES, TICKET_ROW_NAMES
from kslottery_core.runs import RunStore
from kslottery_core.tickets import RULES
from kslottery_core.tuning.settings import METHODS, TICKET_ROWS, TRAINED_METHODS


@pytest.fixture
def launched(monkeypatch):
    import kslottery_core.runs

    specs = []
    monkeypatch.setattr(kslottery_core.runs, "launch_run", lambda store, spec: specs.append(spec) or store.create(spec))
    return specs


@pytest.fixture
def open_method(open_app, tmp_path):
    """The form with one method and a text to train on."""

    def open_form(method, **address):
        path = tmp_path / "train.jsonl"
        path.write_text(json.dumps({"en": "the word1", "ca": "the"}) + "\n")
        app = open_app("runs", **({"alpha": "0.5"} | address))
        app.session_state["run_form"] = True
        app.run()
        app.selectbox(key="run_method").set_value(method).run()
        app.text_input(key="run_source").set_value("en")
        app.text_input(key="run_target").set_value("ca")
        app.text_input(key="run_train").set_value(str(path)).run()
        assert not app.exception
        return app

    return open_form


def start(app):
    app.button(key="run_start").click().run()
    assert not app.exception
    return [error.value.replace("\\", "") for error in app.error]


def read_captions(app):
    return " ".join(caption.value for caption in app.caption)


def has_field(app, kind, key):
    return any(field.key == key for field in app.get(kind))


def test_every_method_rule_and_choice_of_rows_has_words():
    assert set(METHOD_NAMES) == set(METHOD_EXPLANATIONS) == set(METHODS)
    assert set(RULE_NAMES) == set(RULES)
    assert set(TICKET_ROW_NAMES) == set(TICKET_ROWS)


@pytest.mark.parametrize("method", TRAINED_METHODS)
def test_every_method_is_explained_and_its_learning_rate_is_no_promise(open_method, launched, method):
    app = open_method(method)
    assert METHOD_EXPLANATIONS[method] in read_captions(app)
    assert "It is not fitted to your model" in read_captions(app)
    assert start(app) == []
    assert launched[0].method == method


def test_a_lora_gets_the_rank_alpha_and_layers_of_the_form(open_method, launched):
    app = open_method("lora")
    app.number_input(key="run_lora_rank").set_value(4)
    app.number_input(key="run_lora_alpha").set_value(8.0)
    app.number_input(key="run_lora_dropout").set_value(0.1)
    app.text_input(key="run_lora_targets").set_value(" q_proj, v_proj ,")
    assert start(app) == []
    lora = launched[0].tuning.lora
    assert (lora.rank, lora.alpha, lora.dropout) == (4, 8.0, 0.1)
    assert lora.target_modules == ("q_proj", "v_proj")
    assert launched[0].tuning.learning_rate == 1e-3


def test_a_prefix_gets_its_length_and_no_whole_model(open_method, launched):
    app = open_method("lora")
    app.selectbox(key="run_output").set_value("checkpoint").run()
    app.selectbox(key="run_method").set_value("prefix").run()
    assert not has_field(app, "selectbox", "run_output")
    app.number_input(key="run_virtual_tokens").set_value(7)
    assert start(app) == []
    assert (launched[0].tuning.prefix.virtual_tokens, launched[0].output) == (7, "rows")


@pytest.mark.parametrize(
    ("method", "key", "words"),
    [
        ("lora", "run_lora_rank", "The rank is missing"),
        ("lora", "run_lora_alpha", "The LoRA alpha is missing"),
        ("lora", "run_lora_dropout", "The dropout is missing"),
        ("prefix", "run_virtual_tokens", "The length of the prefix is missing"),
    ],
)
def test_a_cleared_number_of_a_method_is_one_sentence(open_method, launched, method, key, words):
    app = open_method(method)
    app.number_input(key=key).set_value(None)
    (error,) = start(app)
    assert words in error
    assert not launched


def test_what_was_entered_for_a_method_is_there_when_it_is_chosen_again(open_method):
    app = open_method("lora")
    app.number_input(key="run_lora_rank").set_value(3)
    app.text_input(key="run_lora_targets").set_value("q_proj").run()
    app.selectbox(key="run_method").set_value("prefix").run()
    app.selectbox(key="run_method").set_value("lora").run()
    assert app.number_input(key="run_lora_rank").value == 3
    assert app.text_input(key="run_lora_targets").value == "q_proj"


def test_both_ends_of_a_tied_model_can_be_trained(open_method, launched, tied_folder):
    app = open_method("ticket", before=str(tied_folder / "before"), after=str(tied_folder / "after"))
    app.selectbox(key="run_ticket_rows").set_value("input_and_head").run()
    assert "where they are predicted" in read_captions(app)
    assert start(app) == []
    assert launched[0].tuning.ticket_rows == "input_and_head"


def test_both_ends_are_no_choice_where_the_model_is_not_tied(open_method, launched):
    app = open_method("ticket")
    assert not has_field(app, "selectbox", "run_ticket_rows")
    assert start(app) == []
    assert launched[0].tuning.ticket_rows == "input"


def test_both_ends_do_not_follow_to_another_method_or_model(open_method, launched, tied_folder, pair_folder):
    app = open_method("ticket", before=str(tied_folder / "before"), after=str(tied_folder / "after"))
    app.selectbox(key="run_ticket_rows").set_value("input_and_head").run()
    app.text_input(key="run_model").set_value(str(pair_folder / "before")).run()
    assert start(app) == []
    assert launched[0].tuning.ticket_rows == "input"


@pytest.mark.parametrize("method", TRAINED_METHODS)
def test_the_loss_of_every_trained_method_is_drawn(open_app, save_run, method):
    ticket = {"token_ids": [3], "vocabulary_size": 64, "rule": "random", "note": "1 random tokens, seed 0."}
    folder = save_run("r1", method=method, ticket=ticket if method == "ticket" else None)
    line = {"phase": "tune", "step": 3, "total": 12, "loss": 2.5, "time": 111.0}
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    app = open_app("runs")
    assert app.get("plotly_chart")


def test_what_was_asked_names_the_settings_of_the_method(open_app, save_run):
    folder = save_run("r1", method="lora")
    spec = json.loads((folder / "spec.json").read_text())
    spec["tuning"] = {"lora": {"rank": 4, "alpha": 8.0, "target_modules": ["q_proj"]}, "max_steps": 9}
    (folder / "spec.json").write_text(json.dumps(spec))
    text = " ".join(element.value for element in open_app("runs").markdown).replace("\\", "")
    assert "LoRA: rank 4, alpha 8, dropout 0, q_proj" in text
    assert "Learning rate 0.005, 9 steps of 16 pairs" in text


def test_compare_names_the_methods_and_how_rows_were_chosen(open_app, save_run, make_score):
    ticket = {"token_ids": [3, 5], "vocabulary_size": 64, "rule": "matched"}
    save_run("r1", method="ticket", ticket=ticket, scores=[make_score(10.0)])
    save_run("r2", method="lora", scores=[make_score(30.0)])
    save_run("r3", method="prefix", scores=[make_score(20.0)])
    app = open_app("compare")
    cost = app.dataframe[1].value.set_index("Run")
    assert cost.loc["Run r2", "Method"] == "LoRA"
    assert cost.loc["Run r3", "Method"] == "Prefix tuning"
    assert cost.loc["Run r1", "Rows chosen by"] == "random, as frequent"
    assert cost.loc["Run r2", "Rows chosen by"] == "no ticket"
    assert summarise_run(RunStore().get("r1")).ticket_rule == "matched"
