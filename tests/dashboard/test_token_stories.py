import json

import numpy as np
import pytest

from dashboard import loaders
from dashboard.loaders import AlphaChoice, PairChoice
from dashboard.state import Choice, StoryView, build_address, read_address
from dashboard.views.tokens import story
from dashboard.views.tokens.loading import load_neighbours
from dashboard.views.tokens.story import build_token_numbers
from kslottery_core.tickets import create_list_ticket


def read_metrics(app):
    return {metric.label: metric.value for metric in app.metric}


def read_texts(app):
    kinds = ("markdown", "caption", "info", "warning", "error", "subheader", "header", "title")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


def find_table(app, column):
    return next(frame.value for frame in app.dataframe if column in frame.value.columns)


def list_nearest(rows, token_id):
    """Ids and cosines of the ten nearest other rows, by the definition in float64."""
    rows = rows.double().numpy()
    lengths = np.sqrt((rows**2).sum(axis=1))
    cosines = {i: (rows[i] * rows[token_id]).sum() / lengths[i] / lengths[token_id] for i in range(len(rows))}
    ids = sorted((i for i in cosines if i != token_id), key=lambda i: (-cosines[i], i))[:10]
    return ids, [cosines[i] for i in ids]


@pytest.fixture
def comparison(pair_folder):
    return loaders.load_comparison(PairChoice(str(pair_folder / "before"), str(pair_folder / "after")))


@pytest.fixture
def text_file(tmp_path):
    lines = [
        {"en": "word1 the word2", "ca": "word1"},
        {"en": "word3 <b>", "ca": "the the"},
        {"en": "word4", "ca": "word1 word1"},
    ]
    path = tmp_path / "text.jsonl"
    path.write_text("".join(json.dumps({"translation": line}) + "\n" for line in lines))
    return path


def test_the_part_of_the_story_is_in_the_address_and_comes_back(open_app):
    app = open_app("tokens", tokens="3")
    assert "story" not in app.query_params
    app.segmented_control(key="story_part").set_value("coordinates").run()
    assert app.query_params["story"] == "coordinates"
    assert not app.exception
    again = open_app("tokens", tokens="3", story="coordinates")
    assert again.segmented_control(key="story_part").value == "coordinates"
    assert "furthest" in read_texts(again)


def test_a_part_that_does_not_exist_is_told_and_the_first_one_shown(open_app):
    app = open_app("tokens", tokens="3", story="nonsense")
    assert "story = nonsense" in read_texts(app).replace("\\", "")
    assert app.segmented_control(key="story_part").value == "values"
    assert build_address(Choice(story=StoryView()), "tokens") == {}
    assert read_address({"story": "text"}, Choice()) == (Choice(story=StoryView("text")), ())


def test_without_a_picked_token_no_part_is_offered(open_app):
    app = open_app("tokens", story="neighbours")
    assert "story_part" not in [group.key for group in app.get("segmented_control")]
    assert "Tick one or several rows" in read_texts(app)


def test_a_token_beyond_the_vocabulary_is_told_in_every_part(open_app):
    for part in ("values", "coordinates", "neighbours", "text", "tickets"):
        app = open_app("tokens", tokens="9999,3", story=part)
        assert "9,999 is not in this pair" in read_texts(app)
        assert "1 token picked" in read_texts(app)
        assert app.query_params["tokens"] == "3"


def test_several_tokens_begin_with_a_card_of_all_of_them(open_app, result):
    app = open_app("tokens", tokens="3,40,5")
    assert "All picked tokens" in read_texts(app)
    table = find_table(app, "Gap at")
    assert list(table["Id"]) == [3, 40, 5]
    assert list(table["k"]) == result.counts[[3, 40, 5]].tolist()
    assert list(table["D"]) == (result.counts[[3, 40, 5]] / result.width).tolist()
    assert table["Gap at"].isna().tolist() == [False, True, False]
    assert table["Share of 5 (%)"].tolist()[0] == pytest.approx(100 * 5 / 32)  # every coordinate moved alike
    assert "All picked tokens" not in read_texts(open_app("tokens", tokens="3"))
    assert "All picked tokens" not in read_texts(open_app("tokens", tokens="3,40", story="tickets"))


def test_numbers_of_many_tokens_are_computed_only_for_the_file(open_app, comparison, monkeypatch):
    asked = []

    def build(comparison, selection, token_ids):
        asked.append(len(token_ids))
        return build_token_numbers(comparison, selection, token_ids)

    monkeypatch.setattr(story, "build_token_numbers", build)
    app = open_app("tokens", tokens=",".join(map(str, range(30))))
    assert asked == [20]
    assert len(find_table(app, "Gap at")) == 20
    assert "The table holds the first 20 of 30 tokens, the CSV file all of them." in read_texts(app)
    written = []
    monkeypatch.setattr(story.st, "download_button", lambda *_, data, **__: written.append(data()))
    selection = loaders.load_selection(comparison, AlphaChoice())
    story.show_token_overlay(comparison, selection, list(range(30)))
    assert len(written[0].decode("utf-8-sig").splitlines()) == 1 + 30


