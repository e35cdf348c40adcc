import json
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from dashboard import loaders, state
from dashboard.state import TokenFilter, TokenOrder
from dashboard.views.tokens import search_loading as token_search
from dashboard.views.tokens import table as token_table
from dashboard.views.tokens.search_loading import TokenSearchError, load_search_mask
from dashboard.views.tokens.table import build_display, filter_tokens, sort_tokens
from dashboard.wording import ORDER_NAMES, SCRIPT_NAMES
from kslottery_core.checkpoints.token_strings import TOKEN_SCRIPTS


def make_table():
    tokens = ["the", "мир", "7", ".", "<s>", "␣The"]
    return pd.DataFrame(
        {
            "token_id": [4, 0, 5, 1, 2, 3],
            "token": tokens,
            "casefolded": [token.casefold() for token in tokens],
            "kind": pd.Categorical(["word", "word", "number", "punctuation", "special", "word"]),
            "script": pd.Categorical(["latin", "cyrillic", "none", "none", "none", "latin"], categories=TOKEN_SCRIPTS),
            "statistic": [0.5, 0.4, 0.3, 0.2, 0.1, 0.0],
            "cosine": [0.9, 0.1, np.nan, 0.9, 0.5, 1.0],
            "winner": [True, True, False, False, False, False],
            "changed": [True, True, True, True, False, False],
            "frequency": [9, 0, 3, 3, 1, 7],
        }
    )


def read_ids(table):
    return table["token_id"].tolist()


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({}, [4, 0, 5, 1, 2, 3]),
        ({"winners": True}, [4, 0]),
        ({"winners": False}, [5, 1, 2, 3]),
        ({"changed": True}, [4, 0, 5, 1]),
        ({"changed": False}, [2, 3]),
        ({"kinds": ("word",)}, [4, 0, 3]),
        ({"kinds": ("number", "special")}, [5, 2]),
        ({"scripts": ("latin",)}, [4, 3]),
        ({"scripts": ("none", "cyrillic")}, [0, 5, 1, 2]),
        ({"scripts": ("thai",)}, []),
        ({"least_frequency": 3}, [4, 5, 1, 3]),
        ({"most_frequency": 3}, [0, 5, 1, 2]),
        ({"least_frequency": 3, "most_frequency": 3}, [5, 1]),
        ({"in_prompt": True}, [0, 2]),
        ({"in_prompt": False}, [4, 5, 1, 3]),
        ({"winners": True, "scripts": ("latin",), "kinds": ("word",)}, [4]),
    ],
)
def test_a_filter_keeps_the_rows_that_it_names(wanted, ids):
    in_prompt = np.array([True, False, True, False, False, False])
    assert read_ids(filter_tokens(make_table(), TokenFilter(**wanted), in_prompt=in_prompt)) == ids


def test_a_filter_leaves_the_shared_table_and_the_search_as_they_are():
    table, found = make_table(), np.array([True, True, True, False, False, False])
    assert read_ids(filter_tokens(table, TokenFilter(winners=False), found=found)) == [5]
    assert found.tolist() == [True, True, True, False, False, False]
    assert len(table) == 6


def test_without_a_text_frequencies_filter_nothing():
    table = make_table().drop(columns="frequency")
    assert len(filter_tokens(table, TokenFilter(least_frequency=100))) == 6


def test_a_range_of_frequencies_that_holds_no_number_is_told():
    with pytest.raises(TokenSearchError, match="from 9 to 3 hold no number"):
        filter_tokens(make_table(), TokenFilter(least_frequency=9, most_frequency=3))


@pytest.mark.parametrize(
    ("column", "rising", "ids"),
    [
        ("statistic", False, [4, 0, 5, 1, 2, 3]),
        ("statistic", True, [3, 2, 1, 5, 0, 4]),
        ("token_id", True, [0, 1, 2, 3, 4, 5]),
        ("frequency", False, [4, 3, 5, 1, 2, 0]),
        ("cosine", True, [0, 2, 4, 1, 3, 5]),
        ("cosine", False, [3, 4, 1, 2, 0, 5]),
    ],
)
def test_sorting_keeps_ties_in_the_order_of_d_and_puts_the_undefined_last(column, rising, ids):
    table = make_table()
    assert read_ids(table.iloc[sort_tokens(table, TokenOrder(column, rising))]) == ids


