"""Certificates that somebody changed by hand: whatever a reader is shown is contradicted, in plain words."""

import dataclasses
import math

import pytest
import torch

from kslottery_core.certification import (
    LEFT_BEHIND,
    TICKET,
    Certification,
    LostPrediction,
    Violation,
    certify,
    verify_certification,
)
from kslottery_core.certification.verify import LOGIT_TOLERANCE, PROBABILITY_TOLERANCE, Comparison
from kslottery_core.checkpoints import open_pair
from kslottery_core.errors import CertificationError
from kslottery_core.ks import compute_pair_ks
from kslottery_core.tickets import select_ticket

FORGED_WORDS = "No token differs: proven."


@pytest.fixture
def pair(make_pair):
    """Every second row thrown far enough that the partial model says other things."""
    generator = torch.Generator().manual_seed(5)
    noise = 0.3 * torch.randn(64, 16, generator=generator)
    return make_pair(lambda rows: torch.where(torch.arange(64)[:, None] % 2 == 0, rows, rows + noise))


@pytest.fixture
def certified(pair, make_task):
    return certify(make_task(*pair, range(1, 56, 2), significance_levels=(0.5,)))


def change(found, path, value):
    """A copy of a frozen record with the value at `path` (names, numbers and keys) replaced; functions are applied."""
    if not path:
        return value(found) if callable(value) else value
    first, *rest = path
    if isinstance(found, dict):
        return found | {first: change(found[first], rest, value)}
    if isinstance(found, tuple):
        return (*found[:first], change(found[first], rest, value), *found[first + 1 :])
    return dataclasses.replace(found, **{first: change(getattr(found, first), rest, value)})


def add_one(number):
    return number + 1


