import json
import os
import time

import psutil
import pytest

from dashboard import loaders
from dashboard.controls.run_summary import describe_group_differences, group_runs, summarise_run
from dashboard.views.runs import form as entries
from kslottery_core.errors import RunError
from kslottery_core.jobs import read_host
from kslottery_core.runs import RunStore


@pytest.fixture
def texts(tmp_path):
    for part in ("train", "test"):
        line = json.dumps({"translation": {"en": f"a {part}", "ca": f"un {part}"}})
        (tmp_path / f"{part}.jsonl").write_text(line + "\n")
    return tmp_path


@pytest.fixture
def launched(monkeypatch):
    """Runs are laid out as Start asks, but no process begins."""
    import kslottery_core.runs

    specs = []

    def launch(store, spec):
        record = store.create(spec)
        specs.append(spec)
        return record

    monkeypatch.setattr(kslottery_core.runs, "launch_run", launch)
    return specs


@pytest.fixture
def running():
    """What a status holds while its process lives: here the process is this test."""
    process = psutil.Process(os.getpid())
    return {"pid": process.pid, "process_started": process.create_time(), "host": read_host()}


HOSTILE = "[run](https://evil.example) ![i](https://evil.example/i.png) $x$ `c` :material/star:"


def fill_texts(app, texts):
    app.text_input(key="run_source").set_value("en")
    app.text_input(key="run_target").set_value("ca")
    app.text_input(key="run_train").set_value(str(texts / "train.jsonl"))
    app.text_input(key="run_test").set_value(str(texts / "test.jsonl"))


def test_runs_without_any_run_open_the_form(open_app):
    app = open_app("runs")
    assert "No run yet" in app.info[0].value
    assert app.text_input(key="run_model").value.endswith("before")


def test_runs_work_without_a_pair(open_app):
    app = open_app("runs", with_pair=False)
    app.button(key="run_start").click().run()
    assert "base model is missing" in app.error[0].value


def test_start_launches_what_the_form_says(open_app, texts, launched):
    app = open_app("runs", alpha="0.5")
    fill_texts(app, texts)
    app.number_input(key="run_steps_ticket").set_value(7)
    app.button(key="run_start").click().run()
    assert not app.exception
    (spec,) = launched
    assert spec.method == "ticket"
    assert spec.ticket.size >= 1
    assert spec.ticket.fingerprint_before is not None
    assert spec.tuning.max_steps == 7
    assert spec.train.path == str(texts / "train.jsonl")
    assert spec.evaluation.beams == 1
    assert app.query_params["run"] == RunStore().list()[0].run_id
    assert "has not begun" in app.info[0].value


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("run_train", "", "training text is missing"),
        ("run_test", "/nowhere.jsonl", "no file at /nowhere.jsonl"),
        ("run_model", "/no/such/model", "/no/such/model"),
        ("run_prompt", "Translate this.", "{source}"),
        ("run_target", "en", "two different columns"),
    ],
)
def test_a_wrong_entry_is_one_message_and_nothing_is_lost(open_app, texts, launched, key, value, words):
    app = open_app("runs", alpha="0.5")
    fill_texts(app, texts)
    field = app.text_area(key=key) if key == "run_prompt" else app.text_input(key=key)
    field.set_value(value)
    app.text_input(key="run_name").set_value("my run")
    app.button(key="run_start").click().run()
    assert not app.exception
    assert len(app.error) == 1
    assert words in app.error[0].value
    assert not launched
    assert app.text_input(key="run_name").value == "my run"
    assert (app.text_area(key=key) if key == "run_prompt" else app.text_input(key=key)).value == value


def test_an_empty_ticket_is_not_started_and_the_largest_d_is_offered(open_app, texts, launched):
    app = open_app("runs", alpha="1e-12", correction="bonferroni")
    fill_texts(app, texts)
    app.button(key="run_start").click().run()
    assert "The ticket is empty" in app.error[0].value
    app.selectbox(key="run_ticket_source").set_value(entries.FROM_TOP).run()
    app.number_input(key="run_top").set_value(4)
    app.button(key="run_start").click().run()
    assert launched[0].ticket.size == 4


def test_an_emptied_number_is_told(open_app, texts, launched):
    app = open_app("runs", alpha="0.5")
    fill_texts(app, texts)
    app.number_input(key="run_batch_ticket").set_value(None)
    app.button(key="run_start").click().run()
    assert not app.exception
    assert [error.value for error in app.error] == ["The number of sentences a batch is missing; fill it in."]


