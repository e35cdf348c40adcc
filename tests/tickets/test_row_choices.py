"""Rows chosen without a KS result: by frequency, by chance, by name, and from other tickets."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from kslottery_core.errors import TicketError
from kslottery_core.tickets import (
    Ticket,
    create_list_ticket,
    create_prompt_ticket,
    intersect_tickets,
    load_ticket,
    parse_token_list,
    save_ticket,
    select_frequent_ticket,
    select_matched_ticket,
    select_random_ticket,
    unite_tickets,
)

LABELS = ["<s>", "a", "␣a", "↵", ",", "5", "é", "a", "␣the", '"']
COUNTS = st.lists(st.integers(0, 50), min_size=2, max_size=40).map(np.array)


@given(COUNTS, st.data())
def test_frequent_tokens_are_the_first_of_a_stable_sort(counts, data):
    k = data.draw(st.integers(1, len(counts)))
    ranked = sorted((-count, token_id) for token_id, count in enumerate(counts.tolist()) if count)[:k]
    if not ranked:
        with pytest.raises(TicketError, match="expected tokens that occur in text, found none"):
            select_frequent_ticket(counts, k)
        return
    ticket = select_frequent_ticket(counts, k)
    assert ticket.token_ids == tuple(sorted(token_id for _, token_id in ranked))
    assert (ticket.rule, ticket.vocabulary_size) == ("frequent", len(counts))
    assert (f"Only {len(ranked)} of the {k} tokens" in ticket.note) == (len(ranked) < k)


def test_a_frequent_ticket_names_its_text_and_labels():
    ticket = select_frequent_ticket(np.array([0, 7, 9]), 2, tokens=["x", "y", "z"], text="train.jsonl")
    assert ticket.tokens == ("y", "z")
    assert ticket.note == "The 2 most frequent tokens of train.jsonl, each at least 7 times."


@given(st.integers(1, 60), st.integers(0, 2**40), st.data())
def test_random_tickets_are_distinct_and_the_same_for_the_same_seed(size, seed, data):
    k = data.draw(st.integers(1, size))
    ticket = select_random_ticket(size, k, seed)
    assert ticket.size == k
    assert ticket == select_random_ticket(size, k, seed)
    assert f"seed {seed}" in ticket.note


def test_random_tickets_draw_every_token_equally_often():
    drawn = np.zeros(20)
    for seed in range(1000):
        drawn[list(select_random_ticket(20, 5, seed).token_ids)] += 1
    assert chisquare(drawn).pvalue > 1e-4


@settings(deadline=None)
@given(COUNTS, st.integers(0, 1000), st.data())
def test_matched_tokens_are_as_many_and_all_outside_the_ticket(counts, seed, data):
    size = len(counts)
    ids = data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=size // 2))
    like = create_list_ticket(list(ids), size)
    ticket = select_matched_ticket(like, counts, seed)
    assert (ticket.size, ticket.rule) == (like.size, "matched")
    assert not set(ticket.token_ids) & ids
    assert ticket == select_matched_ticket(like, counts, seed)
    if len(ids) == 1:
        (wanted,) = ids
        outside = [abs(int(count) - int(counts[wanted])) for i, count in enumerate(counts) if i != wanted]
        assert abs(int(counts[ticket.token_ids[0]]) - int(counts[wanted])) == min(outside)


def test_equally_near_counts_are_drawn_by_chance():
    counts = np.array([10, 9, 11, 9, 50])
    drawn = {select_matched_ticket(create_list_ticket([0], 5), counts, seed).token_ids for seed in range(60)}
    assert drawn == {(1,), (2,), (3,)}


def test_a_matched_ticket_says_how_near_it_came():
    counts = np.array([100, 90, 5, 1, 0])
    ticket = select_matched_ticket(create_list_ticket([0, 2], 5), counts, 3, text="x.tsv")
    assert ticket.token_ids == (1, 3)
    assert "in x.tsv as one of the ticket 'list' (2 tokens), seed 3" in ticket.note
    assert "differ by 7.0 on average and 10 at most" in ticket.note


@pytest.mark.parametrize(
    ("choose", "message"),
    [
        (lambda: select_frequent_ticket(np.ones(5), 6), "from 1 to 5, found 6"),
        (lambda: select_frequent_ticket(np.ones(5), 0), "from 1 to 5, found 0"),
        (lambda: select_random_ticket(5, 6, 0), "from 1 to 5, found 6"),
        (lambda: select_random_ticket(5, 1, -1), "seed: expected a whole number of at least 0, found -1"),
        (lambda: select_matched_ticket(create_list_ticket([], 5), np.ones(5), 0), "at least one token, found an empty"),
        (
            lambda: select_matched_ticket(create_list_ticket([1], 6), np.ones(5), 0),
            "for a vocabulary of 5, found one for 6",
        ),
        (lambda: select_matched_ticket(create_list_ticket([1, 2, 3], 5), np.ones(5), 0), "at least 3 tokens outside"),
        (lambda: create_prompt_ticket([7], 5, prompt_hash="x"), "from 0 to 4, found 7"),
    ],
)
def test_a_choice_that_cannot_be_made_is_one_clear_error(choose, message):
    with pytest.raises(TicketError, match=message):
        choose()


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("3, 1, 5-7", (1, 3, 5, 6, 7)),
        ("3\n1\n\n5 - 7,\n", (1, 3, 5, 6, 7)),
        ("1 3 5–7", (1, 3, 5, 6, 7)),
        ("␣the, é", (6, 8)),
        ('" the", ","', (4, 8)),
        ('"5", 2', (2, 5)),
        ('"\\n", "\\""', (3, 9)),
        ('[0, " the", "5"]', (0, 5, 8)),
        ("4-4", (4,)),
    ],
)
def test_lists_name_ids_ranges_and_tokens(text, ids):
    assert parse_token_list(text, 10, LABELS) == ids


@given(st.sets(st.integers(0, 999), min_size=1), st.sampled_from([", ", "\n", " ", ","]))
def test_a_list_of_ids_gives_those_ids(ids, separator):
    assert parse_token_list(separator.join(map(str, ids)), 1000) == tuple(sorted(ids))
    assert parse_token_list(json.dumps(list(ids)), 1000) == tuple(sorted(ids))


@given(st.lists(st.text(min_size=1, max_size=5), max_size=4), st.text(max_size=20))
def test_any_text_is_a_list_or_one_clear_error(labels, text):
    try:
        ids = parse_token_list(text, len(labels), labels)
    except TicketError as problem:
        assert str(problem).startswith("token list: ")
    else:
        assert list(ids) == sorted(set(ids))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected at least one id or token, found none"),
        (" ,\n", "found none"),
        ("10", "expected ids from 0 to 9, found 10"),
        ("3-12", "expected ids from 0 to 9, found 12"),
        ("0-" + "9" * 30, "expected ids from 0 to 9, found 9999"),
        ("9" * 9000, "expected ids from 0 to 9, found 9999"),
        ("[-1]", "expected ids from 0 to 9, found -1"),
        ("[1.5]", "found 1.5"),
        ("[true]", "found True"),
        ("5-9, 7", "every token once, found the id 7 2 times"),
        ('8, " the"', "the id 8 2 times"),
        ("9-5", "from the smaller id to the larger, found 9-5"),
        ("the", "found no token 'the'; there is '␣the'"),
        ("unheard of", "found no token 'unheard of'; look tokens up"),
        ("a", "expected one token 'a', found the ids 1, 7"),
        ('"\\x"', r"in quotes as JSON writes it, found \"\\x\""),
    ],
)
def test_a_list_that_names_no_tokens_is_one_clear_error(text, message):
    with pytest.raises(TicketError) as caught:
        parse_token_list(text, 10, LABELS)
    assert message.replace("\\\\", "\\").replace('\\"', '"') in str(caught.value)


def test_prompt_tickets_are_sorted_and_name_their_template():
    ticket = create_prompt_ticket([8, 1, 1], 10, prompt_hash="abc", tokens=LABELS)
    assert (ticket.token_ids, ticket.tokens, ticket.rule) == ((1, 8), ("a", "␣the"), "prompt")
    assert "abc" in ticket.note
    assert create_prompt_ticket([], 10, prompt_hash="abc", tokens=LABELS).size == 0


IDS = st.sets(st.integers(0, 19))


@given(st.lists(IDS, min_size=2, max_size=4))
def test_union_and_intersection_are_those_of_sets(sets):
    tickets = [create_list_ticket(list(ids), 20) for ids in sets]
    assert set(unite_tickets(tickets).token_ids) == set.union(*sets)
    assert set(intersect_tickets(tickets).token_ids) == set.intersection(*sets)


def test_what_all_tickets_agree_on_is_kept():
    first = Ticket((1, 2), 10, "alpha", ("a", "b"), 0.05, width=4, fingerprint_before="x", fingerprint_after="y")
    second = Ticket((2, 3), 10, "list", ("b", "c"), width=4, fingerprint_before="x", fingerprint_after="z")
    both = unite_tickets([first, second], ["one.json", "two.json"])
    assert (both.token_ids, both.tokens, both.width) == ((1, 2, 3), ("a", "b", "c"), 4)
    assert (both.fingerprint_before, both.fingerprint_after, both.significance_level) == ("x", None, None)
    assert both.note == "Union of one.json (2 tokens), two.json (2 tokens)."
    common = intersect_tickets([first, Ticket((2,), 10, "list")])
    assert (common.token_ids, common.tokens, common.width, common.rule) == ((2,), ("b",), 4, "intersection")
    assert unite_tickets([first, Ticket((5,), 10, "list")]).tokens == ()


@pytest.mark.parametrize(
    ("tickets", "message"),
    [
        ([Ticket((1,), 10, "list")], "union: expected at least two tickets, found 1"),
        (
            [Ticket((1,), 10, "list"), Ticket((1,), 32000, "list")],
            "for the same vocabulary, found 10 in ticket 1 and 32,000 in ticket 2; combine tickets of one model",
        ),
        (
            [Ticket((1,), 10, "list", width=4), Ticket((1,), 10, "list"), Ticket((1,), 10, "list", width=8)],
            "of the same width, found 4 in ticket 1 and 8 in ticket 3",
        ),
    ],
)
def test_tickets_of_different_models_are_not_combined(tickets, message):
    with pytest.raises(TicketError) as caught:
        unite_tickets(tickets)
    assert message in str(caught.value)


def test_every_way_of_choosing_survives_its_file_in_the_known_fields(tmp_path):
    like = create_list_ticket([1, 2], 10, LABELS)
    counts = np.arange(10)
    tickets = [
        select_frequent_ticket(counts, 2, tokens=LABELS),
        select_random_ticket(10, 2, 0, tokens=LABELS),
        select_matched_ticket(like, counts, 0, tokens=LABELS),
        create_prompt_ticket([3], 10, prompt_hash="x", tokens=LABELS),
        unite_tickets([like, like]),
        intersect_tickets([like, like]),
    ]
    for ticket in tickets:
        save_ticket(ticket, tmp_path / "ticket.json")
        assert load_ticket(tmp_path / "ticket.json") == ticket
        assert set(json.loads((tmp_path / "ticket.json").read_text())) == set(like.to_json())
