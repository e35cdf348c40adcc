import json
import shutil

import pytest

import kslottery_core.checkpoints
import kslottery_core.scans
from dashboard import loaders

MATRICES = 9  # embedding, head and seven matrices of the one layer


def read_metrics(app):
    return {metric.label: metric.value for metric in app.metric}


def read_texts(app):
    kinds = ("markdown", "caption", "info", "warning", "error", "subheader", "header", "title")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


def read_button(app):
    return app.button(key="scan_button").label


@pytest.fixture
def refuse_to_scan(monkeypatch):
    def refuse(*args, **how):
        raise AssertionError("a matrix would be compared again")

    monkeypatch.setattr(kslottery_core.scans, "scan_parameters", refuse)


def write_weights(folder, change):
    from safetensors.torch import load_file, save_file

    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    change(tensors)
    save_file(tensors, weights, metadata={"format": "pt"})


def test_the_page_without_a_pair_says_what_to_do(open_app):
    assert "No pair is open yet" in open_app("layers", with_pair=False).info[0].value


def test_a_pair_that_cannot_be_opened_is_one_sentence(open_app, tmp_path):
    app = open_app("layers", after=str(tmp_path / "nowhere"))
    assert len(app.error) == 1
    assert "nowhere" in app.error[0].value


def test_rows_that_stand_for_tokens_are_named(scanned):
    matrix = scanned.selectbox(key="scan_matrix")
    assert matrix.value == "model.embed_tokens.weight"
    named = dict(zip(scanned.dataframe[0].value["Row"], scanned.dataframe[0].value["Token"], strict=True))
    assert len(named) == 10
    assert (named[3], named[4], named[5]) == (".", "7", "␣word0")


def test_rows_of_a_matrix_inside_a_layer_have_no_token(open_app, pair_folder, tmp_path):
    shutil.copytree(pair_folder / "after", tmp_path / "after")

    def move(tensors):
        tensors["model.layers.0.self_attn.q_proj.weight"][3] += 0.2

    write_weights(tmp_path / "after", move)
    app = open_app("layers", after=str(tmp_path / "after"), matrix="model.layers.0.self_attn.q_proj.weight")
    app.button(key="scan_button").click().run()
    assert app.dataframe[0].value["Row"].tolist() == [3]
    assert "Token" not in app.dataframe[0].value


def test_a_scan_is_shown_in_numbers_a_map_and_a_table(scanned):
    metrics = read_metrics(scanned)
    assert (metrics["Matrices compared"], metrics["Matrices changed"]) == (str(MATRICES), "1")
    assert metrics["Rows tested"] == str(2 * 64 + 7 * 32)
    table = scanned.dataframe[-1].value
    assert len(table) == MATRICES
    embedding = table[table["Matrix"] == "model.embed_tokens.weight"].iloc[0]
    assert embedding["Changed"] == 10
    assert str(embedding["Winners"]) == metrics["Winners at α = 0.05"]
    assert list(table[table["Changed"] == 0]["Note"].unique()) == ["unchanged"]
    assert scanned.selectbox(key="scan_matrix").value == "model.embed_tokens.weight"
    assert not [button for button in scanned.button if button.key == "scan_button"]


def test_a_scan_is_kept_at_home_and_found_again(scanned, home, open_app, refuse_to_scan):
    (folder,) = (home / "scans").iterdir()
    assert json.loads((folder / "scan.json").read_text())["spec"]["unit"] == "row"
    loaders.st.cache_resource.clear()  # as after a restart: only the disk remembers
    assert read_metrics(open_app("layers")) == read_metrics(scanned)


def test_alpha_changes_the_winners_without_another_scan(scanned, refuse_to_scan, go_to):
    few = int(read_metrics(scanned)["Winners at α = 0.05"])
    scanned.text_input(key="alpha_number").set_value("0.9").run()
    many = int(read_metrics(scanned)["Winners at α = 0.9"])
    assert many > few
    go_to(scanned, "alpha")
    scanned.text_input(key="alpha_number").set_value("0.05").run()
    go_to(scanned, "layers")
    assert int(read_metrics(scanned)["Winners at α = 0.05"]) == few


def test_the_page_says_over_what_a_correction_is_made(scanned):
    tests = read_metrics(scanned)["Rows tested"]
    assert f"No correction for the {tests} tests" in read_texts(scanned)
    scanned.selectbox(key="alpha_correction").set_value("holm").run()
    assert f"Holm is applied within each matrix, not over all {tests} tests" in read_texts(scanned)
    assert "p is not calibrated" in read_texts(scanned)