def test_each_method_asks_for_what_it_needs(open_app, texts, launched):
    app = open_app("runs", alpha="0.5")
    fill_texts(app, texts)
    app.selectbox(key="run_method").set_value("transfer").run()
    assert app.text_input(key="run_after").value.endswith("after")
    assert not [field for field in app.text_input if field.key == "run_train"]
    app.button(key="run_start").click().run()
    assert (launched[0].method, launched[0].train) == ("transfer", None)


@pytest.fixture
def demo(pair_folder, tmp_path, monkeypatch):
    """A demo made of the tests' pair, with its text; its runs are saved under `runs`."""
    folder = tmp_path / "demo"
    folder.mkdir()
    for name in ("before", "after"):
        (folder / name).symlink_to(pair_folder / name)
    (folder / "train.jsonl").touch()
    monkeypatch.setattr(loaders, "DEMO_PATH", folder)
    return folder


def save_demo_run(save_run, demo, method, tuning):
    folder = save_run(f"r-{method}", root=demo / "runs", method=method)
    spec = json.loads((folder / "spec.json").read_text())
    spec |= {"tuning": tuning, "evaluation": {"max_new_tokens": 48}}
    (folder / "spec.json").write_text(json.dumps(spec))


def open_form(app):
    app.session_state["run_form"] = True
    return app.run()


def test_the_demo_texts_are_suggested_on_the_demo_alone(open_app, demo):
    keys = ("run_train", "run_source", "run_target")
    app = open_app("runs", with_pair=False)
    assert [app.text_input(key=key).value for key in keys] == [str(demo / "train.jsonl"), "en", "ca"]
    app = open_app("runs")
    assert [app.text_input(key=key).value for key in keys] == ["", "", ""]
    assert app.text_input(key="run_train").placeholder


def test_a_suggestion_of_the_demo_does_not_follow_to_another_pair(open_app, demo, pair_folder, go_to, save_run):
    save_demo_run(save_run, demo, "ticket", {"max_steps": 9})
    app = open_form(open_app("runs", with_pair=False))
    assert app.number_input(key="run_steps_ticket").value == 9
    app.number_input(key="run_batch_ticket").set_value(5).run()
    go_to(app, "pair")
    for name in ("before", "after"):
        app.query_params[name] = str(pair_folder / name)
    open_form(go_to(app, "runs"))
    assert app.number_input(key="run_steps_ticket").value is None
    assert app.text_input(key="run_train").value == ""
    assert app.number_input(key="run_batch_ticket").value == 5


def test_a_cleared_number_of_steps_stays_cleared(open_app, demo, save_run):
    save_demo_run(save_run, demo, "ticket", {"max_steps": 9})
    app = open_form(open_app("runs", with_pair=False))
    app.number_input(key="run_steps_ticket").set_value(None).run()
    app.run()
    assert app.number_input(key="run_steps_ticket").value is None


def test_a_method_does_not_inherit_the_settings_of_another(open_app, demo, texts, launched, save_run):
    save_demo_run(save_run, demo, "ticket", {"max_steps": 9, "batch_size": 3, "seed": 4})
    app = open_form(open_app("runs", with_pair=False, alpha="0.5"))
    app.selectbox(key="run_method").set_value("full").run()
    fill_texts(app, texts)
    app.button(key="run_start").click().run()
    (spec,) = launched
    assert (spec.tuning.max_steps, spec.tuning.batch_size, spec.tuning.seed) == (None, 16, 42)
    assert spec.tuning.learning_rate == 1e-4


def test_a_missing_language_is_told(open_app, texts, launched):
    app = open_app("runs", alpha="0.5")
    fill_texts(app, texts)
    app.text_input(key="run_target").set_value("")
    app.button(key="run_start").click().run()
    assert "The target language is missing" in app.error[0].value
    assert not launched


def test_transfer_takes_the_revision_of_the_tuned_model(open_app, texts, launched):
    app = open_app("runs", alpha="0.5")
    fill_texts(app, texts)
    app.selectbox(key="run_method").set_value("transfer").run()
    app.text_input(key="run_after").set_value("org/tuned")
    app.text_input(key="run_after_revision").set_value("v2")
    app.button(key="run_start").click().run()
    assert (launched[0].after, launched[0].after_revision) == ("org/tuned", "v2")


