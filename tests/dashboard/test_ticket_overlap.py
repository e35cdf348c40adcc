import json
from types import SimpleNamespace

import numpy as np
import pytest

from dashboard import loaders, state
from dashboard.loaders import AlphaChoice, PairChoice
from dashboard.state.parameters import MOST_SETS, read_levels
from dashboard.views.tokens import overlap
from dashboard.views.tokens.overlap import TokenSet, build_member_table
from dashboard.views.tokens.overlap_figure import summarise_overlap_sets

TICKET = {"token_ids": [3, 4, 40], "vocabulary_size": 64, "rule": "list", "width": 32}


def select(pair_folder, level, **rule):
    comparison = loaders.load_comparison(PairChoice(str(pair_folder / "before"), str(pair_folder / "after")))
    return set(loaders.load_selection(comparison, AlphaChoice(level, **rule)).ticket.token_ids)


def read_agreement(app):
    return app.dataframe[-1].value.set_index("Set")


def read_texts(app):
    kinds = ("markdown", "caption", "info", "warning", "error")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind)).replace("\\", "")


def test_the_overlap_is_drawn_only_when_it_is_asked_for(open_app):
    app = open_app("tokens")
    assert not app.toggle(key="overlap_shown").value
    assert not [field for field in app.text_input if field.key == "overlap_levels"]
    app.toggle(key="overlap_shown").set_value(True).run()
    assert app.query_params["overlap"] == "shown"
    assert app.text_input(key="overlap_levels").value == "0.01, 0.5"


def test_tickets_at_other_levels_stand_beside_the_present_one(open_app, pair_folder):
    app = open_app("tokens", alpha="0.1", overlap="shown", levels="0.001,0.5")
    present, lower, higher = (select(pair_folder, level) for level in (0.1, 0.001, 0.5))
    assert lower < present < higher
    table = read_agreement(app)
    assert table.loc["α = 0.5", ["Tokens", "In both"]].tolist() == [len(higher), len(present)]
    assert table.loc["α = 0.001", "Jaccard"] == len(lower) / len(present)
    assert 0 < table.loc["α = 0.5", "By chance"] < 1


def test_a_combination_lists_its_tokens_and_picks_them(open_app, pair_folder):
    app = open_app("tokens", alpha="0.1", overlap="shown", levels="0.5")
    expected = select(pair_folder, 0.5) - select(pair_folder, 0.1)
    words = f"{len(expected)} tokens: only α = 0.5"
    box = app.selectbox(key="overlap_members")
    assert words in box.options
    box.select_index(box.options.index(words)).run()
    assert app.query_params["members"] == "alpha:0.5"
    app.button(key="overlap_pick").click().run()
    assert {int(token_id) for token_id in app.query_params["tokens"].split(",")} == expected
    again = open_app("tokens", alpha="0.1", overlap="shown", levels="0.5", members="alpha:0.5")
    assert again.selectbox(key="overlap_members").value is not None


def test_a_click_on_a_bar_chooses_its_combination(monkeypatch):
    masks = np.array([[1, 1, 0, 0], [0, 1, 1, 0]], dtype=bool)
    sets = [TokenSet("present", "Present ticket", masks[0]), TokenSet("alpha:0.5", "α = 0.5", masks[1])]
    summary = summarise_overlap_sets([entry.name for entry in sets], masks)
    chosen = []
    monkeypatch.setattr(state, "change", lambda part, **changes: chosen.append((part, changes["members"])))
    for data in (0, [0], [2], 7, None, "0"):
        points = [] if data is None else [{"customdata": data}]
        monkeypatch.setattr(overlap.st, "session_state", {"picture": {"selection": {"points": points}}})
        overlap._take_click("picture", summary, sets)
    members = [("present", "alpha:0.5"), ("present", "alpha:0.5"), ("alpha:0.5",)]
    assert chosen == [("overlap", each) for each in members]


