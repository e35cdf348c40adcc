"""`kslottery certify`: certificates on the command line, their verification and its exit status."""

import json
import threading

import pytest

from kslottery_core import jobs
from kslottery_core.certification import load_certification
from kslottery_core.progress import never_stop
from kslottery_core.tickets import create_list_ticket, save_ticket

TEXT = [("the small cat", "the red house"), ("12 birds", "a garden"), ("old", "a bird")]


@pytest.fixture
def asked(tiny_llama_folder, tiny_tuned_llama_folder, tmp_path, monkeypatch):
    """The arguments for the pair whose rows 3, 5 and 8 moved, with a ticket of all three."""
    monkeypatch.setenv("KSLOTTERY_HOME", str(tmp_path / "home"))
    save_ticket(create_list_ticket((3, 5, 8), 64), tmp_path / "ticket.json")
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"en": a, "ca": b}) + "\n" for a, b in TEXT))
    options = ("--ticket", tmp_path / "ticket.json", "--corpus", tmp_path / "text.jsonl", "--prompt", "{source}:")
    return (tiny_llama_folder, tiny_tuned_llama_folder, *options, "--max-new-tokens", 4, "--device", "cpu")


def test_a_certificate_is_printed_kept_and_verified(run, asked, tmp_path):
    path = tmp_path / "certificate.json"
    status, out, _ = run("certify", *asked, "--alphas", "0.05,0.001", "--out", path)
    assert status == 0
    assert "rows changed   3 of 64" in out
    assert "the largest difference of any logit found there is 0\n" in out
    assert "whole outputs, of 3" in out
    assert "for a transformer it is an assumption" in out
    assert "theorem (arXiv 2402.02801) is not reproduced" in out
    found = load_certification(path)
    assert [point.significance_level for point in found.grid] == [0.001, 0.05]
    assert found.chosen.outputs.get_level("exact").certified == 3
    (kept,) = (tmp_path / "home" / "certificates").iterdir()
    assert load_certification(kept) == found
    status, out, _ = run("certify", "--verify", path)
    assert (status, "this certificate holds" in out) == (0, True)


def test_a_certificate_that_does_not_hold_ends_with_status_one(run, asked, tmp_path):
    path = tmp_path / "certificate.json"
    assert run("certify", *asked, "--alphas", "0.5", "--out", path)[0] == 0
    (tmp_path / "text.jsonl").write_text(json.dumps({"en": "the cat", "ca": "a cat"}) + "\n")
    status, out, _ = run("certify", "--verify", path)
    assert status == 1
    assert "this certificate does not hold: the text" in out


def test_what_is_missing_or_no_number_is_one_sentence(run, asked, tmp_path):
    status, _, err = run("certify", *asked[:2], *asked[4:])
    assert (status, "found no --ticket" in err) == (2, True)
    status, _, err = run("certify", *asked, "--alphas", "0.1,often")
    assert (status, "expected numbers such as 0.01,0.05,0.5" in err) == (2, True)
    status, _, err = run("certify", "--verify", tmp_path / "nothing.json")
    assert (status, "no file there" in err) == (2, True)
    assert "Traceback" not in err


def test_every_larger_ticket_is_a_level_of_its_own_when_asked_for(run, asked, tmp_path):
    path = tmp_path / "certificate.json"
    save_ticket(create_list_ticket((3,), 64), tmp_path / "ticket.json")
    status, out, _ = run("certify", *asked, "--alphas", "0.5", "--larger-tickets", 1, "--out", path)
    assert status == 0
    assert "exact  every larger ticket  KS bound" in out
    assert "every larger ticket, of at most 1 left-behind tokens" in out
    assert "further passes of one sequence each" in out
    found = load_certification(path)
    assert found.task.larger_ticket_limit == 1
    assert run("certify", "--verify", path)[0] == 0
    status, out, _ = run("certify", *asked, "--alphas", "0.5")
    assert (status, "larger ticket" in out) == (0, False)
    for limit in (-1, 17):
        status, _, err = run("certify", *asked, "--larger-tickets", limit)
        assert status == 2
        assert f"from 0 (off) to 16, each of which doubles the passes, found {limit}." in err


