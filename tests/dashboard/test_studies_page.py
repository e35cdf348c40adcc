import json
import os
import time

import psutil
import pytest

import kslottery_core.studies
from dashboard import loaders
from dashboard.report.csv_file import build_csv
from dashboard.state import Choice, StudiesView, build_address, read_address
from dashboard.views.studies import results
from dashboard.views.studies.progress import arrange_cells
from dashboard.views.studies.results import build_result_rows
from kslottery_core.corpora import CorpusSpec
from kslottery_core.jobs import read_host
from kslottery_core.studies import RowRule, StudyArm, StudySpec, StudyStore, StudyText


@pytest.fixture
def texts(tmp_path):
    for part in ("train", "test"):
        line = json.dumps({"en": f"a {part}", "ca": f"un {part}", "es": f"uno {part}"})
        (tmp_path / f"{part}.jsonl").write_text(line + "\n")
    return tmp_path


@pytest.fixture
def started(monkeypatch):
    """Studies are laid out as asked, but no process begins."""
    study_ids = []

    def start(store, study_id, **how):
        study_ids.append(study_id)
        return store.get(study_id)

    monkeypatch.setattr(kslottery_core.studies, "start_study", start)
    return study_ids


@pytest.fixture
def demo(pair_folder, texts, monkeypatch):
    """A demo made of the tests' pair and texts."""
    folder = texts / "demo"
    folder.mkdir()
    for name in ("before", "after"):
        (folder / name).symlink_to(pair_folder / name)
    for part in ("train", "test"):
        (folder / f"{part}.jsonl").symlink_to(texts / f"{part}.jsonl")
    monkeypatch.setattr(loaders, "DEMO_PATH", folder)
    return folder


@pytest.fixture
def make_study(pair_folder, texts, home):
    """Lay out a study of three arms; `rates`, `steps`, `seeds` and `targets` make its grid."""

    def make(name="A study", *, rates=(0.005,), steps=(10,), seeds=(1,), targets=("ca",), embedding=True):
        train, test = (str(texts / f"{part}.jsonl") for part in ("train", "test"))
        arms = [StudyArm("Base model", "base")]
        if embedding:
            arms += [
                StudyArm("Embedding tuning", "embedding", learning_rates=rates),
                StudyArm("KS ticket", "ticket", RowRule("ks", significance_level=0.05)),
            ]
        spec = StudySpec(
            name=name,
            model=str(pair_folder / "before"),
            arms=tuple(arms),
            texts=tuple(StudyText(CorpusSpec(train, "en", to), CorpusSpec(test, "en", to)) for to in targets),
            steps=steps,
            seeds=seeds,
        )
        return StudyStore().create(spec)

    return make


def set_status(record, state, **changes):
    path = record.folder / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"state": state, **changes}))


def get_live_status():
    """What a status holds while its process lives: here the process is this test."""
    process = psutil.Process(os.getpid())
    return {"pid": process.pid, "process_started": process.create_time(), "host": read_host(), "heartbeat": time.time()}


def set_cells(record, states):
    """Write `cells.json`: `states` are (state, run id, message), in the order of the cells."""
    entries = {
        cell.cell.key: {"state": state, "run_id": run_id, "message": message, "own": True}
        for cell, (state, run_id, message) in zip(record.cells, states, strict=False)
    }
    (record.folder / "cells.json").write_text(json.dumps(entries))


def fill_form(app, texts):
    app.text_input(key="study_train").set_value(str(texts / "train.jsonl"))
    app.text_input(key="study_test").set_value(str(texts / "test.jsonl"))
    app.text_input(key="study_source").set_value("en")
    app.text_input(key="study_target").set_value("ca")


def list_keys(elements):
    return [element.key for element in elements]


def list_words(app):
    return " ".join(element.value for kind in (app.markdown, app.caption, app.info) for element in kind)


def test_without_a_study_the_page_says_what_one_is_and_opens_the_form(open_app):
    app = open_app("studies", with_pair=False)
    assert "several ways of tuning on the same text" in app.markdown[0].value
    assert "No study yet" in app.info[0].value
    assert app.text_input(key="study_model").value == ""
    assert "study_demo" not in list_keys(app.button)