def test_on_the_demo_a_run_is_suggested_that_can_be_ranked_with_the_shipped_ones(
    open_app, demo, texts, save_run, launched
):
    save_demo_run(save_run, demo, "ticket", {"learning_rate": 0.25, "max_steps": 9})
    app = open_form(open_app("runs", with_pair=False, alpha="0.5"))
    fill_texts(app, texts)
    app.button(key="run_start").click().run()
    assert not app.error
    assert (launched[0].tuning.learning_rate, launched[0].tuning.max_steps) == (0.25, 9)
    assert launched[0].evaluation.max_new_tokens == 48


@pytest.mark.parametrize(
    ("method", "told"), [("ticket", True), ("embedding", True), ("transfer", True), ("full", False)]
)
def test_the_form_tells_what_is_tuned_in_a_tied_model(open_app, tied_folder, method, told):
    app = open_app("runs", before=str(tied_folder / "before"), after=str(tied_folder / "after"))
    app.selectbox(key="run_method").set_value(method).run()
    assert any("tune the input rows only" in caption.value for caption in app.caption) is told


def test_a_running_run_shows_its_progress(open_app, save_run, running):
    folder = save_run("r1", state="running", phase="tune", step=3, total=12, **running)
    line = {"phase": "tune", "step": 3, "total": 12, "loss": 2.5, "time": 111.0}
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    app = open_app("runs")
    assert "Tuning: 3 of 12" in app.get("progress")[0].proto.text


def test_cancel_only_asks_and_force_is_a_second_decision(open_app, save_run, running, cancelled):
    folder = save_run("r1", state="running", phase="tune", step=3, total=12, **running)
    app = open_app("runs")
    assert not [button for button in app.button if button.key == "force_r1"]
    app.button(key="cancel_r1").click().run()
    assert cancelled == [("r1", {})]
    assert (folder / "cancel").exists()
    assert not [button for button in app.button if button.key == "cancel_r1"]
    assert "has been asked to stop" in app.warning[0].value
    assert "loses all work that is not saved" in app.warning[0].value
    app.button(key="force_r1").click().run()
    deadline = time.monotonic() + 10
    while len(cancelled) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert cancelled[1] == ("r1", {"wait": True, "grace_seconds": 0})
    assert "stopped by force" in app.warning[0].value
    assert not [button for button in app.button if button.key == "force_r1"]


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_an_ended_run_can_be_resumed(open_app, save_run, running, monkeypatch, state):
    import kslottery_core.runs

    folder = save_run("r1", method="ticket", state=state)
    resumed = []

    def resume(store, run_id):
        resumed.append(run_id)
        status = folder / "status.json"
        status.write_text(json.dumps(json.loads(status.read_text()) | {"state": "running", "ended": None, **running}))

    monkeypatch.setattr(kslottery_core.runs, "resume_run", resume)
    app = open_app("runs")
    button = app.button(key="resume_r1")
    assert "begins anew" in button.help
    button.click().run()
    assert resumed == ["r1"]
    assert not app.exception
    assert app.button(key="cancel_r1")


def test_a_refused_resumption_is_told_and_a_finished_run_offers_none(open_app, save_run, monkeypatch):
    import kslottery_core.runs

    def refuse(store, run_id):
        raise RunError("train: its text is gone.")

    save_run("r1", method="ticket", state="failed")
    monkeypatch.setattr(kslottery_core.runs, "resume_run", refuse)
    app = open_app("runs")
    app.button(key="resume_r1").click().run()
    assert "its text is gone" in app.toast[0].value
    save_run("r2", method="ticket", state="finished", created=200.0)
    newest = open_app("runs")
    assert not [button for button in newest.button if button.key and button.key.startswith("resume_")]


def test_a_refused_cancel_is_told(open_app, save_run, running, monkeypatch):
    import kslottery_core.runs

    def refuse(record, **how):
        raise RunError("it cannot be asked to stop.")

    monkeypatch.setattr(kslottery_core.runs, "cancel_run", refuse)
    save_run("r1", state="running", phase="tune", **running)
    app = open_app("runs")
    app.button(key="cancel_r1").click().run()
    assert not app.exception
    assert "cannot be asked" in app.toast[0].value


def test_a_store_that_cannot_be_read_is_one_sentence(open_app, save_run, monkeypatch):
    save_run("r1", state="failed", message="no")
    listed = []

    def list_once(store):
        listed.append(store)
        if len(listed) > 1:
            raise RunError("the folder of the runs cannot be read.")
        return original(store)

    original = RunStore.list
    monkeypatch.setattr(RunStore, "list", list_once)
    assert "cannot be read" in open_app("runs", with_pair=False).error[0].value


def test_a_queued_run_says_whom_it_waits_for(open_app, save_run, running):
    save_run("r2", state="queued", message="waits for Another run", **running)
    assert "it waits for Another run" in open_app("runs").info[0].value