def test_a_column_that_was_not_measured_sorts_nothing():
    table = make_table().drop(columns="frequency")
    assert read_ids(table.iloc[sort_tokens(table, TokenOrder("frequency"))]) == read_ids(table)


def test_scripts_and_orders_have_names():
    assert tuple(SCRIPT_NAMES) == TOKEN_SCRIPTS
    assert set(ORDER_NAMES) <= set(token_table.COLUMNS)


def test_names_are_read_in_the_table():
    shown = build_display(make_table().assign(**dict.fromkeys(("count", "p_value", "l2_shift", "mean_shift"), 0)))
    assert shown["Script"].tolist()[:3] == ["Latin", "Cyrillic", "No letters"]
    assert "casefolded" not in shown


def test_a_search_finds_what_python_finds(open_app, pair_folder):
    comparison = loaders.load_comparison(loaders.PairChoice(str(pair_folder / "before"), str(pair_folder / "after")))
    table = loaders.load_token_table(comparison)
    assert load_search_mask(comparison, "  ", "text") is None
    found = load_search_mask(comparison, " WORD1", "text")
    assert found.tolist() == ["␣word1" in token.casefold() for token in table["token"]]
    assert 0 < found.sum() < 64
    assert load_search_mask(comparison, "a.b", "text").sum() == 0
    ids = table["token_id"].to_numpy()
    assert sorted(ids[load_search_mask(comparison, "3-5, 9; 99999", "id")]) == [3, 4, 5, 9]
    assert sorted(ids[load_search_mask(comparison, "60-999999999", "id")]) == [60, 61, 62, 63]


def test_a_pattern_that_tries_too_many_ways_is_stopped_while_others_go_on(monkeypatch):
    monkeypatch.setattr(token_search, "_ALL_SECONDS", 1.0)
    tokens = ["the", "-" * 60, "a"]
    beats = 0
    with ThreadPoolExecutor(1) as pool:
        search = pool.submit(token_search._match, token_search._compile("(-|-)+[xy]"), tokens)
        while not search.done():
            time.sleep(0.01)
            beats += 1
    with pytest.raises(TokenSearchError, match="takes too long and was stopped"):
        search.result()
    assert beats >= 5
    assert token_search._match(token_search._compile("^(t|-)"), tokens).tolist() == [True, True, False]


def test_many_searches_that_are_slow_together_are_stopped(monkeypatch):
    monkeypatch.setattr(token_search, "_ALL_SECONDS", 0.1)
    slow = SimpleNamespace(pattern="slow", search=lambda token, **how: time.sleep(0.03))
    start = time.monotonic()
    with pytest.raises(TokenSearchError, match="'slow' takes too long"):
        token_search._match(slow, ["a"] * 100)
    assert time.monotonic() - start < 2


def test_many_wide_ranges_of_ids_take_the_memory_of_one():
    import tracemalloc

    size = 100_000
    tracemalloc.start()
    found = token_search._read_ids(" ".join(["0-99998"] * 250), size)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.tolist() == [True] * (size - 1) + [False]
    assert most < 50 * size
    assert np.flatnonzero(token_search._read_ids("9-3, 2-4; 4 99999-999999999 200000", size)).tolist() == [
        2,
        3,
        4,
        99_999,
    ]


def write_text(tmp_path):
    path = tmp_path / "train.jsonl"
    pairs = [("word1 word2 word2", "the word3"), ("word2", "word3")]
    path.write_text("".join(json.dumps({"en": one, "ca": other}) + "\n" for one, other in pairs))
    return {"counted-text": str(path), "counted-from": "en", "counted-to": "ca", "counted": "text"}


def test_frequency_and_script_are_columns_of_the_table(open_app, tmp_path):
    table = open_app("tokens", **write_text(tmp_path)).dataframe[0].value.set_index("Token")
    assert table.loc["␣word2", "Frequency"] == 3
    assert table.loc["␣word9", "Frequency"] == 0
    assert table.loc["␣word2", "Script"] == "Latin"
    assert table.loc["7", "Script"] == "No letters"
    assert "Frequency" not in open_app("tokens").dataframe[0].value