def test_one_click_starts_the_study_of_the_demo(open_app, demo, started):
    app = open_app("studies", with_pair=False)
    assert "Try it on the bundled demo" in list_words(app)
    app.button(key="study_demo").click().run()
    assert not app.exception
    assert not app.error
    (record,) = StudyStore().list()
    assert started == [record.study_id]
    assert record.spec.steps == (100, 300)
    assert {arm.method for arm in record.spec.arms} == {"base", "embedding", "ticket", "transfer"}
    assert app.query_params["study"] == record.study_id
    assert "study_train" not in list_keys(app.text_input), "the form closes where a study has begun"


def test_the_model_comes_from_the_open_pair_and_texts_from_the_demo_alone(open_app, demo, pair_folder):
    app = open_app("studies", with_pair=False)
    assert app.text_input(key="study_model").value == str(demo / "before")
    assert app.text_input(key="study_train").value == str(demo / "train.jsonl")
    app = open_app("studies")
    assert app.text_input(key="study_model").value == str(pair_folder / "before")
    assert app.text_input(key="study_train").value == ""


def test_the_form_says_how_many_runs_it_makes_before_it_starts_them(open_app, texts, started):
    app = open_app("studies", alpha="0.5")
    fill_form(app, texts)
    app.text_input(key="study_seeds").set_value("1, 2")
    app.text_input(key="study_steps").set_value("10, 20")
    app.text_input(key="study_rates_embedding").set_value("0.001, 0.005")
    app.run()
    # The base model once; for each of two seeds and two numbers of steps two embedding tunings and three sets of rows.
    assert "**21 runs**, 20 of them with training" in app.info[-1].value
    assert "None has finished already. For 12 this shows only once" in app.info[-1].value
    assert not started
    app.button(key="study_start").click().run()
    (record,) = StudyStore().list()
    assert started == [record.study_id]
    assert len(record.cells) == 21
    spec = record.spec
    assert (spec.seeds, spec.steps) == ((1, 2), (10, 20))
    labels = {arm.label: arm for arm in spec.arms}
    assert labels["Embedding tuning"].learning_rates == (0.001, 0.005)
    assert labels["KS ticket, α 0.5"].rows == RowRule("ks", significance_level=0.5)
    assert labels["Random rows"].rows == RowRule("random")
    assert spec.texts == (
        StudyText(
            CorpusSpec(str(texts / "train.jsonl"), "en", "ca"), CorpusSpec(str(texts / "test.jsonl"), "en", "ca")
        ),
    )


def test_the_form_counts_the_runs_that_are_done_already(open_app, texts, pair_folder, save_run, make_score):
    """A finished run that asks for the same as a cell, of files that are still the same, is found."""
    from kslottery_core.checkpoints import compute_model_digest, open_embedding
    from kslottery_core.corpora import load_corpus

    test = CorpusSpec(str(texts / "test.jsonl"), "en", "ca")
    for number in (1, 2):
        folder = save_run(f"r{number}", scores=[make_score()])
        spec = json.loads((folder / "spec.json").read_text())
        spec |= {"model": str(pair_folder / "before"), "test": {"path": test.path, "source": "en", "target": "ca"}}
        (folder / "spec.json").write_text(json.dumps(spec | {"device": "cpu"}))
        result = json.loads((folder / "result.json").read_text())
        model = open_embedding(str(pair_folder / "before")).fingerprint if number == 2 else "another model"
        result["fingerprints"] = {
            "model": model,
            "model_files": compute_model_digest(pair_folder / "before"),
            "test": load_corpus(test).fingerprint,
        }
        (folder / "result.json").write_text(json.dumps(result))
        app = open_app("studies")
        app.session_state["study_form"] = True
        app.run()
        fill_form(app, texts)
        app.selectbox(key="study_device").set_value("cpu").run()
        words = ("None has finished already", "1 has finished already and will be taken over")
        assert words[number - 1] in app.info[-1].value


