import base64
import json
import struct

import numpy as np
import pandas as pd
import pytest

from dashboard import loaders
from dashboard.state import TokenMapView
from dashboard.state.address import build_address, forget_addressed, read_address
from dashboard.state.choice import Choice
from dashboard.views.tokens.loading import PackedTokens, load_packed_tokens, pack_tokens
from dashboard.views.tokens.map import MOST_PICKED, _describe, build_settings, choose_picked, limit_view
from dashboard.views.tokens.map_figure import summarise_token_map, token_map_figure

ORDER = [3, 0, 4, 1, 2]  # token ids from the largest D down


def make_table(**changes):
    counts = np.array([4, 3, 3, 1, 0], dtype=np.int32)
    columns = {
        "token_id": ORDER,
        "token": ["␣é", "line\nbreak", "<b>", "x", "y"],
        "statistic": counts / 8,
        "count": counts,
        "l2_shift": [0.5, 0.25, 0.125, 1e-3, 0.0],
        "cosine": [-0.5, 0.5, np.nan, 1.0, 1.0],
        "mean_shift": [0.1, -0.1, 0.0, 1e-9, 0.0],
        "winner": [True, True, False, False, False],
    }
    return pd.DataFrame(columns | changes)


def unpack(payload):
    """The layout read by hand: a length, a header, arrays on multiples of four bytes."""
    (length,) = struct.unpack_from("<I", payload)
    assert length % 4 == 0
    header = json.loads(payload[4 : 4 + length])
    arrays = {}
    for name, place in header["arrays"].items():
        assert place["start"] % 4 == 0
        start = 4 + length + place["start"]
        content = payload[start : start + place["bytes"]]
        if place["type"] == "text":
            arrays[name] = content.decode().split("\n")
        else:
            arrays[name] = np.frombuffer(content, "<" + place["type"])
    return header, arrays


def test_the_buffer_gives_back_every_token_in_the_order_of_the_table():
    table = make_table()
    frequencies = np.array([10, 0, 7, 2**40, 1])
    header, arrays = unpack(pack_tokens(table, frequencies, 8, "abc"))
    assert (header["signature"], header["rows"], header["width"]) == ("abc", 5, 8)
    assert arrays["token_id"].tolist() == ORDER
    assert arrays["count"].tolist() == [4, 3, 3, 1, 0]
    assert arrays["frequency"].tolist() == [2**31 - 1, 10, 1, 0, 7]
    assert arrays["label"] == ["␣é", "line↵break", "<b>", "x", "y"]
    for name in ("l2_shift", "cosine", "mean_shift"):
        np.testing.assert_array_equal(arrays[name], table[name].to_numpy(dtype=np.float32))


def test_without_a_text_there_is_no_frequency_in_the_buffer():
    assert "frequency" not in unpack(pack_tokens(make_table(), None, 8, "abc"))[1]


@pytest.fixture
def comparison(pair_folder):
    return loaders.load_comparison(loaders.PairChoice(str(pair_folder / "before"), str(pair_folder / "after")))


def test_the_buffer_is_packed_once_for_a_pair_and_a_text(comparison):
    counts = np.arange(64)
    packed = load_packed_tokens(comparison, counts)
    assert load_packed_tokens(comparison, counts.copy()) is packed
    other = counts.copy()
    other[40] += 1
    assert load_packed_tokens(comparison, other).signature != packed.signature
    assert load_packed_tokens(comparison, None).signature != packed.signature
    _, arrays = unpack(packed.payload)
    np.testing.assert_array_equal(arrays["token_id"], packed.token_ids)
    np.testing.assert_array_equal(arrays["frequency"], packed.token_ids)
    np.testing.assert_array_equal(arrays["count"], comparison.result.counts[packed.token_ids])
    assert (np.diff(arrays["count"]) <= 0).all()


def read_mask(text, size):
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8))[:size].astype(bool)


def test_winners_that_come_first_are_sent_as_a_number_and_others_as_bits():
    packed = PackedTokens("abc", np.array(ORDER), b"")
    everything = np.arange(5)
    first = build_settings(packed, TokenMapView(), np.isin(everything, [3, 0]), everything)
    assert (first["lit"], first["lit_mask"], first["shown"]) == (2, None, None)
    some = build_settings(packed, TokenMapView(), np.isin(everything, [0, 2]), np.array([4, 2]))
    assert read_mask(some["lit_mask"], 5).tolist() == [False, True, False, False, True]
    assert read_mask(some["shown"], 5).tolist() == [False, False, True, False, True]
    assert build_settings(packed, TokenMapView(), np.zeros(5, bool), everything)["lit"] == 0


