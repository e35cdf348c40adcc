"""The dial's control on the pages: what the browser is given, what is taken from it, and tickets by a number."""

import base64
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from scipy.stats import ks_2samp

from dashboard import state
from dashboard.controls import alpha_dial
from dashboard.loaders import AlphaChoice, PairChoice, load_comparison, load_selection
from dashboard.state import Choice, build_address, describe_place, describe_rule, forget_addressed, read_address
from dashboard.state import read_top_k as read
from dashboard.state.rule import describe_ties
from kslottery_core.ks import format_statistic
from kslottery_core.tickets.summary import RankedNeighbours, summarise_ranked_neighbours

DIAL = "kslottery_alpha_dial"


def read_metrics(app):
    return {metric.label: metric.value for metric in app.metric}


def read_texts(app):
    return "\n".join(str(element.value) for kind in ("markdown", "caption", "info") for element in app.get(kind))


def find_dials(app):
    found = [element.proto for element in app.get("bidi_component")]
    return [json.loads(proto.json) for proto in found if proto.component_name == DIAL]


def open_numbers(text, kind):
    return np.frombuffer(base64.b64decode(text), dtype=kind)


@pytest.fixture
def comparison(pair_folder):
    return load_comparison(PairChoice(str(pair_folder / "before"), str(pair_folder / "after")))


def test_the_dial_gets_the_counts_and_p_values_of_the_pair(open_app, pair, result):
    (dial,) = find_dials(open_app("alpha", alpha="0.2"))
    histogram, p_values = open_numbers(dial["histogram"], "<u4"), open_numbers(dial["pValues"], "<f8")
    assert histogram.tolist() == np.bincount(result.counts, minlength=33).tolist()
    assert len(p_values) == 33
    for token_id in (3, 8, 12):
        before, after = (side.read_token_rows([token_id])[0].numpy() for side in (pair.before, pair.after))
        expected = ks_2samp(before, after, method="exact").pvalue
        assert p_values[result.counts[token_id]] == pytest.approx(expected, rel=1e-9)
    assert (dial["mode"], dial["alpha"], dial["topK"], dial["unchanged"]) == ("alpha", 0.2, None, 54)


def test_a_correction_sends_other_p_values_under_another_signature(open_app):
    (plain,) = find_dials(open_app("alpha"))
    (strict,) = find_dials(open_app("alpha", correction="bonferroni"))
    assert plain["signature"] != strict["signature"]
    expected = np.minimum(64 * open_numbers(plain["pValues"], "<f8"), 1)
    assert open_numbers(strict["pValues"], "<f8") == pytest.approx(expected)


def test_the_dial_gets_what_a_rule_says_after_its_level(open_app):
    (plain,) = find_dials(open_app("alpha"))
    (strict,) = find_dials(open_app("alpha", correction="bonferroni", p="asymptotic"))
    assert (plain["extras"], strict["extras"]) == ("", ", Bonferroni, the paper's threshold")


def test_without_a_pair_or_without_any_d_there_is_no_dial(open_app, pair_folder):
    assert find_dials(open_app("alpha", with_pair=False)) == []
    app = open_app("alpha", after=str(pair_folder / "before"))
    assert find_dials(app) == []
    assert not app.select_slider


@pytest.mark.parametrize("page", ["alpha", "tokens"])
def test_a_pair_without_a_difference_says_so_instead_of_a_control_that_sets_nothing(open_app, pair_folder, page):
    app = open_app(page, after=str(pair_folder / "before"))
    (warning,) = app.warning
    assert warning.value.startswith("**No row differs** between before and after: every D is 0")
    assert "nothing to download or to tune" in warning.value
    assert not app.select_slider
    assert not find_dials(app)
    assert not [element for element in app.button if element.key == "tune_ticket"]
    assert page == "tokens" or not (app.metric or app.get("download_button"))