VIOLATION = Violation("reference", 0, 4, ("ks_bound",), (), (), 0.9, 0.1, 3, ())
SEQUENCE = ("sentences", 2, "reference_sequence")
FORGERIES = {
    "definition": (
        ("levels", 1, "definition"),
        FORGED_WORDS,
        'the definition of the level KS bound is worded differently: "No',
    ),
    "assumption": (
        ("levels", 1, "assumption"),
        None,
        "the assumption of the level KS bound is worded differently: none is in",
    ),
    "statement": (("statement",), FORGED_WORDS, f'the statement is worded differently: "{FORGED_WORDS}" is in'),
    "violation added": (
        ("chosen", "violations"),
        lambda listed: (*listed, VIOLATION),
        "with the ticket: number of listed violations:",
    ),
    "exact difference": (
        ("chosen", "largest_exact_difference"),
        0.5,
        "largest difference of a logit at an exact prediction: 0.5 in the certificate, 0 when computed again.",
    ),
    "chosen alpha": (
        ("chosen", "significance_level"),
        0.05,
        "the ticket: alpha: 0.05 in the certificate, none in its task.",
    ),
    "grid alpha": (("grid", 0, "significance_level"), 0.4, "own grid of alphas does not match its task."),
    "steps": (
        ("grid", 0, "output_step_violations", "ks_bound"),
        add_one,
        "at alpha 0.5: violations at steps of outputs (KS bound): 1 in the certificate, 0 when computed again.",
    ),
    "tickets": (("distinct_tickets",), 9, "all tickets: different ones: 9 in the certificate, 2 when computed again."),
    "certified positions": (
        (*SEQUENCE, "levels", "ks_bound"),
        lambda positions: positions[1:] or (8,),
        "sentence 3, reference translation, certified (KS bound): token",
    ),
    "sum": ((*SEQUENCE, "counts", 1), add_one, "sum of k: "),
    "tokens left": ((*SEQUENCE, "left_behind", 0), add_one, "sentence 3, reference translation, token "),
    "predicted": ((*SEQUENCE, "predicted", 0), add_one, "token id that the tuned model predicts: "),
    "partial": (
        ("sentences", 1, "output_sequence", "partial_predicted", 0),
        add_one,
        "token id that the partial model predicts: ",
    ),
    "probability": ((*SEQUENCE, "first_probabilities", 0), lambda p: p + 0.01, "of the first choice (p_A): "),
    "no probability": (
        (*SEQUENCE, "second_probabilities", 0),
        None,
        "probability of the second choice (p_B): none in the certificate",
    ),
    "output": (("sentences", 4, "output"), "a cat", 'sentence 5: output: "a cat" in the certificate, '),
    "source": (("sentences", 4, "source"), "a cat", 'sentence 5: source sentence: "a cat" in the certificate'),
    "ended": (("sentences", 4, "ended"), lambda ended: not ended, "sentence 5: whether it was ended: "),
    "sentence left out": (
        ("sentences",),
        lambda all_: all_[:-1],
        "the certificate: number of sentences: 5 in the certificate",
    ),
    "text": ((*SEQUENCE, "token_ids", 0), add_one, "sentence 3, reference translation, token 1: token id: "),
    "count of a token": (("tokens", 3, "count"), add_one, ": k: "),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_whatever_was_forged_is_named_first(certified, name):
    path, value, words = FORGERIES[name]
    forged = change(certified, path, value)
    assert forged != certified
    # The recomputation is the same each time; that it is made is held by the tests of the whole verification.
    first = next(Comparison(forged, certified).list_differences(), None)
    assert first is not None
    assert words in first
    assert "{" not in first
    assert "('" not in first


def test_a_forged_role_is_contradicted_by_the_whole_verification(certified):
    at = next(number for number, token in enumerate(certified.tokens) if token.role == LEFT_BEHIND)
    verification = verify_certification(change(certified, ("tokens", at, "role"), TICKET))
    assert not verification.holds
    assert verification.difference == (
        f'token with the id {certified.tokens[at].token_id}: role: "ticket" in the certificate, "left behind" '
        "when computed again."
    )


def test_rounding_is_allowed_up_to_the_tolerance_and_said(certified):
    path = ("sentences", 0, "reference_sequence", "first_probabilities", 0)
    near = change(certified, path, lambda p: p - PROBABILITY_TOLERANCE / 2)
    verification = verify_certification(near)
    assert verification.holds
    assert verification.rounding == (
        "Computed again, numbers differ by rounding: probabilities by up to 5e-05 (up to 0.0001 counts as rounding)."
    )
    assert verify_certification(certified).rounding is None
    far = change(certified, path, lambda p: p - 2 * PROBABILITY_TOLERANCE)
    assert "probability of the first choice (p_A): " in next(Comparison(far, certified).list_differences())
    nothing = change(certified, path, lambda p: math.nan)
    assert "probability of the first choice (p_A): nan" in next(Comparison(nothing, certified).list_differences())
    logit = change(certified, ("chosen", "largest_exact_difference"), LOGIT_TOLERANCE / 2)
    comparison = Comparison(logit, certified)
    assert list(comparison.list_differences()) == []
    assert "logits by up to 0.0005 (up to 0.001" in comparison.rounding.describe()


def test_lost_predictions_and_counts_of_larger_tickets_are_compared(pair, make_task):
    found = certify(make_task(*pair, range(1, 64, 4), larger_ticket_limit=2))
    larger = found.chosen.larger_tickets
    assert larger.listed
    assert list(Comparison(found, found).list_differences()) == []
    for path, value, words in (
        (("lost",), add_one, "predictions that a larger ticket changes: "),
        (("listed", 0, "position"), add_one, "with the ticket, listed lost prediction 1: position: "),
        (("listed", 0, "margin"), lambda margin: margin + 1, "with the ticket, listed lost prediction 1: margin in"),
        (("listed", 0, "kept_before", 0, "count"), add_one, "rows that stay as they were 1: k: "),
        (("listed",), lambda listed: listed[1:], "number of listed lost predictions: "),
    ):
        forged = change(found, ("chosen", "larger_tickets", *path), value)
        difference = next(Comparison(forged, found).list_differences())
        assert words in difference
        assert "{" not in difference
    gone = change(found, ("chosen", "larger_tickets"), None)
    assert "larger tickets are not counted in the certificate, and are when" in next(
        Comparison(gone, found).list_differences()
    )
    assert isinstance(larger.listed[0], LostPrediction)


def test_a_ticket_that_claims_another_alpha_is_contradicted(pair, make_task):
    opened = open_pair(*pair)
    result = compute_pair_ks(opened, "cpu")
    named = {"fingerprint_before": opened.before.fingerprint, "fingerprint_after": opened.after.fingerprint}
    ticket = dataclasses.replace(select_ticket(result, 0.9), **named)
    found = certify(make_task(*pair, ticket=ticket))
    assert verify_certification(found).holds
    claimed = dataclasses.replace(ticket, significance_level=0.001)
    forged = dataclasses.replace(
        found,
        task=dataclasses.replace(found.task, ticket=claimed),
        chosen=dataclasses.replace(found.chosen, significance_level=0.001),
    )
    verification = verify_certification(forged)
    assert not verification.holds
    assert "the ticket is not the one of its alpha: at 0.001 this pair gives 3 tokens" in verification.difference


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_revision_without_its_source_is_refused(certified, side):
    with pytest.raises(CertificationError, match=f"give {side.upper()} too, or leave the revision out"):
        verify_certification(certified, **{f"{side}_revision": "main"})


def test_paths_in_a_certificate_are_absolute(pair, make_task, tmp_path, tiny_text, monkeypatch):
    from kslottery_core.corpora import CorpusSpec

    (tmp_path / "text.jsonl").write_bytes(tiny_text.read_bytes())
    monkeypatch.chdir(tmp_path)
    found = certify(make_task(pair[0].name, pair[1].name, (1,), corpus=CorpusSpec("text.jsonl")))
    assert (found.task.before, found.task.after) == tuple(map(str, pair))
    assert found.task.corpus.path == str(tmp_path / "text.jsonl")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert verify_certification(Certification.from_json(found.to_json())).holds


def test_listed_violations_are_the_first_in_the_text(pair, make_task, monkeypatch):
    from kslottery_core.certification import levels, tally

    monkeypatch.setitem(levels._RULES, "ks_bound", lambda evidence: evidence.margins > -1)  # everything is certified
    task = make_task(*pair, batch_size=1)
    every = certify(task).chosen.violations
    assert len(every) > 6
    places = [(one.sentence, one.text == "output", one.position) for one in every]
    assert places == sorted(places)
    monkeypatch.setattr(tally, "MOST_LISTED", 3)
    assert certify(task).chosen.violations == every[:3]