def test_neighbours_on_the_page_are_those_of_the_definition(open_app, pair):
    app = open_app("tokens", tokens="3", story="neighbours")
    table = find_table(app, "Rank before")
    nearest = []
    for side, rows in (("before", pair.before), ("after", pair.after)):
        ids, cosines = list_nearest(rows.read_rows(0, 64), 3)
        nearest.append(set(ids))
        shown = table[table[f"Rank {side}"].notna()].sort_values(f"Rank {side}")
        assert list(shown["Id"]) == ids
        assert list(shown[f"Cosine {side}"]) == pytest.approx(cosines, abs=1e-9)
    assert table[["Cosine before", "Cosine after"]].notna().all().all()
    assert set(table["Change"]) <= {"Stayed", "Entered", "Left"}
    stayed = len(nearest[0] & nearest[1])
    assert 0 < stayed < 10
    assert f"Of the 10 nearest tokens before, {stayed} are among the 10 nearest after" in read_texts(app)


def test_a_click_on_a_neighbour_picks_it_too(open_app):
    app = open_app("tokens", tokens="3", story="neighbours")
    pills = app.get("button_group")
    offered = next(group for group in pills if group.key == "token_neighbour_pick_3")
    first = int(find_table(app, "Rank before")["Id"].iloc[0])
    offered.set_value(first).run()
    assert app.query_params["tokens"] == f"3,{first}"
    assert "2 tokens picked" in read_texts(app)
    assert not app.exception


def test_neighbours_are_looked_for_once(comparison, monkeypatch):
    events = []
    first = load_neighbours(comparison, [3, 40], events.append)
    assert events
    assert (events[-1].step, events[-1].total) == (128, 128)
    assert [event.step for event in events] == sorted(event.step for event in events)
    again = []
    assert load_neighbours(comparison, [40, 3], again.append)[3] is first[3]
    assert again == []
    load_neighbours(comparison, [40, 7], again.append)
    assert again


def test_a_zero_row_has_no_neighbours_on_that_side(pair_folder, tmp_path, open_app):
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(pair_folder / "after", tmp_path / "after")
    weights = tmp_path / "after" / "model.safetensors"
    tensors = load_file(weights)
    tensors["model.embed_tokens.weight"][20] = 0.0
    save_file(tensors, weights, metadata={"format": "pt"})
    app = open_app("tokens", after=str(tmp_path / "after"), tokens="20", story="neighbours")
    table = find_table(app, "Rank before")
    assert table["Rank after"].isna().all()
    assert table["Cosine after"].isna().all()
    assert (table["Change"] == "Left").all()


def test_neighbours_work_by_id_where_no_tokenizer_is(pair_folder, tmp_path, open_app, text_file):
    from safetensors.torch import load_file, save_file

    paths = {}
    for side in ("before", "after"):
        rows = load_file(pair_folder / side / "model.safetensors")["model.embed_tokens.weight"]
        save_file({"model.embed_tokens.weight": rows}, tmp_path / f"{side}.safetensors")
        paths[side] = str(tmp_path / f"{side}.safetensors")
    app = open_app("tokens", **paths, tokens="3", story="neighbours")
    assert len(find_table(app, "Rank before")) >= 10
    texts = {"counted-text": str(text_file), "counted-from": "en", "counted-to": "ca"}
    app = open_app("tokens", **paths, tokens="3", story="text", **texts)
    assert "tokenizer" in app.error[0].value


def test_the_sentences_of_the_text_are_shown(open_app, pair, text_file):
    texts = {"counted-text": str(text_file), "counted-from": "en", "counted-to": "ca"}
    word = str(pair.tokens.index("␣word1"))
    app = open_app("tokens", tokens=word, story="text", **texts)
    assert "**4 occurrences** in 3 of the 6 sentences on both sides of text" in read_texts(app)
    html = "".join(element.proto.body for element in app.get("html"))
    assert html.count("<mark>") == 4
    assert [place in html for place in ("line 1, en", "line 1, ca", "line 3, ca")] == [True] * 3
    app = open_app("tokens", tokens=str(pair.tokens.index("␣word9")), story="text", **texts)
    assert "does not occur in" in read_texts(app)


@pytest.mark.parametrize("content", [None, "not a line of json\n"])
def test_a_text_that_is_missing_or_cannot_be_read_is_told(open_app, tmp_path, content):
    path = tmp_path / "text.jsonl"
    if content is not None:
        path.write_text(content)
    texts = {"counted-text": str(path), "counted-from": "en", "counted-to": "ca"}
    app = open_app("tokens", tokens="3", story="text", **texts)
    assert "No text is chosen, or it cannot be read" in read_texts(app)
    assert not app.exception
    assert "No text is chosen" in read_texts(open_app("tokens", tokens="3", story="text"))