def test_filters_are_used_and_come_back_with_the_address(open_app, tmp_path):
    app = open_app("tokens", **write_text(tmp_path))
    app.number_input(key="token_least_frequency").set_value(1)
    app.number_input(key="token_most_frequency").set_value(2).run()
    assert set(app.dataframe[0].value["Token"]) >= {"␣word1", "␣word3"}
    assert "␣word2" not in set(app.dataframe[0].value["Token"])
    app.selectbox(key="token_changed").set_value("no").run()
    app.multiselect(key="token_scripts").set_value(["latin"]).run()
    assert not app.dataframe[0].value["Changed"].any()
    address = app.query_params
    names = ("frequency-from", "frequency-to", "changed", "scripts")
    assert [address[name] for name in names] == ["1", "2", "no", "latin"]
    again = open_app("tokens", **{name: address[name] for name in (*names, *write_text(tmp_path))})
    assert again.number_input(key="token_most_frequency").value == 2
    assert again.selectbox(key="token_changed").value == "no"
    assert again.dataframe[0].value["Token"].tolist() == app.dataframe[0].value["Token"].tolist()
    again.button(key="token_clear_filter").click().run()
    assert len(again.dataframe[0].value) == 64
    assert "scripts" not in again.query_params


@pytest.mark.parametrize("search", ["^the.*ing$", "[0-9]+", "(a|b)c", "zz|yy", r"\d", "x{2}"])
def test_a_pattern_searched_as_text_is_told_apart(open_app, search):
    app = open_app("tokens", search=search)
    (hint,) = [info.value for info in app.info if "No token holds" in info.value]
    assert f"`{search}`" in hint
    assert f"choose Regular expression under “{app.selectbox(key='token_search_mode').label}”" in hint


@pytest.mark.parametrize(
    ("search", "mode"), [("nothing", "text"), ("c++ is", "text"), ("word1", "text"), (".", "text"), ("^zz$", "pattern")]
)
def test_a_search_that_is_no_pattern_or_finds_something_gets_no_hint(open_app, search, mode):
    app = open_app("tokens", search=search, **({} if mode == "text" else {"in": mode}))
    assert app.selectbox(key="token_search_mode").value == mode
    assert not [info for info in app.info if "No token holds" in info.value]


def test_the_tokens_of_the_prompt_template_are_filtered(open_app):
    app = open_app("tokens", **{"in-prompt": "yes"})
    # This vocabulary knows no word of the template: each is read as "the", id 2.
    inside = {2}
    assert set(app.dataframe[0].value["Id"]) == inside
    app.selectbox(key="token_in_prompt").set_value("no").run()
    assert set(app.dataframe[0].value["Id"]) == set(range(64)) - inside


def test_the_run_form_does_not_change_which_tokens_are_the_prompts(open_app):
    app = open_app("tokens", **{"in-prompt": "yes"})
    for name, value in {"run_prompt": "word1 {source} word2", "run_source": "de", "run_target": "fr"}.items():
        app.session_state[name] = value
    app.run()
    assert app.dataframe[0].value["Id"].tolist() == [2]
    said = "\n".join(caption.value for caption in app.caption)
    assert "The prompt template is the default one, for translating from English to Catalan" in said
    assert "Translate the following sentence from {source_language} to {target_language}." in said


def test_a_wrong_range_is_one_sentence_and_the_rest_of_the_page_stays(open_app, tmp_path):
    app = open_app("tokens", tokens="3", **write_text(tmp_path), **{"frequency-from": "9", "frequency-to": "3"})
    assert "hold no number" in app.error[0].value
    assert app.number_input(key="token_least_frequency").value == 9
    assert "token 3" in "\n".join(str(markdown.value) for markdown in app.markdown)


def test_without_a_text_the_frequency_filter_is_off(open_app):
    app = open_app("tokens", **{"frequency-from": "9"})
    assert app.number_input(key="token_least_frequency").disabled
    assert len(app.dataframe[0].value) == 64