def test_several_alphas_sizes_and_languages_make_arms_and_texts_of_their_own(open_app, texts, started):
    (texts / "own-es.jsonl").write_text((texts / "train.jsonl").read_text())
    (texts / "own-ca.jsonl").write_text((texts / "train.jsonl").read_text())
    app = open_app("studies")
    fill_form(app, texts)
    app.text_input(key="study_train").set_value(str(texts / "own-{target}.jsonl"))
    app.text_input(key="study_target").set_value("ca, es")
    app.text_input(key="study_levels").set_value("0.05, 0.5")
    app.text_input(key="study_top").set_value("20")
    app.checkbox(key="study_arm_lora").check()
    app.checkbox(key="study_arm_random").uncheck()
    app.number_input(key="study_count").set_value(7)
    app.button(key="study_start").click().run()
    assert not app.error
    spec = StudyStore().list()[0].spec
    assert [arm.label for arm in spec.arms] == [
        "Base model",
        "Embedding tuning",
        "KS ticket, α 0.05",
        "KS ticket, α 0.5",
        "KS ticket, 20 largest D",
        "Most frequent rows",
        "LoRA",
    ]
    assert spec.arms[5].rows.count == 7
    assert [(text.train.path, text.language) for text in spec.texts] == [
        (str(texts / "own-ca.jsonl"), "en-ca"),
        (str(texts / "own-es.jsonl"), "en-es"),
    ]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("study_model", "", "The model is missing"),
        ("study_model", "/no/such/model", "/no/such/model"),
        ("study_train", "", "training text is missing"),
        ("study_test", "/nowhere.jsonl", "no file at /nowhere.jsonl"),
        ("study_target", "", "target language is missing"),
        ("study_target", "ca, ca", "'en-ca' repeated"),
        ("study_seeds", "4.5", "seeds: expected whole numbers"),
        ("study_seeds", "1, 1", "seeds: expected each of them once"),
        ("study_steps", "", "number of training steps is missing"),
        ("study_steps", "0", "at least 1"),
        ("study_rates_embedding", "fast", "learning rates of Embedding tuning: expected numbers"),
        ("study_rates_embedding", "", "learning rate of Embedding tuning is missing"),
        ("study_rates_ks", "-1", "above 0"),
        ("study_levels", "2", "above 0 and below 1"),
        ("study_levels", "", "The α of the KS tickets is missing"),
    ],
)
def test_a_wrong_entry_is_one_sentence_and_nothing_is_lost(open_app, texts, started, key, value, words):
    app = open_app("studies")
    fill_form(app, texts)
    app.text_input(key="study_name").set_value("my study")
    app.text_input(key=key).set_value(value)
    app.button(key="study_start").click().run()
    assert not app.exception
    assert len(app.error) == 1
    assert words in app.error[0].value.replace("\\", "")
    assert not StudyStore().list()
    assert app.text_input(key="study_name").value == "my study"
    assert app.text_input(key=key).value == value


def test_tickets_need_an_embedding_tuning_to_be_read_from(open_app, texts, started):
    app = open_app("studies")
    fill_form(app, texts)
    app.checkbox(key="study_arm_embedding").uncheck()
    app.button(key="study_start").click().run()
    assert "the study's own embedding tuning, found none in the study" in app.error[0].value
    assert app.checkbox(key="study_arm_ks").value


def test_what_was_typed_survives_another_page(open_app, texts, go_to):
    app = open_app("studies")
    fill_form(app, texts)
    app.text_input(key="study_seeds").set_value("7, 8").run()
    go_to(app, "runs")
    go_to(app, "studies")
    assert app.text_input(key="study_seeds").value == "7, 8"
    assert app.text_input(key="study_train").value == str(texts / "train.jsonl")


def test_cells_stand_by_arm_and_by_seed_and_steps(make_study):
    record = make_study(rates=(0.001, 0.005), steps=(10, 20), seeds=(1, 2))
    grid = arrange_cells(record)
    assert grid.rows == ("Base model", "Embedding tuning, rate 0.001", "Embedding tuning, rate 0.005", "KS ticket")
    assert grid.columns == ("10 steps, seed 1", "10 steps, seed 2", "20 steps, seed 1", "20 steps, seed 2")
    assert [cell is not None for cell in grid.cells[0]] == [True, False, False, False]
    for row in grid.cells[1:]:
        assert [(state.cell.steps, state.cell.seed) for state in row] == [(10, 1), (10, 2), (20, 1), (20, 2)]
    assert {state.cell.learning_rate for state in grid.cells[2]} == {0.005}


