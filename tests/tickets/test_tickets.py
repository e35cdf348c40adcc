"""Selection rules against definitions written out by hand, SciPy's false-discovery control, and files."""

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from scipy.stats import false_discovery_control

from kslottery_core import compute_ks
from kslottery_core.errors import KSInputError, KSLotteryError, TicketError
from kslottery_core.ks import KSResult, compute_least_detectable_count
from kslottery_core.tickets import (
    CORRECTIONS,
    Ticket,
    check_ticket_fits,
    compute_adjusted_p_values,
    compute_least_count,
    compute_ticket_curve,
    compute_ticket_mask,
    create_list_ticket,
    describe_method_disagreement,
    load_published_ticket,
    load_published_tickets,
    load_ticket,
    round_up,
    save_ticket,
    select_ticket,
    select_top_k_ticket,
)


def make_result(counts, width=100) -> KSResult:
    counts = np.array(counts, dtype=np.int32)
    filler = np.zeros(len(counts))
    return KSResult(counts, width, counts > 0, filler + counts, filler, filler, filler)


@pytest.fixture(scope="module")
def result() -> KSResult:
    generator = torch.Generator().manual_seed(0)
    before = torch.randn(400, 128, generator=generator)
    after = before + torch.rand(400, 1, generator=generator) * torch.randn(400, 128, generator=generator)
    after[:40] += 0.5
    return compute_ks(before, after, "cpu")


def holm_by_definition(p_values):
    order, adjusted, running = np.argsort(p_values, kind="stable"), np.empty(len(p_values)), 0.0
    for rank, position in enumerate(order):
        running = max(running, (len(p_values) - rank) * p_values[position])
        adjusted[position] = min(1.0, running)
    return adjusted


def test_uncorrected_winners_are_those_with_p_at_most_alpha(result):
    for alpha in (1e-6, 0.01, 0.05, 0.5, 0.999):
        assert (compute_ticket_mask(result, alpha) == (result.p_values <= alpha)).all()


def test_bonferroni_multiplies_p_by_the_number_of_tests(result):
    adjusted = compute_adjusted_p_values(result.histogram, "bonferroni")[result.counts]
    np.testing.assert_allclose(adjusted, np.minimum(1, result.p_values * 400))


def test_benjamini_hochberg_equals_scipy(result):
    adjusted = compute_adjusted_p_values(result.histogram, "bh")[result.counts]
    np.testing.assert_allclose(adjusted, false_discovery_control(result.p_values), rtol=1e-12)


def test_holm_equals_its_definition(result):
    adjusted = compute_adjusted_p_values(result.histogram, "holm")[result.counts]
    # With equal p the definition gives equal adjusted values too, since the running maximum holds the first one's.
    np.testing.assert_allclose(adjusted, holm_by_definition(result.p_values), rtol=1e-12)


@pytest.mark.parametrize("correction", CORRECTIONS)
@pytest.mark.parametrize("method", ["exact", "asymptotic"])
def test_the_curve_gives_the_ticket_size_at_every_alpha(result, correction, method):
    curve = compute_ticket_curve(result, correction, method)
    assert (np.diff(curve.significance_levels) > 0).all()
    assert (np.diff(curve.sizes) > 0).all()
    for alpha in (*curve.significance_levels, *(curve.significance_levels * 0.9999), 1e-9, 0.05, 0.9):
        if 0 < alpha < 1:
            assert curve.get_size(alpha) == compute_ticket_mask(result, alpha, correction, method).sum()


def test_corrections_never_enlarge_a_ticket(result):
    sizes = {c: compute_ticket_mask(result, 0.05, c).sum() for c in CORRECTIONS}
    assert 0 < sizes["bonferroni"] <= sizes["holm"] <= sizes["bh"] <= sizes["none"] < 400


def test_a_selected_ticket_carries_its_provenance(result):
    labels = [f"token{i}" for i in range(400)]
    ticket = select_ticket(result, 0.05, tokens=labels, fingerprints=("a", "b"))
    assert ticket.token_ids == tuple(np.flatnonzero(result.p_values <= 0.05))
    assert ticket.tokens == tuple(f"token{i}" for i in ticket.token_ids)
    assert ticket.least_count == compute_least_detectable_count(128, 0.05)
    assert (ticket.fingerprint_before, ticket.fingerprint_after) == ("a", "b")
    assert (ticket.width, ticket.vocabulary_size, ticket.rule) == (128, 400, "alpha")