def test_ranks_and_the_alpha_that_lets_the_token_in(open_app, result):
    app = open_app("tokens", tokens="3", story="tickets")
    metrics = read_metrics(app)
    assert metrics["Rank by L2 shift"] == "1 of 64"
    assert metrics["Rank by D"] == f"{1 + int((result.counts > result.counts[3]).sum())} of 64"
    level = metrics["Wins from α"]
    app = open_app("tokens", tokens="3", story="tickets", alpha=level)
    table = find_table(app, "Holds it")
    assert table.loc[table["From"] == "Present ticket", "Holds it"].tolist() == [True]
    still = open_app("tokens", tokens="40", story="tickets")
    assert read_metrics(still)["Wins from α"] == "at none"
    assert read_metrics(still)["Among the largest D from"] == "no number"


def test_tickets_of_runs_and_runs_that_trained_the_row(open_app, save_run):
    ticket = create_list_ticket([3, 5], 64).to_json()
    save_run("20260101-000000-ticket-aaaa", name="Small ticket", method="ticket", ticket=ticket)
    other = create_list_ticket([7], 64).to_json()
    save_run("20260101-000001-ticket-bbbb", name="Without it", method="ticket", ticket=other)
    foreign = create_list_ticket([3], 32000).to_json()
    save_run("20260101-000002-ticket-cccc", name="Foreign", method="ticket", ticket=foreign)
    save_run("20260101-000003-embedding-dddd", name="Gone model", method="embedding")
    save_run("20260101-000004-lora-eeee", name="An adapter", method="lora")
    app = open_app("tokens", tokens="3", story="tickets")
    held = find_table(app, "Holds it").set_index("Ticket")["Holds it"].to_dict()
    assert (held["Small ticket"], held["Without it"]) == (True, False)
    assert "Foreign" not in held
    assert list(find_table(app, "Rows")["Run"]) == ["Small ticket"]
    assert "1 more run cannot be told" in read_texts(app)


def test_a_run_on_every_row_of_the_same_model_trained_the_token(open_app, save_run, pair_folder, result):
    folder = save_run("20260101-000003-embedding-dddd", name="Whole embedding", method="embedding")
    spec = json.loads((folder / "spec.json").read_text())
    (folder / "spec.json").write_text(json.dumps(spec | {"model": str(pair_folder / "after")}))
    app = open_app("tokens", tokens="40", story="tickets")
    runs = find_table(app, "Rows")
    assert (list(runs["Run"]), list(runs["Rows"])) == (["Whole embedding"], ["all"])
    assert list(runs["From this before model"]) == ["Not known"]
    content = json.loads((folder / "result.json").read_text())
    content["fingerprints"] = {"model": result.fingerprint_before}
    (folder / "result.json").write_text(json.dumps(content))
    app = open_app("tokens", tokens="40", story="tickets")
    assert list(find_table(app, "Rows")["From this before model"]) == ["Yes"]


def test_the_link_leads_to_the_run(open_app, save_run):
    ticket = create_list_ticket([3], 64).to_json()
    save_run("20260101-000000-ticket-aaaa", name="Small ticket", method="ticket", ticket=ticket)
    app = open_app("tokens", tokens="3", story="tickets")
    app.button(key="open_run_3_20260101-000000-ticket-aaaa").click().run()
    assert app.title[0].value == "Runs"
    assert app.query_params["run"] == "20260101-000000-ticket-aaaa"


def test_ticket_files_are_looked_into_and_wrong_ones_told(open_app):
    app = open_app("tokens", tokens="3", story="tickets")
    fits = json.dumps(create_list_ticket([3, 4], 64).to_json()).encode()
    foreign = json.dumps(create_list_ticket([3], 32000).to_json()).encode()
    app.get("file_uploader")[0].set_value(
        [
            ("mine.json", fits, "application/json"),
            ("foreign.json", foreign, "application/json"),
            ("broken.json", b'{"token_ids": [', "application/json"),
        ]
    ).run()
    table = find_table(app, "Holds it").set_index("Ticket")
    assert table.loc["mine.json", "From"] == "File"
    assert bool(table.loc["mine.json", "Holds it"])
    assert "foreign.json" not in table.index
    assert "32,000 tokens" in app.warning[0].value
    assert "broken.json" in app.error[0].value


def test_published_tickets_are_there_for_a_vocabulary_of_their_size():
    from dashboard.views.tokens.loading import load_fitting_published

    assert load_fitting_published(64) == {}
    published = load_fitting_published(32000)
    assert 13 in published["ca"].token_ids
    assert np.all([ticket.vocabulary_size == 32000 for ticket in published.values()])