@pytest.mark.parametrize("page", ["alpha", "tokens"])
def test_rows_in_another_order_say_why_nothing_can_be_set(open_app, pair_folder, tmp_path, page):
    shutil.copytree(pair_folder / "before", tmp_path / "turned")
    weights = tmp_path / "turned" / "model.safetensors"
    tensors = load_file(weights)
    tensors["model.embed_tokens.weight"][7] = tensors["model.embed_tokens.weight"][7].flip(0)
    save_file(tensors, weights, metadata={"format": "pt"})
    app = open_app(page, after=str(tmp_path / "turned"))
    assert sum("1 row changed, but only in the order of their values" in info.value for info in app.info) == 1
    assert not app.warning


def test_no_larger_alpha_is_advised_where_none_gives_a_token(open_app, pair_folder, tmp_path):
    shutil.copytree(pair_folder / "before", tmp_path / "touched")
    weights = tmp_path / "touched" / "model.safetensors"
    tensors = load_file(weights)
    tensors["model.embed_tokens.weight"][7, 0] *= 1.0001  # D is 1 of 32 at most, whose p is 1
    save_file(tensors, weights, metadata={"format": "pt"})
    app = open_app("alpha", after=str(tmp_path / "touched"))
    assert "Choose the ticket by its number of tokens." in read_texts(app)
    assert "a larger α" not in read_texts(app)


def test_a_ticket_of_no_tokens_offers_nothing_to_download_or_tune_and_says_why(open_app):
    app = open_app("alpha", alpha="1e-12", correction="bonferroni")
    assert "A ticket of no tokens cannot be downloaded or tuned" in read_texts(app)
    assert not [element for element in app.button if element.key == "tune_ticket"]
    assert not app.get("download_button")
    assert "Choose a larger α, or the ticket by its number of tokens." in read_texts(app)
    full = open_app("alpha", alpha="0.5")
    assert "cannot be downloaded" not in read_texts(full)
    assert [element for element in full.button if element.key == "tune_ticket"]
    assert full.get("download_button")


@pytest.mark.parametrize("correction", ["none", "bonferroni", "bh"])
def test_where_nothing_more_can_enter_it_is_said_under_every_correction(open_app, correction):
    texts = read_texts(open_app("alpha", alpha="0.999", correction=correction))
    assert texts.count("**Next to enter**") == 1
    assert "**Next to enter**: nothing" in texts


def test_every_token_that_moved_leaves_none_to_enter(open_app):
    assert "**Next to enter**: nothing, since every token with a D above 0" in read_texts(open_app("alpha", top="10"))
    assert "**Next to enter**, with D = " in read_texts(open_app("alpha", top="9"))


def test_a_level_is_written_one_way_where_no_token_wins(open_app):
    app = open_app("alpha", alpha="1e-5", correction="bonferroni")
    message = next(info.value for info in app.info if "No token wins" in info.value)
    assert "At α = 1e-5 the least D that wins in rows of 32 values is " in message
    assert "e-0" not in read_texts(app)
    assert "significance level" not in message


def test_a_comma_may_be_typed_for_the_point(open_app):
    app = open_app("alpha")
    app.text_input(key="alpha_number").set_value("0,25").run()
    assert (app.query_params["alpha"], app.text_input(key="alpha_number").value) == ("0.25", "0.25")


def test_an_alpha_keeps_all_its_digits_in_the_field_and_in_the_address(open_app):
    app = open_app("alpha")
    app.text_input(key="alpha_number").set_value("0.12345678912").run()
    assert app.text_input(key="alpha_number").value == "0.12345678912"
    assert app.query_params["alpha"] == "0.12345678912"


def test_turning_to_a_number_of_tokens_begins_with_the_ticket_and_back_again(open_app):
    app = open_app("alpha", alpha="0.5")
    size = int(read_metrics(app)["Tokens in the ticket"])
    assert size > 1
    app.segmented_control(key="alpha_mode").set_value("top").run()
    assert app.query_params["top"] == str(size)
    assert app.text_input(key="alpha_top").value == str(size)
    assert find_dials(app)[0]["mode"] == "top"
    assert not [element for element in app.selectbox if element.key == "alpha_correction"]
    app.segmented_control(key="alpha_mode").set_value("alpha").run()
    assert (app.query_params["alpha"], "top" in app.query_params) == ("0.5", False)