def test_a_prediction_that_a_larger_ticket_changes_is_printed_with_its_rows():
    from kslottery_core.certification import LeftBehindToken, LostPrediction
    from kslottery_core.commands.certify_commands import _describe_lost

    rows = (LeftBehindToken(7, "cat", 3), LeftBehindToken(9, "house", 4))
    lost = LostPrediction("output", 4, 11, 20, "red", 0.25, -1.5, rows)
    assert _describe_lost(lost) == (
        "sentence 5, output, token 12: tuned 'red', by 0.2500 in logits; by -1.5000 where these rows stay as they "
        "were: cat, house"
    )


def test_what_the_command_waits_for_is_said(run, asked):
    held, done = threading.Event(), threading.Event()

    def hold():
        with jobs.hold_turn("cpu", "a long run", on_wait=print, should_stop=never_stop):
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    threading.Timer(1.0, done.set).start()
    status, _, err = run("certify", *asked, "--alphas", "0.5")
    thread.join(20)
    assert (status, "queued: waits for a long run\n" in err) == (0, True)


def test_a_text_rewritten_meanwhile_does_not_name_the_kept_certificate(run, asked, tmp_path, monkeypatch):
    from kslottery_core import certification

    text, named = tmp_path / "text.jsonl", []

    def rewrite(task, **options):
        found = certify(task, **options)
        named.append(find_certificate_path(task, ""))
        text.write_text(json.dumps({"en": "the cat", "ca": "a cat"}) + "\n")
        return found

    certify, find_certificate_path = certification.certify, certification.find_certificate_path
    monkeypatch.setattr(certification, "certify", rewrite)
    assert run("certify", *asked, "--alphas", "0.5")[0] == 0
    assert [kept.name for kept in (tmp_path / "home" / "certificates").iterdir()] == [named[0].name]


def test_a_revision_without_its_model_is_refused(run, asked, tmp_path):
    path = tmp_path / "certificate.json"
    assert run("certify", *asked, "--alphas", "0.5", "--out", path)[0] == 0
    status, _, err = run("certify", "--verify", path, "--before-revision", "main")
    assert (status, "give BEFORE too, or leave the revision out" in err) == (2, True)


def test_numbers_that_differ_by_rounding_are_told(run, asked, tmp_path):
    path = tmp_path / "certificate.json"
    assert run("certify", *asked, "--alphas", "0.5", "--out", path)[0] == 0
    content = json.loads(path.read_text())
    content["sentences"][0]["reference_sequence"]["first_probabilities"][0] += 3e-5
    path.write_text(json.dumps(content))
    status, out, _ = run("certify", "--verify", path)
    assert (status, "probabilities by up to 3e-05" in out) == (0, True)


def test_distances_of_a_violation_are_rounded_as_everywhere():
    from types import SimpleNamespace

    from kslottery_core.certification import LeftBehindToken, TokenProbability, Violation
    from kslottery_core.commands.certify_commands import _describe_violation

    top = (TokenProbability(5, "red", 0.9),)
    one = Violation("output", 0, 3, ("ks_bound",), top, top, 0.9, 0.1, 1, (LeftBehindToken(7, "cat", 1),))
    # 1/32 = 0.03125 ends in a half: a plain format rounds it to the even digit below.
    line = _describe_violation(SimpleNamespace(width=32), one)
    assert "left behind (D): cat (0.0313)" in line
    assert "2 * sum of D = 0.0625" in line


def test_the_help_says_that_the_bound_rests_on_an_assumption(run):
    status, out, _ = run("certify", "--help")
    words = " ".join(out.split())
    assert (status, "rests on an assumption" in words) == (0, True)
    assert "must say" not in words