def test_a_study_shows_its_cells_and_why_some_have_no_run(open_app, make_study, save_run):
    record = make_study()
    set_status(record, "stopped", message="stopped after 2 of 3 runs")
    message = "No token wins at [alpha](https://evil.example) 0.05."
    set_cells(record, [("stopped", "r1", None), ("reused", "r2", None), ("skipped", None, message)])
    save_run("r1"), save_run("r2")
    app = open_app("studies")
    assert not app.exception
    table = app.dataframe[0].value
    assert table["10 steps"].tolist() == [
        {"stopped": "Stopped", "reused": "Reused", "skipped": "Skipped"}[state.state]
        for row in arrange_cells(StudyStore().get(record.study_id)).cells
        for state in row
    ]
    assert app.get("progress")[0].proto.text.replace("\\", "") == "3 runs: 1 reused, 1 skipped, 1 stopped"
    words = list_words(app)
    assert "Stopped after 2 of 3 runs" in words
    assert "Skipped: **KS ticket, en\\-ca" in words or "Skipped: **KS ticket" in words
    assert "](https" not in words.replace("\\]", "")


def test_a_live_study_can_be_stopped_and_leads_to_its_running_run(open_app, make_study, save_run, monkeypatch):
    record = make_study()
    live = get_live_status()
    save_run("r1", state="running", phase="tune", step=3, total=10, **{k: live[k] for k in live if k != "heartbeat"})
    set_status(record, "running", **live)
    set_cells(record, [("running", "r1", None)])
    stopped = []
    monkeypatch.setattr(
        kslottery_core.studies, "stop_study", lambda store, study_id: stopped.append(study_id) or "Yes."
    )
    app = open_app("studies")
    assert "tuning, 3 of 10" in list_words(app)
    app.button(key=f"study_stop_{record.study_id}").click().run()
    assert stopped == [record.study_id]
    (record.folder / "stop").touch()
    app.run()
    assert "Stopping" in list_words(app)
    assert f"study_stop_{record.study_id}" not in list_keys(app.button)
    app.button(key=f"study_run_{record.cells[0].cell.key}").click().run()
    assert app.query_params["run"] == "r1"
    assert app.title[0].value == "Runs"


@pytest.mark.parametrize(("state", "label"), [("new", "Start"), ("stopped", "Continue"), ("failed", "Continue")])
def test_an_ended_study_is_gone_on_with(open_app, make_study, started, state, label):
    record = make_study()
    set_status(record, state, message="because")
    app = open_app("studies")
    button = app.button(key=f"study_continue_{record.study_id}")
    assert button.label == label
    button.click().run()
    assert started == [record.study_id]


def test_what_cannot_be_continued_is_told(open_app, make_study, monkeypatch):
    from kslottery_core.errors import StudyError

    record = make_study()
    set_status(record, "stopped")

    def refuse(store, study_id):
        raise StudyError("The model is gone.")

    monkeypatch.setattr(kslottery_core.studies, "start_study", refuse)
    app = open_app("studies")
    app.button(key=f"study_continue_{record.study_id}").click().run()
    assert app.toast[0].value == "The model is gone."


def test_a_damaged_study_is_told_and_the_page_stays(open_app, make_study):
    record = make_study()
    (record.folder / "study.json").write_text("{")
    app = open_app("studies")
    assert not app.exception
    assert "study.json" in app.error[0].value.replace("\\", "")


def test_the_address_says_which_study_is_shown(open_app, make_study):
    first = make_study("The first")
    set_status(first, "stopped", created=5.0)
    second = make_study("The second")
    app = open_app("studies")
    assert app.query_params["study"] == second.study_id
    app = open_app("studies", study=first.study_id)
    assert app.selectbox(key="study_chosen").value == first.study_id
    assert any("The first" in text.value for text in app.markdown)
    app = open_app("studies", study="no-such-study")
    assert "There is no study" in app.warning[0].value
    assert app.selectbox(key="study_chosen").value == second.study_id