def test_the_axes_are_named_in_words():
    packed = PackedTokens("abc", np.array(ORDER), b"")
    settings = build_settings(packed, TokenMapView("l2_shift", "rank"), np.zeros(5, bool), np.arange(5))
    assert settings["x"]["title"] == "L2 shift, the distance between the row before and after (log scale)"
    assert (settings["y"]["title"], settings["y"]["log"]) == ("Rank by D, 1 for the largest", False)


def test_a_view_asks_only_for_what_there_is():
    assert limit_view(TokenMapView(), has_text=True) == TokenMapView()
    assert limit_view(TokenMapView(), has_text=False) == TokenMapView("l2_shift")
    assert limit_view(TokenMapView("cosine", "rank"), has_text=True) == TokenMapView("cosine", "rank", log_x=False)


def test_a_box_replaces_what_was_picked_and_with_shift_it_adds():
    sent = {"token_ids": [7, 3], "inside": 2, "add": False}
    assert choose_picked(sent, (5, 3), 64) == ((7, 3), None)
    assert choose_picked(sent | {"add": True}, (5, 3), 64) == ((5, 3, 7), None)


def test_a_box_of_too_many_tokens_picks_the_first_and_says_so():
    ids = list(range(MOST_PICKED))
    chosen, sentence = choose_picked({"token_ids": ids, "inside": 1234, "add": False}, (), 5000)
    assert chosen == tuple(ids)
    assert sentence.startswith("The box holds 1,234 tokens; the 200 with the largest D are picked.")
    chosen, sentence = choose_picked({"token_ids": ids, "inside": 200, "add": True}, (900,), 5000)
    assert (len(chosen), chosen[0]) == (200, 900)
    assert "1 token left out" in sentence


def test_a_box_of_too_many_tokens_that_adds_says_how_many_it_added():
    before, box = tuple(range(1000, 1150)), list(range(200))
    chosen, sentence = choose_picked({"token_ids": box, "inside": 300, "add": True}, before, 5000)
    assert chosen == (*before, *box[:50])
    assert sentence.startswith("The box holds 300 tokens; 50 more of them are picked, with the largest D,")


def test_the_browser_picks_no_more_than_the_address_holds():
    packed = PackedTokens("abc", np.array(ORDER), b"")
    settings = build_settings(packed, TokenMapView(), np.zeros(5, bool), np.arange(5))
    assert settings["most_picked"] == MOST_PICKED
    choice = Choice(token_ids=tuple(range(0, 2 * MOST_PICKED, 2)))
    assert read_address(build_address(choice, "tokens"), Choice()) == (choice, ())


def test_an_address_of_too_many_tokens_is_told_and_cut():
    choice, problems = read_address({"tokens": ",".join(map(str, range(MOST_PICKED + 7)))}, Choice())
    assert choice.token_ids == tuple(range(MOST_PICKED))
    assert problems == (
        "The address asks for 207 tokens; no more than 200 are picked together, so the first 200 are taken.",
    )


@pytest.mark.parametrize(
    "sent", [None, "7", {}, {"token_ids": 7}, {"token_ids": []}, {"token_ids": [64, -1, "3", None, 1.5]}]
)
def test_what_is_no_pick_changes_nothing(sent):
    assert choose_picked(sent, (1,), 64) is None


def test_the_address_restores_the_map():
    view = TokenMapView("cosine", "l2_shift", log_x=False)
    address = build_address(Choice(token_map=view), "tokens")
    assert address == {"across": "cosine", "up": "l2_shift", "map-scale": "linear"}
    assert read_address(address, Choice()) == (Choice(token_map=view), ())
    assert build_address(Choice(), "tokens") == {}
    assert build_address(Choice(token_map=view), "alpha") == {}
    assert forget_addressed(Choice(token_map=view), "tokens", {}).token_map == TokenMapView()


@pytest.mark.parametrize(("name", "value"), [("across", "shape"), ("up", "token_id"), ("map-scale", "cubic")])
def test_a_wrong_value_in_the_address_is_one_sentence_and_the_default_stays(name, value):
    choice, problems = read_address({name: value}, Choice())
    assert choice.token_map == TokenMapView()
    assert len(problems) == 1
    assert f"{name} = {value}; expected one of" in problems[0]


