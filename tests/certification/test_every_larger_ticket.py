"""The level of every larger ticket in a certificate: against every such model, built one by one, and in its file."""

import dataclasses
import itertools
import json
import sys

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from kslottery_core.certification import (
    EVERY_LARGER_TICKET,
    EXACT,
    KS_BOUND,
    LEVELS,
    OUTPUT,
    REFERENCE,
    Certification,
    Evidence,
    certify,
    decide_levels,
    find_certificate_path,
    list_levels,
    load_certification,
    save_certification,
    verify_certification,
)
from kslottery_core.checkpoints import open_pair
from kslottery_core.errors import CertificationError
from kslottery_core.ks import compute_pair_ks
from kslottery_core.tickets import compute_ticket_mask

LIMIT = 3
ALPHAS = (0.3, 0.9, 0.99)
KEPT_ROWS = tuple(i for i in range(64) if i % 4 != 1)  # no KS ticket: it holds unchanged rows too


def move_some(rows):
    """Two rows of three moved, each by its own amount."""
    generator = torch.Generator().manual_seed(5)
    amount = 0.3 * torch.rand(64, 1, generator=generator) ** 2
    moved = rows + amount * torch.randn(rows.shape, generator=generator)
    return torch.where(torch.arange(64)[:, None] % 3 == 0, rows, moved)


@pytest.fixture
def pair(make_pair):
    return make_pair(move_some)


@pytest.fixture
def task(pair, make_task):
    return make_task(*pair, KEPT_ROWS, significance_levels=ALPHAS, larger_ticket_limit=LIMIT)


class PlainModels:
    """The embedding-tuned model and those with other rows of BEFORE, as plain transformers loads them."""

    def __init__(self, before, after):
        self.model = AutoModelForCausalLM.from_pretrained(after).eval()
        self.after = self.model.get_input_embeddings().weight.detach().clone()
        self.before = AutoModelForCausalLM.from_pretrained(before).get_input_embeddings().weight.detach().clone()
        self.changed = {i for i in range(len(self.after)) if (self.after[i] != self.before[i]).any()}

    def predict(self, ids, laid=()):
        weight = self.model.get_input_embeddings().weight
        with torch.no_grad():
            weight.copy_(self.after)
            weight[list(laid)] = self.before[list(laid)]
            return int(self.model(torch.tensor([ids])).logits[0, -1].argmax())

    def judge(self, ids, kept):
        """ "exact", "kept", "lost" or "not tried": what becomes of the prediction after `ids`."""
        left = sorted(set(ids) & self.changed - set(kept))
        if not left:
            return "exact"
        if len(left) > LIMIT:
            return "not tried"
        top = self.predict(ids)
        subsets = itertools.chain.from_iterable(itertools.combinations(left, n) for n in range(1, len(left) + 1))
        return "kept" if all(self.predict(ids, subset) == top for subset in subsets) else "lost"


def list_verdicts(models, sequences, kept):
    return [
        [models.judge(one.token_ids[:position], kept) for position in range(one.start, len(one.token_ids))]
        for one in sequences
    ]


def test_counts_are_those_of_every_model_built_one_by_one(pair, task):
    found = certify(task)
    models = PlainModels(*pair)
    result = compute_pair_ks(open_pair(*pair), "cpu")
    tickets = [KEPT_ROWS, *(np.flatnonzero(compute_ticket_mask(result, alpha)).tolist() for alpha in ALPHAS)]
    seen = set()
    for point, kept in zip((found.chosen, *found.grid), tickets, strict=True):
        texts = {
            text: list_verdicts(models, [one.get_sequence(text) for one in found.sentences], kept)
            for text in (REFERENCE, OUTPUT)
        }
        counts = {text: [v for one in verdicts for v in one] for text, verdicts in texts.items()}
        seen |= set(counts[REFERENCE])
        level = point.predictions.get_level(EVERY_LARGER_TICKET)
        assert level.certified == counts[REFERENCE].count("exact") + counts[REFERENCE].count("kept")
        assert point.predictions.get_level(EXACT).certified == counts[REFERENCE].count("exact")
        whole = sum(set(verdicts) <= {"exact", "kept"} for verdicts in texts[OUTPUT])
        assert point.outputs.get_level(EVERY_LARGER_TICKET).certified == whole
        larger = point.larger_tickets
        assert (larger.not_tried, larger.lost) == tuple(counts[REFERENCE].count(v) for v in ("not tried", "lost"))
        assert (larger.output_steps_not_tried, larger.output_steps_lost) == tuple(
            counts[OUTPUT].count(v) for v in ("not tried", "lost")
        )
        assert level.certified + larger.lost + larger.not_tried == point.predictions.total
        assert level.violations == point.outputs.get_level(EVERY_LARGER_TICKET).violations == 0
    assert seen == {"exact", "kept", "lost", "not tried"}  # the comparison has all of them to tell apart