def test_an_empty_ticket_says_the_least_alpha_and_the_least_detectable_d():
    result = make_result([0, 3, 12, 12])
    ticket = select_ticket(result, 0.05)
    assert ticket.size == 0
    least = compute_least_detectable_count(100, 0.05)
    assert f"{least / 100:.4f}" in ticket.note
    assert "largest D here is 0.1200" in ticket.note
    suggested = float(re.search(r"least significance level that gives a ticket is (\S+) \(2 tokens\)", ticket.note)[1])
    assert suggested == pytest.approx(result.p_values.min(), rel=1e-3)
    assert select_ticket(result, suggested).size == 2
    assert "At the significance level 1e-5 the least D" in select_ticket(result, 1e-5).note


@pytest.mark.parametrize("level", [1.19817e-05, 0.26827, 3.3e-300, 0.5, 0.99991, 5e-324])
def test_a_suggested_alpha_is_never_below_the_real_one(level):
    assert round_up(level) >= level
    assert round_up(level) == pytest.approx(level, rel=1e-3)


@pytest.mark.parametrize("level", [1e-5, 0.05, 1e-12, 0.3, 2.5e-7, 0.9])
def test_an_alpha_of_few_digits_is_suggested_as_it_is(level):
    assert round_up(level) == level
    assert round_up(np.nextafter(level, 1)) == pytest.approx(level * 1.001, rel=1e-3)
    assert round_up(np.nextafter(level, 1)) > level


def test_an_empty_ticket_of_an_unchanged_pair_says_so():
    assert "No row differs" in select_ticket(make_result([0, 0]), 0.5).note


def test_an_empty_ticket_when_nothing_can_win_at_this_width():
    note = select_ticket(make_result([1, 0], width=2), 0.05).note
    assert "no D would win in rows of 2 values" in note
    assert "take the tokens with the largest D" in note


def test_top_k_takes_the_largest_d_and_breaks_ties_by_l2_then_id():
    result = make_result([5, 9, 9, 9, 0])
    result.l2_shift[:] = [1, 1, 3, 1, 0]
    assert select_top_k_ticket(result, 2).token_ids == (1, 2)
    assert select_top_k_ticket(result, 1).token_ids == (2,)
    all_moved = select_top_k_ticket(result, 5)
    assert all_moved.token_ids == (0, 1, 2, 3)
    assert "Only 4 of the 5" in all_moved.note


@pytest.mark.parametrize("k", [0, -1, 6])
def test_a_k_out_of_range_is_refused(k):
    with pytest.raises(TicketError, match="from 1 to 5"):
        select_top_k_ticket(make_result([1, 2, 3, 4, 5]), k)


def test_bad_levels_and_corrections_are_refused(result):
    with pytest.raises(KSInputError, match="0 < alpha < 1"):
        select_ticket(result, 1.0)
    with pytest.raises(TicketError, match="none, bonferroni"):
        select_ticket(result, 0.05, correction="sidak")
    with pytest.raises(KSInputError, match="exact, asymptotic"):
        select_ticket(result, 0.05, p_value_method="guess")


def test_disagreement_of_exact_and_asymptotic_is_told():
    width, alpha = 4096, 0.05
    exact = compute_least_detectable_count(width, alpha)
    asymptotic = compute_least_detectable_count(width, alpha, "asymptotic")
    assert exact == asymptotic
    assert describe_method_disagreement(make_result([exact], width), alpha) is None
    differing = [
        d
        for d in range(3, 60)
        if compute_least_detectable_count(d, alpha) != compute_least_detectable_count(d, alpha, "asymptotic")
    ]
    d = differing[0]
    counts = [compute_least_detectable_count(d, alpha, m) for m in ("exact", "asymptotic")]
    assert "1 token is judged differently" in describe_method_disagreement(
        make_result([min(x or d for x in counts)], d), alpha
    )