def test_the_summary_counts_every_token_where_it_lies():
    counts = np.array([10, 0, 7, 1000, 1])
    summary = summarise_token_map(make_table(), counts)
    assert (summary.drawn, summary.unplaced, summary.density.sum()) == (5, 0, 3)
    assert summary.zero_place == pytest.approx(-0.24)  # 8 % of three powers of ten left of 1
    assert summary.winner_ids == (3, 0)
    np.testing.assert_allclose(summary.winner_places, [[3, 0.5], [1, 0.375]])
    np.testing.assert_allclose(summary.winner_values, [[1000, 0.5], [10, 0.375]])
    places = ((3, 0.5, 0), (1, 0.375, 0), (0, 0.375, 1), (-0.24, 0.125, 1), (np.log10(7), 0, 1))
    for place, value, shaded in places:
        column = np.searchsorted(summary.x_edges, place) - 1
        line = np.searchsorted(summary.y_edges, value) - 1
        assert summary.density[line, column] == shaded, "a winner is a point and no shade"


def test_tokens_without_a_cosine_are_told_and_not_placed():
    summary = summarise_token_map(make_table(), x="cosine")
    assert (summary.drawn, summary.unplaced, summary.density.sum()) == (4, 1, 2)
    assert (summary.log_x, summary.zero_place) == (False, None)


def test_the_summary_of_a_filtered_table_keeps_the_rank_among_all():
    table = make_table()
    summary = summarise_token_map(table[table["token_id"].isin([0, 2])], x="token_id", y="rank")
    np.testing.assert_array_equal(summary.winner_values, [[0, 2]])


def test_without_a_text_the_summary_takes_the_shift():
    assert summarise_token_map(make_table()).x == "l2_shift"


def test_the_summary_of_no_token_is_an_empty_picture():
    summary = summarise_token_map(make_table().iloc[:0], np.zeros(5, np.int64))
    assert (summary.drawn, summary.density.sum(), summary.winner_ids) == (0, 0, ())
    assert len(token_map_figure(summary).data) == 2


def test_the_figure_shows_density_and_winners_with_their_names():
    figure = token_map_figure(summarise_token_map(make_table(), np.array([10, 0, 7, 1000, 1])), "text")
    heatmap, winners = figure.data
    assert heatmap.customdata.sum() == 3
    assert winners.text == ("␣é", "line\nbreak")
    assert np.isnan(heatmap.z[heatmap.customdata == 0]).all()
    assert [list(row) for row in winners.customdata] == [["␣é", 3, "1,000", "0.5"], ["line\nbreak", 0, "10", "0.375"]]
    assert figure.layout.xaxis.title.text == "How often the token occurs in the text alone (log scale)"
    assert figure.layout.xaxis.ticktext == ("0", "1", "10", "100", "1,000")
    assert winners.name == "Winners: 2"


def test_names_of_winners_do_not_lie_on_each_other():
    table = make_table(winner=True, statistic=[0.5, 0.5, 0.5, 0.49, 0.1], token=["a", "b" * 40, "c", "d", "<i>"])
    summary = summarise_token_map(table, np.array([10, 1000, 10, 1000, 10]), log_x=False)
    assert summary.winner_names == ("a", "b" * 13 + "…, c", "", "", "<i>"), "d lies close below a"
    assert summary.name_positions[1] == summary.name_positions[4] == "top right", "away from the left edge"
    figure = token_map_figure(summary)
    assert figure.data[1].text[-1] == "&lt;i&gt;"
    many = make_table(winner=True, statistic=0.5, token=list("abcde"))
    names = summarise_token_map(many, np.full(5, 10)).winner_names
    assert names == ("a, b, c and 2 more", "", "", "", "")


def test_a_long_name_needs_more_room_than_a_short_one():
    def name(*tokens):
        table = make_table(winner=[True, True, True, False, False], statistic=[0.5, 0.5, 0.5, 0, 0])
        table["token"] = [*tokens, "x", "y"]
        x = pd.Series([40.0, 50.0, 65.0, 0.0, 100.0])
        return summarise_token_map(table.assign(l2_shift=x), x="l2_shift", log_x=False).winner_names[:3]

    assert name("aaa", "bbb", "ccc") == ("aaa", "bbb", "ccc")
    assert name("aaa", "bbbbbbbbbbbbbb", "ccc") == ("aaa", "", "ccc")