@pytest.mark.parametrize(("typed", "words"), [("abc", "abc is no level"), ("0.1, 2", "2 is no level"), ("nan", "nan")])
def test_a_wrong_level_is_told_and_what_was_typed_stays(open_app, typed, words):
    app = open_app("tokens", overlap="shown")
    app.text_input(key="overlap_levels").set_value(typed).run()
    assert words in read_texts(app)
    assert app.text_input(key="overlap_levels").value == typed
    assert list(read_agreement(app).index) == ["α = 0.01", "α = 0.5"]
    app.text_input(key="overlap_levels").set_value("0.2").run()
    assert "is no level" not in read_texts(app)
    assert list(read_agreement(app).index) == ["α = 0.2"]


def test_levels_are_read_once_each_in_order():
    assert read_levels("0.5; 1e-3,,0.5") == ((0.001, 0.5), [])
    levels, problems = read_levels(",".join(f"0.{number}" for number in range(10, 40)))
    assert (len(levels), len(problems)) == (MOST_SETS, 1)


def test_without_another_set_the_page_says_what_to_do(open_app):
    app = open_app("tokens", overlap="shown", levels="none")
    assert "Type a level of α or choose a set" in read_texts(app)


def test_sets_without_a_token_are_told(open_app):
    app = open_app("tokens", overlap="shown", alpha="1e-12", correction="bonferroni", levels="1e-11")
    assert "None of these sets holds a token" in read_texts(app)


def test_tickets_of_runs_can_be_chosen_by_the_address(open_app, save_run):
    save_run("r1", method="ticket", ticket=TICKET, name="Mine")
    save_run("r2", method="ticket", ticket=TICKET | {"vocabulary_size": 65}, name="Of another model")
    app = open_app("tokens", overlap="shown", levels="none", sets="run:r1\nrun:gone")
    assert app.multiselect(key="overlap_sets").options == ["Run: Mine (3 tokens)"]
    assert read_agreement(app).loc["Run: Mine", "Tokens"] == 3


def test_of_two_runs_with_one_name_the_chosen_one_is_taken(open_app, save_run):
    long = "A name that is so long that nobody wants to read all of it, ever again, "
    for run_id, name, ids in (("a", long + "1", [3]), ("b", long + "2", [4, 5]), ("c", long + "3", [6, 7])):
        save_run(run_id, method="ticket", ticket=TICKET | {"token_ids": ids}, name=name)
    app = open_app("tokens", overlap="shown", levels="none", sets="none")
    box = app.multiselect(key="overlap_sets")
    assert len(set(box.options)) == 3
    for run_id in "abc":
        app.multiselect(key="overlap_sets").set_value([f"run:{run_id}"]).run()
        assert app.query_params["sets"] == f"run:{run_id}"


def test_numbered_names_meet_no_other_name():
    assert overlap._tell_apart(["A", "A (2)", "A", "A", "B"]) == ["A", "A (2)", "A (3)", "A (4)", "B"]


def test_two_files_of_one_name_are_two_sets(open_app, pair_folder, monkeypatch):
    from dashboard.loaders import load_comparison
    from kslottery_core.tickets import Ticket

    tickets = [Ticket((3,), 64, "list"), Ticket((4, 5), 64, "list")]
    monkeypatch.setattr(overlap, "read_ticket_file", lambda upload, vocabulary: upload.ticket)
    uploads = [SimpleNamespace(name="mine.txt", ticket=ticket) for ticket in tickets]
    monkeypatch.setattr(overlap.st, "session_state", {"overlap_files": uploads})
    comparison = load_comparison(PairChoice(str(pair_folder / "before"), str(pair_folder / "after")))
    found = overlap._read_files(comparison)
    assert [entry.key for entry in found] == ["file:mine.txt", "file:mine.txt (2)"]
    assert [np.flatnonzero(entry.mask).tolist() for entry in found] == [[3], [4, 5]]