def test_a_ticket_survives_its_file(tmp_path, result):
    ticket = select_ticket(result, 0.05, correction="bh", tokens=["é\n"] * 400)
    save_ticket(ticket, tmp_path / "new" / "ticket.json")
    assert load_ticket(tmp_path / "new" / "ticket.json") == ticket
    assert {
        "token_ids", "tokens", "significance_level", "correction", "width", "vocabulary_size",
        "fingerprint_before", "fingerprint_after",
    } <= set(json.loads((tmp_path / "new" / "ticket.json").read_text()))  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"token_ids": [3, 1]}, "ids out of order"),
        ({"token_ids": [1, 1]}, "the id 1 more than once"),
        ({"token_ids": [1, 12]}, "from 0 to 9, found 12"),
        ({"token_ids": [-1, 2]}, "from 0 to 9, found -1"),
        ({"token_ids": ["1"]}, "field 'token_ids': expected int"),
        ({"token_ids": [True]}, "expected int"),
        ({"token_ids": 5}, "expected tuple"),
        ({"tokens": ["a"]}, "one label per token id"),
        ({"rule": "guess"}, "expected a rule"),
        ({"width": "wide"}, "field 'width'"),
        ({"width": -3}, "a width of at least 1"),
        ({"significance_level": 7.0}, "0 < alpha < 1"),
        ({"correction": "magic"}, "a correction among none"),
        ({"p_value_method": "magic"}, "a p_value_method among exact"),
        ({"surprise": 1}, "unknown field 'surprise'"),
        ({"vocabulary_size": None}, "field 'vocabulary_size'"),
    ],
)
def test_a_broken_ticket_file_is_refused_in_a_sentence(change, message):
    good = {"token_ids": [1, 2], "vocabulary_size": 10, "rule": "list"}
    assert Ticket.from_json(good, "here").size == 2
    with pytest.raises(TicketError, match=message):
        Ticket.from_json(good | change, "here")


def test_files_that_hold_no_ticket_are_refused(tmp_path):
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    (tmp_path / "partial.json").write_text('{"token_ids": [1]}')
    for name, message in [
        ("broken.json", "breaks at line 1"),
        ("list.json", "expected a JSON object"),
        ("bytes.json", "cannot be read"),
        ("partial.json", "'vocabulary_size' is missing"),
        ("none.json", "no file there"),
    ]:
        with pytest.raises(TicketError, match=message):
            load_ticket(tmp_path / name)
    with pytest.raises(TicketError, match="cannot be written"):
        save_ticket(Ticket((1,), 2, "list"), tmp_path / "broken.json" / "ticket.json")


def test_a_ticket_must_fit_the_model_it_is_applied_to():
    ticket = dataclasses.replace(create_list_ticket([7, 3], 10), width=8)
    assert ticket.token_ids == (3, 7)
    check_ticket_fits(ticket, 10, 8)
    with pytest.raises(TicketError, match="token id 7 does not exist in this model of 5 rows"):
        check_ticket_fits(ticket, 5, 8)
    with pytest.raises(TicketError, match="width 8, this model has width 16"):
        check_ticket_fits(ticket, 10, 16)
    with pytest.raises(TicketError, match="empty ticket"):
        check_ticket_fits(create_list_ticket([], 10), 10, 8)
    assert create_list_ticket([2, 0], 3, ["a", "b", "c"]).tokens == ("a", "c")


def test_published_tickets_are_nested_and_share_ten_tokens():
    tickets = load_published_tickets()
    sizes = [tickets[f"en-ca@{level}"].size for level in ("0.05", "0.5", "0.95")]
    assert sizes == [18, 81, 3213]
    # The published sets are nearly nested: ids of the smaller that the larger lacks are a fact worth seeing.
    assert set(tickets["ca"].token_ids) == set(tickets["en-ca@0.05"].token_ids)
    common = set.intersection(*(set(tickets[name].token_ids) for name in ("ca", "es", "ro", "da", "de", "pt")))
    assert sorted(common) == [13, 278, 297, 304, 310, 322, 29871, 29889, 29892, 29896]
    with pytest.raises(TicketError, match="one of ca, es"):
        load_published_ticket("xx")
    assert load_published_ticket("es").rule == "published"
    assert issubclass(TicketError, KSLotteryError)


def test_least_count_is_none_when_nothing_can_win():
    assert compute_least_count(make_result([1], width=2), 0.05) is None
