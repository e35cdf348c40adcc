import json
import os
from dataclasses import replace

import pytest

from dashboard import loaders
from dashboard.loaders import AlphaChoice, PairChoice
from dashboard.report.context import ReportContext
from dashboard.state.choice import Choice
from dashboard.views.certificates.report_block import build_certificate_block
from dashboard.wording import format_formula
from kslottery_core.certification import CertificationTask, certify, save_certification
from kslottery_core.corpora import CorpusSpec
from kslottery_core.demo import DEMO_PATH
from kslottery_core.tickets import load_ticket

MOMENT = 1_780_000_000.0
DEMO_PAIR = PairChoice(str(DEMO_PATH / "before"), str(DEMO_PATH / "after"))


@pytest.fixture(scope="module")
def certification():
    """One sentence of the demo, certified for the ticket at alpha .05."""
    return certify(
        CertificationTask(
            before=DEMO_PAIR.before,
            after=DEMO_PAIR.after,
            ticket=load_ticket(DEMO_PATH / "ticket.json"),
            corpus=CorpusSpec(str(DEMO_PATH / "text" / "test.jsonl"), "en", "ca", limit=1),
            max_new_tokens=1,
        )
    )


@pytest.fixture
def keep(home):
    """Keep a certificate under a name; a later one is newer."""
    kept = []

    def keep(certification, name):
        path = home / "certificates" / name
        save_certification(certification, path)
        kept.append(path)
        os.utime(path, (MOMENT + len(kept), MOMENT + len(kept)))
        return path

    return keep


def build(pair=DEMO_PAIR, alpha=None):
    choice = Choice(pair, alpha or AlphaChoice())
    comparison = loaders.load_comparison(pair)
    selection = loaders.load_selection(comparison, choice.alpha)
    return build_certificate_block(ReportContext(choice, comparison, selection, MOMENT, lambda wanted: False))


def test_a_certificate_is_shown_with_what_it_assumes(certification, keep):
    keep(certification, "one.json")
    block = build()
    total = certification.chosen.predictions.total
    assert f"Of {total:,} next-token predictions it agrees with the embedding-tuned model on" in block.paragraphs[0]
    words = " ".join(block.paragraphs)
    for level in certification.levels:
        assert format_formula(level.definition) in words
    assert "for a transformer it is an assumption" in words
    assert block.pictures[0].caption.endswith("For a transformer the KS bound is an assumption, not a proof.")
    assert "4 tokens at α = 0.05" in block.signature
    assert certification.before.embedding[:12] in block.signature
    assert certification.corpus_fingerprint[:12] in block.signature
    assert "another ticket" not in words


def test_the_certificate_of_another_pair_is_not_shown(certification, keep):
    keep(certification, "one.json")
    block = build(PairChoice(DEMO_PAIR.after, DEMO_PAIR.before))
    assert block.problem == (
        "There is no certificate of this pair (1 certificate of other pairs); make one on the Certificates page."
    )
    assert not block.pictures


def test_a_certificate_whose_file_was_rewritten_is_still_known_by_its_fingerprints(certification, keep):
    path = keep(certification, "one.json")
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert build().problem is None
    assert "(1 certificate of other pairs)" in build(PairChoice(DEMO_PAIR.after, DEMO_PAIR.before)).problem


def test_a_pair_that_cannot_be_opened_has_no_certificate(certification, keep):
    keep(certification, "one.json")
    choice = Choice(PairChoice("/gone/before", "/gone/after"))
    block = build_certificate_block(ReportContext(choice, None, None, MOMENT, lambda wanted: False))
    assert block.problem == "No pair is open; choose one on the Pair page."


def test_a_certificate_is_found_among_many_of_other_pairs(certification, keep):
    keep(certification, "ours.json")
    before = replace(certification.before, embedding="other")
    for number in range(25):
        keep(replace(certification, before=before), f"other-{number}.json")
    assert "4 tokens at α = 0.05" in build().signature
    assert "(25 certificates" not in (build().problem or "")


def test_a_certificate_of_another_ticket_says_so(certification, keep):
    keep(certification, "one.json")
    words = " ".join(build(alpha=AlphaChoice(0.5)).paragraphs)
    assert (
        "is for another ticket than the one in the rest of this report, which is chosen by “α = 0.5” and has" in words
    )


def test_of_several_certificates_that_of_the_present_ticket_is_shown(certification, keep):
    keep(certification, "ours.json")
    fewer = replace(certification.task.ticket, token_ids=certification.task.ticket.token_ids[:2], tokens=())
    keep(replace(certification, task=replace(certification.task, ticket=fewer)), "newer.json")
    assert "4 tokens at α = 0.05" in build().signature
    assert "2 tokens at α = 0.05" in build(alpha=AlphaChoice(0.5)).signature, "the newest where none is of the ticket"


def test_crosses_are_spoken_of_only_where_there_are_some(certification, keep):
    keep(certification, "one.json")
    assert not any(point.predictions.get_level("ks_bound").violations for point in certification.grid)
    assert "Crosses" not in build().pictures[0].caption
    tally = certification.grid[0].predictions
    found = replace(tally.levels[-1], certified=1, violations=1)
    point = replace(certification.grid[0], predictions=replace(tally, levels=(*tally.levels[:-1], found)))
    keep(replace(certification, grid=(point, *certification.grid[1:])), "one.json")
    picture = build().pictures[0]
    assert "Crosses mark certified next-token predictions for which the partial model differs." in picture.caption
    assert [trace.name for trace in picture.figure.data].count("Violations") == 1


def test_the_table_fits_a_sheet_and_counts_one_kind(certification, keep):
    keep(certification, "one.json")
    (table,) = build().tables
    assert len(table.dataframe.columns) <= 12
    assert (table.dataframe["Certified and correct, KS bound"] <= table.dataframe["Certified, KS bound"]).all()
    row = table.dataframe[table.dataframe["α"] == 0.05].iloc[0]
    assert row["All"] == certification.chosen.predictions.total
    assert row["Agreeing"] == certification.chosen.predictions.agreed
    assert row["Tokens in the ticket"] == 4


def test_a_damaged_certificate_is_named(certification, keep):
    path = keep(certification, "one.json")
    path.write_text(json.dumps({"version": 1}))
    assert "one.json" in build().problem