def test_a_name_pattern_narrows_the_scan_and_is_in_the_address(open_app):
    app = open_app("layers")
    app.text_input(key="scan_pattern").set_value("*mlp*").run()
    assert "3 matrices" in read_texts(app)
    assert app.query_params["matrices"] == "*mlp*"
    app.button(key="scan_button").click().run()
    assert read_metrics(app)["Matrices compared"] == "3"
    assert "No matrix differs" in app.warning[0].value


def test_a_pattern_that_matches_nothing_is_one_sentence_with_a_way_back(open_app):
    app = open_app("layers", matrices="*convolution*")
    assert len(app.error) == 1
    assert "convolution" in app.error[0].value
    assert app.text_input(key="scan_pattern").value == "*convolution*"
    app.button(key="scan_all").click().run()
    assert not app.error
    assert read_button(app) == "Scan the model"


def test_columns_are_another_scan(scanned):
    scanned.segmented_control(key="scan_unit").set_value("column").run()
    assert scanned.query_params["unit"] == "column"
    assert read_button(scanned) == "Scan the model"
    scanned.button(key="scan_button").click().run()
    assert read_metrics(scanned)["Columns tested"] == str(9 * 32)


def test_what_is_shown_is_in_the_address_and_comes_back(scanned, open_app):
    scanned.selectbox(key="scan_measure").set_value("median").run()
    scanned.toggle(key="scan_log").set_value(True).run()
    scanned.selectbox(key="scan_matrix").set_value("lm_head.weight").run()
    address = {name: scanned.query_params[name] for name in ("colour", "scale", "matrix")}
    assert address == {"colour": "median", "scale": "log", "matrix": "lm_head.weight"}
    again = open_app("layers", **address)
    assert again.selectbox(key="scan_measure").value == "median"
    assert again.toggle(key="scan_log").value
    assert again.selectbox(key="scan_matrix").value == "lm_head.weight"
    assert "All 64 rows are the same" in read_texts(again)


@pytest.mark.parametrize("address", [{"unit": "diagonal"}, {"colour": "red"}, {"scale": "cubic"}])
def test_a_wrong_word_in_the_address_is_told(open_app, address):
    app = open_app("layers", **address)
    assert next(iter(address.values())) in app.warning[0].value
    assert read_button(app) == "Scan the model"


def test_a_matrix_that_is_not_there_is_told_and_another_shown(scanned, open_app):
    app = open_app("layers", matrix="model.layers.77.x")
    assert "No matrix compared here is called `model.layers.77.x`" in read_texts(app)
    assert app.selectbox(key="scan_matrix").value == "model.embed_tokens.weight"


def test_the_same_checkpoint_twice_is_explained(open_app, pair_folder):
    app = open_app("layers", after=str(pair_folder / "before"))
    app.button(key="scan_button").click().run()
    assert "No matrix differs" in app.warning[0].value


def test_no_winner_leads_to_the_least_alpha_that_gives_one(scanned):
    scanned.text_input(key="alpha_number").set_value("1e-12").run()
    scanned.selectbox(key="alpha_correction").set_value("bonferroni").run()
    assert "Nothing wins at this α" in read_texts(scanned)
    scanned.button(key="colour_by_largest").click().run()
    assert scanned.query_params["colour"] == "largest"
    scanned.button(key="raise_scan_alpha").click().run()
    assert int(next(value for label, value in read_metrics(scanned).items() if label.startswith("Winners"))) >= 1


def test_a_matrix_that_cannot_be_compared_is_in_the_table_with_its_reason(open_app, pair_folder, tmp_path):
    shutil.copytree(pair_folder / "after", tmp_path / "broken")
    write_weights(tmp_path / "broken", lambda tensors: tensors["model.layers.0.mlp.up_proj.weight"].fill_(float("nan")))
    app = open_app("layers", after=str(tmp_path / "broken"))
    app.button(key="scan_button").click().run()
    table = app.dataframe[-1].value
    (note,) = table[table["Matrix"] == "model.layers.0.mlp.up_proj.weight"]["Note"]
    assert "Cannot be compared" in note
    assert "NaN" in note
    assert read_metrics(app)["Matrices compared"] == str(MATRICES - 1)