def test_a_label_that_looks_like_markup_is_shown_as_it_is():
    table = make_table(winner=[False, False, True, False, False])
    winners = token_map_figure(summarise_token_map(table, np.ones(5, np.int64))).data[1]
    assert winners.customdata[0][0] == "&lt;b&gt;"
    quoted = make_table(token=['"', "'", "c", "x", "y"])
    winners = token_map_figure(summarise_token_map(quoted, np.ones(5, np.int64))).data[1]
    assert [row[0] for row in winners.customdata] == ['"', "'"], "Plotly shows written-out quotes as they are written"


@pytest.mark.parametrize(
    ("shifts", "texts"),
    [
        ([0.2, 0.3, 0.5, 0.7, 0.9], ("0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9")),
        ([0.15, 0.3, 0.5, 0.7, 1.2], ("0.2", "0.5", "1")),
        ([0.001, 0.01, 0.1, 0.2, 1], ("0.001", "0.01", "0.1", "1")),
    ],
)
def test_a_log_axis_has_ticks_in_a_narrow_range_too(shifts, texts):
    axis = token_map_figure(summarise_token_map(make_table(l2_shift=shifts))).layout.xaxis
    assert axis.ticktext == texts
    np.testing.assert_allclose(np.power(10.0, axis.tickvals), [float(text) for text in texts])


@pytest.mark.parametrize(
    "shifts", [[0.51, 0.52, 0.53, 0.54, 0.55], [0.5] * 5, [3.0001, 3.0002, 3.0003, 3.0004, 3.0005]]
)
def test_a_log_axis_is_never_without_ticks(shifts):
    axis = token_map_figure(summarise_token_map(make_table(l2_shift=shifts))).layout.xaxis
    assert len(set(axis.ticktext)) == len(axis.tickvals) >= 3
    np.testing.assert_allclose(np.power(10.0, axis.tickvals), [float(text) for text in axis.ticktext])


def test_whole_numbers_have_whole_ticks_on_a_log_axis():
    axis = token_map_figure(summarise_token_map(make_table(), np.array([1, 0, 2, 3, 5]))).layout.xaxis
    assert axis.ticktext == ("0", "1", "2", "5")


def test_winners_that_are_not_drawn_are_still_counted():
    table = make_table(winner=[True, True, True, True, False])
    summary = summarise_token_map(table, x="cosine", most_points=2)
    assert (summary.winner_count, summary.unplaced_winners, summary.winner_ids) == (4, 1, (3, 0))
    assert token_map_figure(summary).data[1].name == "2 of 4 winners drawn"
    assert token_map_figure(summarise_token_map(table)).data[1].name == "Winners: 4"


def test_tokens_that_cannot_be_placed_are_not_called_drawn():
    described = _describe(TokenMapView("cosine"), make_table(), 5)
    assert described.startswith("4 of 5 tokens drawn. 1 token cannot be placed: a row of zeros has no cosine.")
    assert _describe(TokenMapView("rank"), make_table(), 5).startswith("Every one of the 5 tokens is drawn. Drag")


def test_ranks_run_downwards():
    assert token_map_figure(summarise_token_map(make_table(), y="rank")).layout.yaxis.autorange == "reversed"


def read_captions(app):
    return "\n".join(caption.value for caption in app.caption)


def list_components(app):
    return {element.proto.component_name for element in app.get("bidi_component")}


def test_the_tokens_page_shows_the_map(open_app):
    app = open_app("tokens")
    assert {"kslottery_token_map", "kslottery_token_map_settings"} <= list_components(app)
    assert "Every one of the 64 tokens is drawn." in read_captions(app)
    assert app.selectbox(key="token_map_across").value == "l2_shift"
    assert not any("Frequency" in name for name in app.selectbox(key="token_map_across").options)


def test_the_map_draws_what_the_filter_leaves(open_app):
    app = open_app("tokens", search="word1")
    shown = len(app.dataframe[0].value)
    assert 0 < shown < 64
    assert f"{shown} of 64 tokens drawn" in read_captions(app)


def test_an_axis_chosen_on_the_page_is_in_the_address(open_app):
    app = open_app("tokens", up="cosine")
    assert app.selectbox(key="token_map_up").value == "cosine"
    app.selectbox(key="token_map_across").set_value("rank").run()
    app.toggle(key="token_map_log").set_value(False).run()
    chosen = {name: app.query_params[name] for name in ("across", "up", "map-scale")}
    assert chosen == {"across": "rank", "up": "cosine", "map-scale": "linear"}
    app.selectbox(key="token_map_across").set_value("token_id").run()
    assert app.toggle(key="token_map_log").disabled