def test_an_empty_ticket_turns_to_a_number_that_some_tokens_have(open_app):
    app = open_app("alpha", alpha="1e-12", correction="bonferroni")
    app.segmented_control(key="alpha_mode").set_value("top").run()
    assert app.query_params["top"] == "10"
    assert read_metrics(app)["Tokens in the ticket"] == "10"


@pytest.mark.parametrize("typed", ["", "0", "-3", "2.5", "many", "11", "9" * 5000])
def test_a_wrong_number_of_tokens_is_told_in_a_sentence_and_the_old_one_stays(open_app, typed):
    app = open_app("alpha", top="4")
    app.text_input(key="alpha_top").set_value(typed).run()
    assert len(app.error) == 1
    assert "expected a whole number from 1 to 10" in app.error[0].value
    assert "the ticket stays at 4 tokens" in app.error[0].value
    assert len(app.error[0].value) < 250
    assert app.text_input(key="alpha_top").value == "4"
    app.text_input(key="alpha_top").set_value("7").run()
    assert not app.error
    assert app.query_params["top"] == "7"


def test_a_ticket_by_number_is_named_as_such_on_every_page(open_app):
    app = open_app("pair", top="4")
    assert read_metrics(app)["Winning tokens by the largest D"] == "4"
    assert "the 4 tokens with the largest D" in app.sidebar.caption[-1].value
    app = open_app("alpha", top="4")
    assert read_metrics(app)["Tokens in the ticket"] == "4"
    assert "Next to enter" in read_texts(app)
    assert "by the exact p" not in read_texts(app)
    app.text_input(key="alpha_top").set_value("5").run()
    texts = read_texts(app)
    assert "Since the 4 tokens with the largest D" in texts
    assert "1 token entered" in texts


def test_ties_at_the_edge_of_the_ticket_are_told(open_app, result):
    ranked = np.sort(result.counts)[::-1]
    k = next(k for k in range(1, 10) if ranked[k - 1] == ranked[k])
    tied, taken = int((ranked == ranked[k]).sum()), k - int((ranked > ranked[k]).sum())
    words = f"{tied} tokens have D = {format_statistic(ranked[k] / 32)}; only the {taken} of them with the larger L2"
    assert words in read_texts(open_app("pair", top=str(k)))
    assert words in read_texts(open_app("alpha", top=str(k)))
    assert "tokens have D" not in read_texts(open_app("pair", top=str(k + tied - taken)))


def test_one_token_of_a_tie_is_told_of_in_the_singular():
    edge = RankedNeighbours(entering=2, leaving=1, least_count=16, tied=3, taken=1)
    one, two = describe_ties(edge, 64), describe_ties(replace(edge, taken=2), 64)
    assert one == "3 tokens have D = 0.2500; only the 1 of them with the larger L2 shift is in the ticket."
    assert two == "3 tokens have D = 0.2500; only the 2 of them with the larger L2 shift are in the ticket."


def test_more_tokens_than_moved_give_those_that_moved_and_it_is_told(open_app):
    app = open_app("alpha", top="5000")
    assert read_metrics(app)["Tokens in the ticket"] == "10"
    assert "Only 10 of the 5,000 tokens asked for have a D above 0." in read_texts(app)


def test_a_page_that_goes_by_alpha_says_so_and_leaves_the_ticket_alone(scanned):
    assert "stays the" not in read_texts(scanned)
    scanned.query_params["top"] = "4"
    scanned.session_state["kslottery.page"] = None
    scanned.run()
    assert "This page goes by α. The ticket of the pair stays the 4 tokens with the largest D." in read_texts(scanned)
    scanned.text_input(key="alpha_number").set_value("0.3").run()
    assert (scanned.query_params["alpha"], scanned.query_params["top"]) == ("0.3", "4")