def test_a_failed_run_shows_its_sentence(open_app, save_run):
    save_run("r1", state="failed", message="the file has no column 'xx'")
    assert "The file has no column 'xx'." in [error.value for error in open_app("runs").error]


def test_the_words_of_a_run_are_text_and_no_markdown(open_app, save_run):
    save_run("r1", state="failed", message="no ![x](https://evil.example/p.png) :red[y] <b>z</b>", name=HOSTILE)
    app = open_app("runs")
    assert app.error[0].value.startswith(r"No \!\[x\]\(https\:")
    assert any(r"\[run\]\(https\:" in element.value for element in app.markdown)
    texts = [element.value for kind in ("error", "markdown", "caption") for element in app.get(kind)]
    assert not [text for text in texts if "](http" in text or "](https" in text]


def test_a_died_run_shows_the_end_of_its_log(open_app, save_run):
    folder = save_run("r1", state="running", pid=2**22 - 7, process_started=1.0, host=read_host())
    (folder / "log.txt").write_text("first words\nlast words\n")
    app = open_app("runs")
    assert "ended unexpectedly" in app.error[0].value
    assert "last words" in app.code[0].value
    assert app.dataframe[0].value["State"][0] == "Died"


def test_a_broken_run_folder_is_listed(open_app, save_run, home):
    save_run("r1", state="failed", message="no")
    (home / "runs" / "r0").mkdir()
    app = open_app("runs", run="r0")
    assert len(app.dataframe[0].value) == 2
    assert app.error


def test_the_run_of_the_address_is_shown(open_app, save_run):
    save_run("r1", state="failed", message="first", created=1.0)
    save_run("r2", state="failed", message="second", created=2.0)
    assert "First." in [error.value for error in open_app("runs", run="r1").error]
    assert "Second." in [error.value for error in open_app("runs").error]


def test_a_finished_run_shows_scores_and_cost(open_app, save_run, make_score):
    save_run("r1", method="ticket", scores=[make_score(31.25)])
    app = open_app("runs")
    (score,) = [metric for metric in app.metric if metric.label == "BLEU, whole output"]
    assert score.value == "31.2"
    assert "tok:13a" in score.help
    captions = " ".join(caption.value for caption in app.caption)
    assert "Outputs that stop: 50%" in captions
    assert "Saved: 4.1 kB" in captions


def test_compare_without_runs_leads_on(open_app):
    app = open_app("compare")
    assert "No run has finished yet" in app.info[0].value


def test_compare_shows_scores_cost_and_outputs(open_app, save_run, make_score):
    outputs = [{"source": "a cat", "reference": "un gat", "text": "un gos", "stopped": True, "tokens": 2}]
    save_run("r1", scores=[make_score(10.0)], outputs=outputs)
    save_run("r2", method="ticket", scores=[make_score(30.0)], outputs=[{**outputs[0], "text": "un gat"}])
    app = open_app("compare", with_pair=False)
    assert not app.warning
    scores, cost = app.dataframe[0].value, app.dataframe[1].value
    assert set(scores["BLEU, whole output"]) == {10.0, 30.0}
    assert list(cost["Trained parameters"]) == [64, 64]
    table = app.table[0].value
    assert (table["Source"][0], table["Reference"][0]) == ("a cat", "un gat")
    assert {table["Run r1"][0], table["Run r2"][0]} == {"un gos", "un gat"}


@pytest.mark.parametrize(
    ("change", "words"),
    [({"test_set_hash": "t2"}, "test text"), ({"prompt_hash": "p2"}, "prompt"), ({"decoding": "beam 4"}, "decoding")],
)
def test_runs_tested_in_different_ways_are_not_ranked_together(open_app, save_run, make_score, change, words):
    save_run("r1", scores=[make_score(10.0)])
    save_run("r2", scores=[make_score(30.0, **change)])
    app = open_app("compare")
    assert words in app.warning[0].value
    assert len([heading for heading in app.header if heading.value.startswith("Test ")]) == 2
    groups = group_runs([summarise_run(record) for record in RunStore().list()])
    assert len(describe_group_differences(groups)) == 1


def test_bars_of_one_measure_share_an_axis_over_all_groups(open_app, save_run, make_score, monkeypatch):
    from dashboard.views.compare import page

    drawn = []
    draw = page.score_bar_figure
    monkeypatch.setattr(page, "score_bar_figure", lambda *bars, **how: drawn.append(draw(*bars, **how)) or drawn[-1])
    save_run("r1", scores=[make_score(10.0)])
    save_run("r2", scores=[make_score(30.0, test_set_hash="t2")])
    open_app("compare")
    assert [figure.layout.xaxis.range for figure in drawn] == [(0, pytest.approx(33)), (0, pytest.approx(33))]