def test_the_sentences_show_the_positions_and_the_lost_are_listed_with_rows_that_break_them(pair, task):
    found = certify(task)
    models = PlainModels(*pair)
    for sentence in found.sentences:
        one = sentence.reference_sequence
        verdicts = [models.judge(one.token_ids[:at], KEPT_ROWS) for at in range(one.start, len(one.token_ids))]
        shown = [one.start + at for at, verdict in enumerate(verdicts) if verdict in ("exact", "kept")]
        assert list(one.levels[EVERY_LARGER_TICKET]) == shown
    larger = found.chosen.larger_tickets
    assert len(larger.listed) == larger.lost + larger.output_steps_lost > 0
    for lost in larger.listed:
        sequence = found.sentences[lost.sentence].get_sequence(lost.text)
        ids = sequence.token_ids[: lost.position]
        rows = [token.token_id for token in lost.kept_before]
        assert set(rows) <= (set(ids) & models.changed) - set(KEPT_ROWS)
        assert models.predict(ids) == lost.token_id == sequence.predicted[lost.position - sequence.start]
        assert models.predict(ids, rows) != lost.token_id
        assert lost.least_margin < 0 < lost.margin


def count_passes(found):
    (note,) = [note for note in found.notes if note.startswith("Every larger ticket took")]
    return int(note.split()[4].replace(",", ""))


def test_larger_alphas_take_over_what_smaller_ones_certify_and_give_the_same(task):
    together = certify(task)
    apart = [certify(dataclasses.replace(task, significance_levels=(alpha,))) for alpha in ALPHAS]
    alone = certify(dataclasses.replace(task, significance_levels=()))
    assert [one.grid[0] for one in apart] == list(together.grid)
    assert alone.chosen == together.chosen
    own = count_passes(alone)
    assert 0 < count_passes(together) < own + sum(count_passes(one) - own for one in apart)
    counts = [point.predictions.get_level(EVERY_LARGER_TICKET).certified for point in together.grid]
    assert counts == sorted(counts)


def test_counts_do_not_depend_on_the_batch(task):
    together, alone = certify(task), certify(dataclasses.replace(task, batch_size=1))
    for one, other in zip((together.chosen, *together.grid), (alone.chosen, *alone.grid), strict=True):
        assert (one.predictions, one.outputs) == (other.predictions, other.outputs)
        assert one.larger_tickets.lost == other.larger_tickets.lost


def drop_level(tally):
    return dataclasses.replace(tally, levels=tuple(one for one in tally.levels if one.level != EVERY_LARGER_TICKET))


def test_everything_else_is_the_same_with_and_without_the_level(task):
    found, plain = certify(task), certify(dataclasses.replace(task, larger_ticket_limit=0))
    assert plain.levels == LEVELS
    assert [level.name for level in found.levels] == [EXACT, EVERY_LARGER_TICKET, KS_BOUND]
    assert found.levels[1].assumption is None
    for one, other in zip((found.chosen, *found.grid), (plain.chosen, *plain.grid), strict=True):
        assert drop_level(one.predictions) == other.predictions
        assert drop_level(one.outputs) == other.outputs
        assert one.violations == other.violations
        assert one.output_step_violations == other.output_step_violations | {EVERY_LARGER_TICKET: 0}
        assert other.larger_tickets is None


def test_without_the_level_a_file_has_no_trace_of_it_and_older_files_are_read(task, tmp_path):
    plain_task = dataclasses.replace(task, larger_ticket_limit=0)
    plain = certify(plain_task)
    save_certification(plain, tmp_path / "plain.json")
    assert "larger" not in (tmp_path / "plain.json").read_text()
    assert load_certification(tmp_path / "plain.json") == plain
    assert verify_certification(plain).holds
    assert find_certificate_path(plain_task, tmp_path) != find_certificate_path(task, tmp_path)


def test_a_certificate_with_the_level_comes_back_holds_and_is_contradicted(task, tmp_path):
    found = certify(task)
    save_certification(found, tmp_path / "one.json")
    assert load_certification(tmp_path / "one.json") == found
    assert json.loads((tmp_path / "one.json").read_text())["task"]["larger_ticket_limit"] == LIMIT
    assert verify_certification(found).holds
    larger = dataclasses.replace(found.chosen.larger_tickets, lost=found.chosen.larger_tickets.lost - 1)
    forged = dataclasses.replace(found, chosen=dataclasses.replace(found.chosen, larger_tickets=larger))
    verification = verify_certification(forged)
    assert not verification.holds
    assert "with the ticket: larger tickets" in verification.difference
    grid_point = found.grid[1]
    level = dataclasses.replace(grid_point.outputs.levels[1], certified=grid_point.outputs.levels[1].certified + 1)
    tally = dataclasses.replace(
        grid_point.outputs, levels=(grid_point.outputs.levels[0], level, grid_point.outputs.levels[2])
    )
    grid = (found.grid[0], dataclasses.replace(grid_point, outputs=tally), found.grid[2])
    difference = verify_certification(dataclasses.replace(found, grid=grid)).difference
    assert "at alpha 0.9, outputs: certified (every larger ticket)" in difference
    content = found.to_json()
    content["levels"] = [content["levels"][0], content["levels"][2]]
    with pytest.raises(CertificationError, match="expected the levels exact, every_larger_ticket, ks_bound, found"):
        verify_certification(Certification.from_json(content))