def test_the_name_in_the_choice_stays_when_the_study_moves_on(open_app, make_study):
    """The browser sends back the words it has shown; a state among them would make the choice another one."""
    record = make_study()
    make_study()
    before = open_app("studies").selectbox(key="study_chosen").options
    set_status(record, "stopped")
    assert open_app("studies").selectbox(key="study_chosen").options == before
    assert len(set(before)) == 2


def test_an_address_keeps_study_language_and_score():
    choice = Choice(studies=StudiesView("20261121-study-1a2b", "en-es"), measure="BLEU, first line")
    address = build_address(choice, "studies")
    assert read_address(address, Choice()) == (choice, ())
    assert "study" not in build_address(choice, "runs")
    # Another study has languages of its own.
    assert read_address({"study": "other"}, choice)[0].studies == StudiesView("other")


@pytest.fixture
def finish(save_run, make_score, pair_folder):
    """Give every cell of a study a finished run, whose score is `score_of` its cell; the last `missing` have none."""

    def finish_cells(record, score_of=lambda cell: 20.0, *, missing=0):
        states = []
        for number, state in enumerate(record.cells):
            cell, method = state.cell, record.spec.arms[state.cell.arm].method
            if number >= len(record.cells) - missing:
                states.append(("failed", None, "It broke."))
                continue
            language = record.spec.texts[cell.text].language
            scores = [
                make_score(score_of(cell), extraction=extraction, test_set_hash=language)
                for extraction in ("whole output", "first line")
            ]
            folder = save_run(f"r{number}", method=method, scores=scores)
            if method == "embedding":
                (folder / "checkpoints").mkdir()
                (folder / "checkpoints" / "model").symlink_to(pair_folder / "after")
            states.append(("finished", folder.name, None))
        set_cells(record, states)
        set_status(record, "failed" if missing else "finished")
        return StudyStore().get(record.study_id)

    return finish_cells


def find_results(app):
    return next(frame.value for frame in app.dataframe if "Interval" in frame.value.columns)


def test_results_hold_quality_and_every_cost(open_app, make_study, finish):
    finish(make_study(steps=(10, 20)), lambda cell: 20.0 + (cell.steps or 0), missing=1)
    app = open_app("studies")
    assert not app.exception
    table = find_results(app)
    rows = table.set_index(["Arm", "Steps"])
    assert rows["BLEU, whole output"].to_dict() == {
        ("Base model", "none"): 20.0,
        ("Embedding tuning", "10"): 30.0,
        ("Embedding tuning", "20"): 40.0,
        ("KS ticket", "10"): 30.0,
    }
    costs = next(frame.value for frame in app.dataframe if "Optimizer (bytes)" in frame.value.columns)
    assert costs["Arm"].tolist() == table["Arm"].tolist()
    assert costs["Trained parameters"].tolist() == [64.0] * 4
    assert costs["Peak memory (bytes)"].tolist() == [2_000_000.0] * 4
    assert costs["Optimizer (bytes)"].isna().all(), "what was not measured is empty, and said to be so"
    assert rows["Outputs that stop (%)"].tolist() == [50.0] * 4
    assert rows["Interval"].tolist() == ["not measured"] * 4
    words = list_words(app)
    assert "1 other row of this study has no finished run" in words
    assert len(app.get("plotly_chart")) == 2


def test_several_seeds_have_their_range_as_interval(open_app, make_study, finish):
    finish(make_study(seeds=(1, 2)), lambda cell: 10.0 + 5 * (cell.seed or 0))
    app = open_app("studies")
    rows = find_results(app).set_index("Arm")
    assert rows.loc["Embedding tuning", "Interval"] == "15.0 to 20.0"
    assert rows.loc["Embedding tuning", "BLEU, whole output"] == 17.5
    assert rows.loc["Embedding tuning", "Seeds"] == "2 of 2"
    assert "lowest and highest of 2 seeds" in list_words(app)