def test_chosen_runs_are_in_the_address(open_app, save_run, make_score):
    save_run("r1", scores=[make_score(10.0)])
    save_run("r2", scores=[make_score(30.0)])
    app = open_app("compare", runs="r2")
    assert list(app.dataframe[0].value["Run"]) == ["Run r2"]
    app.multiselect(key="compared_runs").set_value(["r1", "r2"]).run()
    assert app.query_params["runs"] == "r1,r2"


def test_the_outputs_can_be_searched(open_app, save_run, make_score):
    outputs = [
        {"source": f"source {number}", "reference": "r", "text": f"text {number}", "stopped": True, "tokens": 1}
        for number in range(25)
    ]
    save_run("r1", scores=[make_score()], outputs=outputs)
    app = open_app("compare")
    assert len(app.table[0].value) == 10
    app.number_input(key="outputs_page_3").set_value(3).run()
    assert len(app.table[0].value) == 5
    app.text_input(key="outputs_search").set_value("TEXT 7").run()
    assert list(app.table[0].value["Source"]) == ["source 7"]
    app.text_input(key="outputs_search").set_value("nothing like it").run()
    assert "No sentence holds" in app.info[0].value


def test_line_breaks_of_outputs_are_seen(open_app, save_run, make_score):
    line = {"source": "a cat", "reference": "un gat", "text": "un gat\nel gat *", "stopped": True, "tokens": 5}
    save_run("r1", scores=[make_score()], outputs=[line])
    app = open_app("compare")
    assert app.table[0].value.iloc[0].tolist()[2] == r"un gat ⏎ el gat \*"
    assert "1 sentence of 1; ⏎ is a line break" in [caption.value for caption in app.caption]


@pytest.mark.parametrize(("words", "height"), [(60, "content"), (4000, 720)])
def test_an_output_is_shown_whole_however_long_it_is(open_app, save_run, make_score, monkeypatch, words, height):
    from dashboard.views.compare import page as output_table

    heights = []
    show = output_table.st.table
    monkeypatch.setattr(
        output_table.st, "table", lambda *data, **how: heights.append(how["height"]) or show(*data, **how)
    )
    text = " ".join(f"word{number}" for number in range(words))
    line = {"source": "a *cat*", "reference": "r", "text": text, "stopped": True, "tokens": words}
    save_run("r1", name="*R*", scores=[make_score()], outputs=[line])
    (table,) = open_app("compare").table  # a table of the page, whose cells wrap
    assert list(table.value.columns) == ["Source", "Reference", r"\*R\*"]
    assert table.value.iloc[0].tolist() == [r"a \*cat\*", "r", text]
    assert heights == [height]


def test_a_score_without_its_signature_is_never_shown(save_run, make_score):
    bare = make_score()
    del bare["signature"]
    save_run("r1", scores=[bare, make_score(5.0)])
    summary = summarise_run(RunStore().get("r1"))
    assert [score.value for score in summary.scores] == [5.0]


def test_the_chosen_score_is_in_the_address(open_app, save_run, make_score):
    save_run("r1", scores=[make_score(10.0), make_score(40.0, extraction="first line")])
    app = open_app("compare", score="BLEU, first line")
    assert app.selectbox(key="compared_measure").value == "BLEU, first line"
    app.selectbox(key="compared_measure").set_value("BLEU, whole output").run()
    assert app.query_params["score"] == "BLEU, whole output"
    assert "No run here has the score" in " ".join(c.value for c in open_app("compare", score="BLEURT").caption)


def test_outputs_of_other_sentences_are_told_and_left_out(open_app, save_run, make_score):
    output = {"source": "a cat", "reference": "un gat", "text": "un gos", "stopped": True, "tokens": 2}
    save_run("r1", scores=[make_score(10.0)], outputs=[output])
    save_run("r2", scores=[make_score(30.0)], outputs=[output | {"source": "a dog"}])
    app = open_app("compare")
    assert "different test sets" in app.warning[0].value
    assert len(app.table[0].value.columns) == 3


def test_a_line_that_is_no_output_is_told(open_app, save_run, make_score):
    save_run("r1", scores=[make_score(10.0)], outputs=[{"source": "a cat"}])
    assert "'reference' is missing" in open_app("compare").warning[0].value