def test_the_most_frequent_tokens_are_as_many_as_the_ticket(open_app, pair_folder, tmp_path):
    text = tmp_path / "train.jsonl"
    text.write_text(json.dumps({"en": "word1 word2 word3 word4", "ca": "word5 word6 word7 word8 word9"}) + "\n")
    address = {"counted-text": str(text), "counted-from": "en", "counted-to": "ca"}
    app = open_app("tokens", overlap="shown", levels="none", **address)
    size = len(select(pair_folder, 0.05))
    assert 1 < size <= 9
    assert read_agreement(app).index.tolist() == [f"The {size} most frequent tokens in training"]


def test_published_tickets_are_offered_where_the_vocabulary_fits(open_app, monkeypatch):
    from kslottery_core.tickets import Ticket

    assert open_app("tokens", overlap="shown").multiselect(key="overlap_sets").options == []
    fitting = {
        "ca": Ticket((3, 5), 64, "published", significance_level=0.05),
        "en-ca@0.5": Ticket((3,), 64, "published", significance_level=0.5),
    }
    monkeypatch.setattr("dashboard.views.tokens.overlap.load_fitting_published", lambda size: fitting)
    options = open_app("tokens", overlap="shown").multiselect(key="overlap_sets").options
    assert options == ["Published: ca, α = 0.05 (2 tokens)", "Published: en-ca, α = 0.5 (1 token)"]


def test_checkpoints_are_offered_once_they_were_compared(open_app, pair_folder, go_to):
    sources = f"{pair_folder / 'after'}\n{pair_folder / 'before'}"
    app = open_app("checkpoints", checkpoints=sources)
    go_to(app, "tokens")
    app.toggle(key="overlap_shown").set_value(True).run()
    options = app.multiselect(key="overlap_sets").options
    assert [option.partition(" (")[0] for option in options] == ["Checkpoint: after", "Checkpoint: before"]
    app.multiselect(key="overlap_sets").set_value([f"checkpoint:{pair_folder / 'after'}"]).run()
    assert read_agreement(app).loc["Checkpoint: after", "Jaccard"] == 1


def test_checkpoints_that_were_not_compared_are_not_computed_here(open_app, pair_folder, monkeypatch):
    monkeypatch.setattr("kslottery_core.ks.compute_series_ks", lambda *a, **k: 1 / 0)
    app = open_app("tokens", overlap="shown", checkpoints=f"{pair_folder / 'after'}\n{pair_folder / 'before'}")
    assert app.multiselect(key="overlap_sets").options == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (json.dumps(TICKET), None),
        (json.dumps(TICKET | {"vocabulary_size": 32000}), "for a vocabulary of 32,000 tokens, this pair has 64"),
        ("{broken", "is no JSON file"),
    ],
)
def test_a_ticket_file_becomes_a_set_or_one_sentence(open_app, content, words):
    app = open_app("tokens", overlap="shown", levels="none")
    app.file_uploader(key="overlap_files").set_value(("mine.json", content.encode(), "application/json")).run()
    if words is None:
        assert read_agreement(app).loc["File: mine.json", "Tokens"] == 3
    else:
        assert words in read_texts(app)


def test_the_csv_holds_every_token_of_every_set():
    masks = np.array([[1, 1, 0, 0, 0], [0, 1, 0, 1, 0]], dtype=bool)
    table = build_member_table(("a", "b", "c", "d", "e"), ("Present ticket", "α = 0.5"), masks)
    assert table.to_dict("list") == {
        "Id": [0, 1, 3],
        "Token": ["a", "b", "d"],
        "In: Present ticket": [True, True, False],
        "In: α = 0.5": [False, True, True],
    }


@pytest.mark.parametrize("rule", [AlphaChoice(0.1), AlphaChoice(0.3, "holm"), AlphaChoice(top_k=4)])
def test_a_checkpoint_wins_the_same_tokens_in_a_series_as_in_a_pair(pair_folder, rule):
    from dashboard.loaders.series import load_series, load_series_winners

    choice = PairChoice(str(pair_folder / "before"), str(pair_folder / "after"))
    series = load_series(choice, (choice.after, choice.before))
    winners = load_series_winners(series, rule)
    expected = loaders.load_selection(loaders.load_comparison(choice), rule).winners
    assert expected.any()
    assert winners.tolist() == [expected.tolist(), [False] * 64]