@pytest.mark.parametrize(
    "address",
    [{"scripts": "klingon"}, {"winners": "maybe"}, {"frequency-from": "-3"}, {"sort": "taste"}, {"table-page": "0"}],
)
def test_a_wrong_value_in_the_address_is_told_and_the_default_stays(open_app, address):
    app = open_app("tokens", **address)
    assert "The address asks for" in app.warning[0].value
    assert len(app.dataframe[0].value) == 64


def test_pages_reach_every_token_in_the_wanted_order(open_app, monkeypatch):
    monkeypatch.setattr(token_table, "PAGE_ROWS", 25)
    app = open_app("tokens", sort="token_id", direction="rising")
    seen = app.dataframe[0].value["Id"].tolist()
    assert "1 to 25 of them on this page" in "\n".join(caption.value for caption in app.caption)
    for page in (2, 3):
        app.number_input(key="token_page").set_value(page).run()
        assert app.query_params["table-page"] == str(page)
        seen += app.dataframe[0].value["Id"].tolist()
    assert seen == list(range(64))
    app.text_input(key="token_search").set_value("word1").run()
    assert app.number_input(key="token_page").value == 1
    assert app.dataframe[0].value["Token"].str.contains("word1").all()


def test_a_page_beyond_the_last_is_the_last(open_app, monkeypatch):
    monkeypatch.setattr(token_table, "PAGE_ROWS", 25)
    assert len(open_app("tokens", **{"table-page": "99"}).dataframe[0].value) == 64 - 50


def tick(monkeypatch, rows):
    event = SimpleNamespace(selection=SimpleNamespace(rows=rows))
    monkeypatch.setattr(token_table.st, "dataframe", lambda *_, **__: event)


def test_of_more_ticks_than_are_picked_together_those_of_largest_d_are_taken(open_app, monkeypatch):
    monkeypatch.setattr(token_table, "MOST_PICKED", 4)
    table = loaders.load_token_table
    tick(monkeypatch, list(range(64)))
    app = open_app("tokens", sort="token_id", direction="rising", tokens="60,61,62,63")
    assert "64 tokens are ticked; no more than 4 are picked together: the 4 with the largest D." in app.info[0].value
    choice = app.session_state["kslottery.choice"]
    comparison = loaders.load_comparison(choice.pair)
    assert choice.token_ids == tuple(table(comparison)["token_id"][:4])
    assert app.query_params["tokens"] == ",".join(map(str, choice.token_ids))


def test_ticks_elsewhere_give_way_to_those_of_the_page(open_app, monkeypatch):
    monkeypatch.setattr(token_table, "MOST_PICKED", 4)
    monkeypatch.setattr(token_table, "PAGE_ROWS", 25)
    tick(monkeypatch, [1, 0])
    app = open_app("tokens", sort="token_id", direction="rising", tokens="60,61,62")
    assert app.session_state["kslottery.choice"].token_ids[2:] == (60, 61)
    assert set(app.session_state["kslottery.choice"].token_ids[:2]) == {0, 1}
    assert "5 tokens are ticked, 3 of them elsewhere" in app.info[0].value


def test_ticks_on_another_page_stay(open_app, monkeypatch):
    monkeypatch.setattr(token_table, "PAGE_ROWS", 25)
    app = open_app("tokens", sort="token_id", direction="rising", tokens="3,60")
    app.number_input(key="token_page").set_value(3).run()
    assert app.query_params["tokens"] in ("3,60", "60,3")


def test_the_address_restores_order_and_sets():
    choice = state.Choice(
        token_order=TokenOrder("cosine", True, 3),
        overlap=state.OverlapView(True, (0.05,), ("frequent", "checkpoint:/a, b"), ("present", "frequent")),
    )
    restored, problems = state.read_address(state.build_address(choice, "tokens"), state.Choice())
    assert (restored, problems) == (choice, ())
    none = state.Choice(overlap=state.OverlapView(levels=(), sets=()))
    assert state.read_address(state.build_address(none, "tokens"), state.Choice())[0] == none
    assert state.forget_addressed(choice, "tokens", {}) == state.Choice()