@pytest.mark.parametrize("limit", [-1, 17, 2.5])
def test_a_limit_that_cannot_be_run_is_one_sentence(task, limit):
    with pytest.raises(CertificationError, match=rf"from 0 \(off\) to 16, .* found {limit}\."):
        dataclasses.replace(task, larger_ticket_limit=limit)


def test_it_can_be_stopped_between_two_larger_tickets(task, monkeypatch):
    from kslottery_core.certification import larger_tickets

    swept = []
    sweep = larger_tickets._sweep

    def remember(*arguments):
        swept.append(arguments)
        return sweep(*arguments)

    monkeypatch.setattr(larger_tickets, "_sweep", remember)
    assert certify(task, should_stop=lambda: len(swept) > 0) is None
    assert len(swept) == 1


def test_progress_ends_at_its_total_with_the_level(task):
    events = []
    certify(task, on_progress=events.append)
    steps = [(event.step, event.total) for event in events if event.phase == "certify"]
    assert steps[-1][0] == steps[-1][1]
    assert steps == sorted(steps)


def test_the_level_and_the_ks_bound_take_over_exact_and_not_each_other():
    evidence = Evidence(
        margins=np.array([0.0, 0.9, 0.1, 0.9, np.nan]),
        left_behind=np.array([0, 2, 2, 9, 1]),
        counts=np.array([0, 3, 3, 3, 1]),
        width=10,
        kept=np.array([False, False, True, False, True]),
    )
    decided = {name: certified.tolist() for name, certified in decide_levels(evidence).items()}
    assert decided == {
        EXACT: [True, False, False, False, False],
        EVERY_LARGER_TICKET: [True, False, True, False, False],
        KS_BOUND: [True, True, False, True, False],
    }
    assert list(decided) == [level.name for level in list_levels(6)]
    assert list_levels(0) == LEVELS


def test_logits_that_are_no_numbers_are_neither_lost_nor_not_tried(make_pair, make_task):
    def spoil(model):
        model.get_output_embeddings().weight[9] = float("nan")

    found = certify(make_task(*make_pair(move_some, spoil), KEPT_ROWS, larger_ticket_limit=LIMIT))
    larger = found.chosen.larger_tickets
    assert found.chosen.predictions.undefined == found.chosen.predictions.total > 0
    assert found.chosen.predictions.get_level(EVERY_LARGER_TICKET).certified == 0
    assert (larger.not_tried, larger.lost, larger.output_steps_not_tried, larger.output_steps_lost) == (0, 0, 0, 0)
    assert count_passes(found) == 0


@pytest.mark.parametrize("limit", [1, LIMIT])
def test_no_larger_ticket_speaks_of_a_step_that_the_model_would_not_write_again(task, monkeypatch, limit):
    task = dataclasses.replace(task, larger_ticket_limit=limit)
    module = sys.modules[certify.__module__]
    generate = module.generate_reference_outputs

    def write_otherwise(*arguments):
        return [
            dataclasses.replace(one, token_ids=(*one.token_ids[:-1], (one.token_ids[-1] + 1) % 64))
            for one in generate(*arguments)
        ]

    plain = certify(task)
    monkeypatch.setattr(module, "generate_reference_outputs", write_otherwise)
    found = certify(task)
    sequences = [sentence.output_sequence for sentence in found.sentences]
    assert any(one.left_behind[-1] > 0 for one in sequences)
    for one, other in zip(sequences, (sentence.output_sequence for sentence in plain.sentences), strict=True):
        last = len(one.token_ids) - 1
        assert (last in one.levels[EVERY_LARGER_TICKET]) == (one.left_behind[-1] == 0)
        assert set(one.levels[EVERY_LARGER_TICKET]) - {last} == set(other.levels[EVERY_LARGER_TICKET]) - {last}
    larger = found.chosen.larger_tickets
    certified = sum(len(one.levels[EVERY_LARGER_TICKET]) for one in sequences)
    unspoken = sum(one.left_behind[-1] > 0 for one in sequences)
    steps = sum(len(one.predicted) for one in sequences)
    assert certified + larger.output_steps_lost + larger.output_steps_not_tried + unspoken == steps