def test_the_score_and_the_languages_can_be_chosen_and_stand_in_the_address(open_app, make_study, finish):
    record = finish(make_study(targets=("ca", "es")), lambda cell: 10.0 + cell.text)
    app = open_app("studies")
    assert set(find_results(app)["BLEU, whole output"]) == {10.0}
    app.selectbox(key="study_language").set_value("en-es").run()
    assert set(find_results(app)["BLEU, whole output"]) == {11.0}
    app.selectbox(key="study_measure").set_value("BLEU, first line").run()
    assert "BLEU, first line" in find_results(app).columns
    address = {name: app.query_params[name] for name in ("study", "languages", "score")}
    assert address == {"study": record.study_id, "languages": "en-es", "score": "BLEU, first line"}
    again = open_app("studies", **address)
    assert set(find_results(again)["BLEU, first line"]) == {11.0}
    other = open_app("studies", languages="en-xx", score="spBLEU")
    assert "`en-xx`" in list_words(other)
    assert "`spBLEU`" in list_words(other)


def test_scores_made_in_different_ways_stand_apart(open_app, make_study, finish):
    record = finish(make_study())
    path = record.folder.parents[1] / "runs" / "r0" / "result.json"
    content = json.loads(path.read_text())
    for score in content["scores"]:
        score["decoding"] = "beam 4"
    path.write_text(json.dumps(content))
    app = open_app("studies")
    assert "not made in the same way" in app.warning[0].value
    tables = [frame.value for frame in app.dataframe if "Interval" in frame.value.columns]
    assert sorted(len(table) for table in tables) == [1, 2]


def test_the_size_of_the_ticket_follows_alpha(open_app, make_study, finish, pair, result):
    finish(make_study(steps=(10, 20)))
    for level in ("0.05", "0.5"):
        app = open_app("studies", alpha=level)
        winners = int((result.p_values <= float(level)).sum())
        assert winners
        assert f"At α \\= {level}" in list_words(app) or f"At α = {level}" in list_words(app)
        assert f"a ticket of {winners:,} token" in list_words(app)
    app.text_input(key="alpha_number").set_value("0.01").run()
    assert app.query_params["alpha"] == "0.01"


def test_one_training_alone_gets_advice_instead_of_a_picture(open_app, make_study, finish):
    finish(make_study())
    app = open_app("studies")
    assert "Start a study with several learning rates" in app.info[-1].value
    assert len(app.get("plotly_chart")) == 1


def test_without_embedding_tuning_there_is_no_ticket_to_measure(open_app, make_study, finish):
    finish(make_study(embedding=False))
    assert "this study has none" in list_words(open_app("studies"))


def test_the_file_holds_every_row_and_measure_and_runs_nothing(make_study, finish):
    record = finish(make_study(targets=("ca", "es"), rates=(0.001, 0.005)), lambda cell: 10.0 + cell.text)
    store = StudyStore()
    table = kslottery_core.studies.compute_study_table(record, store.run_store, with_intervals=False)
    rows = build_result_rows(table.rows, table.measures)
    assert len(rows) == 8
    for language, value in (("en-ca", 10.0), ("en-es", 11.0)):
        column = rows[f"BLEU, whole output, {language}"]
        assert column[rows["Languages"] == language].tolist() == [value] * 4
        assert column[rows["Languages"] != language].isna().all()
        assert set(rows[f"BLEU, whole output, {language}: signature"].dropna()) == {"nrefs:1|case:mixed|tok:13a"}
    assert rows["Runs"].tolist()[0].startswith("r")
    rows.loc[0, "Arm"] = "=HYPERLINK(1)"
    assert b"'=HYPERLINK(1)" in build_csv(rows)


def test_the_page_downloads_the_file_that_the_command_line_writes(make_study, finish, monkeypatch):
    record = finish(make_study())
    table = kslottery_core.studies.compute_study_table(record, StudyStore().run_store, with_intervals=False)
    given = {}
    monkeypatch.setattr(results.st, "download_button", lambda label, **options: given.update(options))
    results.show_download(table, "study")
    assert given["data"]() == kslottery_core.studies.format_study_csv(table).encode("utf-8")