def test_the_tokens_of_largest_d_are_those_of_a_sort_by_hand(comparison):
    result = comparison.result
    ranked = sorted(range(64), key=lambda token: (-result.counts[token], -result.l2_shift[token], token))
    for k in (1, 3, 9):
        selection = load_selection(comparison, AlphaChoice(top_k=k))
        assert set(selection.ticket.token_ids) == set(ranked[:k])
        assert np.flatnonzero(selection.winners).tolist() == sorted(ranked[:k])
        assert selection.ticket.note is None


def test_the_edge_of_a_ranked_ticket_knows_its_ties():
    counts, shift = np.array([5, 3, 3, 3, 1, 0]), np.array([1.0, 2.0, 9.0, 4.0, 1.0, 8.0])
    winners = np.array([True, False, True, False, False, False])
    assert summarise_ranked_neighbours(counts, shift, winners) == RankedNeighbours(3, 2, 3, 3, 1)
    every = counts > 0
    assert summarise_ranked_neighbours(counts, shift, every) == RankedNeighbours(None, 4, 1, 1, 1)
    assert summarise_ranked_neighbours(counts, shift, ~(counts >= 0)) == RankedNeighbours(0, None, None, 0, 0)


@pytest.mark.parametrize(
    ("alpha", "rule", "place"),
    [
        (AlphaChoice(), "α = 0.05", "at α = 0.05"),
        (AlphaChoice(1e-9, "bonferroni"), "α = 1e-9, Bonferroni", "at α = 1e-9"),
        (AlphaChoice(0.2, "bh", "asymptotic"), "α = 0.2, Benjamini-Hochberg, the paper's threshold", "at α = 0.2"),
        (AlphaChoice(top_k=1800), "the 1,800 tokens with the largest D", "by the largest D"),
        (AlphaChoice(top_k=1), "the token with the largest D", "by the largest D"),
    ],
)
def test_a_rule_has_its_words(alpha, rule, place):
    assert (describe_rule(alpha), describe_place(alpha)) == (rule, place)


def test_a_number_of_tokens_survives_the_address():
    then = Choice(alpha=AlphaChoice(0.2, "holm", top_k=18))
    address = build_address(then, "alpha")
    assert address == {"alpha": "0.2", "correction": "holm", "top": "18"}
    assert read_address(address, Choice()) == (then, ())
    assert forget_addressed(then, "alpha", {}).alpha.top_k is None
    assert read_address({"alpha": "0.3"}, then)[0].alpha == AlphaChoice(0.3, "holm")


@pytest.mark.parametrize("top", ["0", "-1", "many", "1.5", "", "9" * 5000])
def test_a_wrong_number_in_the_address_is_told_and_ignored(top):
    choice, problems = read_address({"top": top}, Choice())
    assert choice.alpha == AlphaChoice()
    assert len(problems) == 1
    assert len(problems[0]) < 250


@pytest.mark.parametrize(
    ("typed", "number"), [("18", 18), (" 1,800 ", 1800), ("12 345", 12345), ("1,80", None), ("1,8", None), ("²", None)]
)
def test_thousands_may_be_set_apart(typed, number):
    assert read(typed) == number


@pytest.mark.parametrize(
    ("chosen", "changes"),
    [
        ({"alpha": 0.2}, [{"significance_level": 0.2, "top_k": None}]),
        ({"top_k": 12}, [{"top_k": 12}]),
        ({"alpha": 1.5}, []),
        ({"alpha": "0.2"}, []),
        ({"alpha": float("nan")}, []),
        ({"top_k": 0}, []),
        ({"top_k": True}, []),
        ({}, []),
        (None, []),
    ],
)
def test_only_a_rule_is_taken_from_the_browser(monkeypatch, chosen, changes):
    asked = []
    monkeypatch.setattr(state, "set_alpha", lambda **how: asked.append(how))
    alpha_dial.take_chosen(chosen)
    assert asked == changes
