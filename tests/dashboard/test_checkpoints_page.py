import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import kslottery_core.checkpoints
import kslottery_core.ks
from dashboard import loaders
from dashboard.controls.checkpoint_picker import name_checkpoints
from dashboard.loaders import AlphaChoice, PairChoice
from dashboard.loaders.series import (
    ComparableRun,
    expand_sources,
    get_cached_series_path,
    list_comparable_runs,
    load_series,
    load_series_selection,
    split_revision,
)
from dashboard.views.checkpoints.page import build_series_table
from dashboard.views.checkpoints.tables import build_overlap_table
from kslottery_core.errors import CheckpointError


def read_metrics(app):
    return {metric.label: metric.value for metric in app.metric}


def read_texts(app):
    kinds = ("markdown", "caption", "info", "warning", "error", "subheader", "header", "title")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


@pytest.fixture(scope="module")
def training(pair_folder, tmp_path_factory):
    """A folder with checkpoint-50, -100 and -200 of the pair's before model: rows 3 to 12 move on and on."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("training")
    for step in (50, 100, 200):
        place = folder / f"checkpoint-{step}"
        shutil.copytree(pair_folder / "before", place)
        tensors = load_file(place / "model.safetensors")
        for token_id in range(3, 13):
            tensors["model.embed_tokens.weight"][token_id] += 0.01 * (13 - token_id) / 5 * step / 100
        save_file(tensors, place / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def choice(pair_folder):
    return PairChoice(str(pair_folder / "before"), str(pair_folder / "after"))


@pytest.fixture
def compared(open_app, training):
    return open_app("checkpoints", checkpoints=str(training))


def test_the_page_without_a_pair_says_what_to_do(open_app):
    assert "No pair is open yet" in open_app("checkpoints", with_pair=False).info[0].value


def test_the_empty_page_says_what_to_bring(open_app):
    app = open_app("checkpoints")
    assert "Name at least two checkpoints" in app.info[0].value
    assert not app.metric
    assert not [button for button in app.button if button.key == "compare_offered"]


def test_the_demo_is_compared_in_one_click(open_app, pair_folder, training, tmp_path, monkeypatch):
    demo = tmp_path / "demo"
    shutil.copytree(pair_folder, demo)
    shutil.copytree(training, demo / "series")
    monkeypatch.setattr(loaders, "DEMO_PATH", demo)
    app = open_app("checkpoints", with_pair=False)
    assert app.button(key="compare_offered").label == "Compare the demo's 3 checkpoints"
    app.button(key="compare_offered").click().run()
    assert "Tokens winning in all 3" in read_metrics(app)
    assert app.query_params["checkpoints"] == str(demo / "series")


def test_typed_checkpoints_are_compared(open_app, training):
    app = open_app("checkpoints")
    lines = f"{training}/checkpoint-50\n\n {training}/checkpoint-200 \n{training}/checkpoint-50"
    app.text_area(key="checkpoint_lines").set_value(lines)
    app.button(key="compare_checkpoints").click().run()
    assert not app.error
    assert "Tokens winning in all 2" in read_metrics(app)
    assert app.query_params["checkpoints"] == f"{training}/checkpoint-50\n{training}/checkpoint-200"


def test_a_folder_stands_for_the_checkpoints_in_it_in_the_order_of_their_steps(training):
    names = [Path(source).name for source in expand_sources([str(training), f"{training}/checkpoint-50"])]
    assert names == ["checkpoint-50", "checkpoint-100", "checkpoint-200"]
    assert expand_sources(["org/name", "", " org/name "]) == ("org/name",)


def test_winners_overlap_and_tokens_are_shown(compared, choice, training):
    comparison = load_series(choice, expand_sources([str(training)]))
    overlap = load_series_selection(comparison, AlphaChoice()).overlap
    metrics = read_metrics(compared)
    assert int(metrics["Tokens winning in all 3"]) == overlap.in_all
    tables = [frame.value for frame in compared.dataframe]
    by_token = next(table for table in tables if "In tickets" in table)
    by_checkpoint = next(table for table in tables if "Winners" in table)
    by_two = next(table for table in tables if "Jaccard" in table)
    assert list(by_checkpoint["Winners"]) == overlap.sizes.tolist()
    assert list(by_checkpoint["Step"]) == [50, 100, 200]
    assert list(by_two["In both"]) == [overlap.intersections[at] for at in ((0, 1), (0, 2), (1, 2))]
    assert (by_two["By chance"] < by_two["Jaccard"]).all()
    assert len(by_token) == overlap.in_any
    assert "How D grows" in read_texts(compared)


def test_alpha_changes_the_winners_without_another_comparison(compared, monkeypatch):
    monkeypatch.setattr(kslottery_core.ks, "compute_series_ks", None)
    few = int(read_metrics(compared)["Tokens winning in all 3"])
    compared.text_input(key="alpha_number").set_value("0.9").run()
    assert int(read_metrics(compared)["Tokens winning in all 3"]) > few
    assert compared.query_params["alpha"] == "0.9"


def test_a_series_seen_before_is_not_compared_again(compared, open_app, training, monkeypatch):
    loaders.st.cache_resource.clear()  # as after a restart: only the disk remembers
    monkeypatch.setattr(kslottery_core.ks, "compute_series_ks", None)
    assert read_metrics(open_app("checkpoints", checkpoints=str(training))) == read_metrics(compared)


def test_a_torn_kept_series_is_compared_anew(choice, training):
    sources = expand_sources([str(training)])
    first = load_series(choice, sources)
    get_cached_series_path(first.key).write_bytes(b"half a file")
    loaders.st.cache_resource.clear()
    again = load_series(choice, sources)
    for one, other in zip(first.found.results, again.found.results, strict=True):
        assert np.array_equal(one.counts, other.counts)


def test_a_checkpoint_that_cannot_be_opened_is_one_sentence(open_app, training):
    app = open_app("checkpoints", checkpoints=f"{training}/checkpoint-50\n{training}/nowhere")
    assert len(app.error) == 1
    assert "nowhere" in app.error[0].value
    assert "after number 2" in app.error[0].value
    assert app.text_area(key="checkpoint_lines").value.endswith("nowhere")
    assert not app.metric


def test_one_checkpoint_alone_is_told(open_app, training):
    app = open_app("checkpoints", checkpoints=f"{training}/checkpoint-50")
    assert "One checkpoint is no series" in app.info[0].value
    assert not app.error


def test_checkpoints_that_did_not_move_are_explained(open_app, pair_folder):
    app = open_app("checkpoints", checkpoints=f"{pair_folder}/before\n{pair_folder}/before/")
    assert "No row differs" in app.warning[0].value


def test_no_winner_leads_to_the_least_alpha_that_gives_one(open_app, training):
    app = open_app("checkpoints", checkpoints=str(training), alpha="1e-12", correction="bonferroni")
    assert "No token wins in any checkpoint" in read_texts(app)
    app.button(key="raise_series_alpha").click().run()
    assert int(read_metrics(app)["In one only"]) >= 1


def test_labels_and_steps_can_be_changed(compared):
    editor = next(frame for frame in compared.dataframe if list(frame.value.columns) == ["Checkpoint", "Label", "Step"])
    assert list(editor.value["Step"]) == [50, 100, 200]
    key = editor.proto.id.rsplit("-", 1)[1]
    compared.session_state[key] = {
        "edited_rows": {0: {"Label": "early"}, 2: {"Step": None}},
        "added_rows": [],
        "deleted_rows": [],
    }
    compared.run()
    assert "1 checkpoint without a step is left out" in read_texts(compared)
    by_checkpoint = next(frame.value for frame in compared.dataframe if "Winners" in frame.value)
    assert list(by_checkpoint["Label"]) == ["early", "checkpoint-100", "checkpoint-200"]
    assert [None if pd.isna(step) else step for step in by_checkpoint["Step"]] == [50, 100, None]


def test_checkpoints_without_steps_are_shown_side_by_side(open_app, pair_folder, training):
    app = open_app("checkpoints", checkpoints=f"{pair_folder}/after\n{training}/checkpoint-200")
    assert "Lines need two different steps" in read_texts(app)
    assert "D in each checkpoint" in read_texts(app)
    assert "Growth" not in next(frame.value for frame in app.dataframe if "In tickets" in frame.value)


def test_picked_tokens_are_followed_and_in_the_address(open_app, training, go_to):
    app = open_app("tokens", tokens="40")
    app.query_params["checkpoints"] = str(training)
    go_to(app, "checkpoints")
    assert app.multiselect(key="series_followed").value == [40]
    app.multiselect(key="series_followed").set_value([40, 3]).run()
    assert app.query_params["tokens"] == "40,3"


def test_tokens_that_grow_most_are_followed_by_default(compared):
    followed = compared.multiselect(key="series_followed").value
    assert len(followed) == 6
    assert set(followed) <= set(range(3, 13))
    assert "tokens" not in compared.query_params


def test_log_steps_are_in_the_address(compared, open_app, training):
    compared.toggle(key="series_log_steps").set_value(True).run()
    assert compared.query_params["steps"] == "log"
    assert open_app("checkpoints", checkpoints=str(training), steps="log").toggle(key="series_log_steps").value
    wrong = open_app("checkpoints", checkpoints=str(training), steps="cubic")
    assert "cubic" in wrong.warning[0].value


def test_runs_tuned_from_the_before_model_are_offered(open_app, save_run, pair_folder, training, home, choice):
    for number, (run_id, model) in enumerate((("one", pair_folder / "before"), ("two", "/models/other"))):
        folder = save_run(f"2026010{number}-000000-embedding-{run_id}", method="embedding", name="My run")
        spec = json.loads((folder / "spec.json").read_text()) | {"model": str(model)}
        (folder / "spec.json").write_text(json.dumps(spec))
        shutil.copytree(training / "checkpoint-200", folder / "checkpoints" / "model")
    runs = list_comparable_runs(choice)
    assert [run.name for run in runs] == ["My run"]
    app = open_app("checkpoints")
    app.multiselect(key="checkpoint_runs").set_value([runs[0].source]).run()
    assert app.text_area(key="checkpoint_lines").value == runs[0].source
    assert app.multiselect(key="checkpoint_runs").value == []
    app.button(key="compare_offered").click().run()
    by_checkpoint = next(frame.value for frame in app.dataframe if "Winners" in frame.value)
    assert list(by_checkpoint["Label"]) == ["after", "My run"]


def test_a_run_is_labelled_by_its_name_and_a_path_by_what_sets_it_apart():
    runs = (ComparableRun("My run", "/runs/a/checkpoints/model"),)
    sources = ("/runs/a/checkpoints/model", "/x/seed-1/model", "/x/seed-2/model")
    assert name_checkpoints(sources, runs) == ("My run", "seed-1", "seed-2")


def test_a_revision_belongs_to_a_hub_id_and_not_to_a_path(tmp_path):
    folder = tmp_path / "model@v1"
    folder.mkdir()
    assert split_revision("org/name@v1") == ("org/name", "v1")
    assert split_revision("org/name") == ("org/name", None)
    assert split_revision(str(folder)) == (str(folder), None)


def test_an_address_downloads_nothing_without_a_click(open_app, monkeypatch):
    asked = []

    def open_series(before, afters, **how):
        asked.append((afters, how["after_revisions"]))
        raise CheckpointError("no hub in tests.")

    monkeypatch.setattr(kslottery_core.checkpoints, "open_series", open_series)
    app = open_app("checkpoints", checkpoints="org/x@v1\norg/y")
    assert asked == []
    assert "`org/x` and `org/y`" in app.info[0].value
    app.button(key="allow_download").click().run()
    assert asked == [(("org/x", "org/y"), ("v1", None))]
    assert "no hub in tests" in app.error[0].value


def test_two_checkpoints_of_one_label_stay_two_columns(choice, training):
    comparison = load_series(choice, expand_sources([str(training)]))
    selection = load_series_selection(comparison, AlphaChoice())
    table = build_series_table(comparison, selection, ("same", "same", "same"), None)
    assert list(table.columns[-3:]) == ["D, same", "D, same (2)", "D, same (3)"]
    assert len(table) == comparison.found.vocabulary_size
    assert list(table["In tickets"]) == sorted(table["In tickets"], reverse=True)
    assert len(build_overlap_table(selection, ("same", "same", "same"))) == 3
