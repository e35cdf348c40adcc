"""Certificates of tiny pairs: against plain loops and real generation, and where the result is known beforehand."""

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from transformers import AutoModelForCausalLM

from kslottery_core.certification import EXACT, KS_BOUND, OUTPUT, REFERENCE, certify
from kslottery_core.checkpoints import open_pair
from kslottery_core.corpora import CorpusSpec, load_corpus
from kslottery_core.ks import compute_pair_ks
from kslottery_core.tickets import compute_ticket_mask, create_list_ticket, select_top_k_ticket


def move_some(rows, seed=5, strength=0.02):
    """Half of the rows moved, each by its own amount, so that D takes many values from 0 to 1."""
    generator = torch.Generator().manual_seed(seed)
    amount = strength * torch.rand(64, 1, generator=generator) ** 2
    moved = rows + amount * torch.randn(rows.shape, generator=generator)
    return torch.where(torch.arange(64)[:, None] % 2 == 0, rows, moved)


def list_changed(before, after):
    return compute_pair_ks(open_pair(before, after), "cpu").changed.nonzero()[0].tolist()


def test_a_ticket_of_every_changed_row_is_exact_everywhere_without_any_difference(make_pair, make_task):
    before, after = make_pair(move_some)
    found = certify(make_task(before, after, list_changed(before, after)))
    for tally in (found.chosen.predictions, found.chosen.outputs):
        assert tally.total > 0
        assert tally.agreed == tally.total
        assert {(level.certified, level.violations) for level in tally.levels} == {(tally.total, 0)}
    assert found.chosen.largest_exact_difference == 0.0
    assert found.chosen.left_behind == 0


def test_tickets_of_large_and_no_rows_are_exact_or_not_as_their_inputs_say(make_pair, make_task):
    before, after = make_pair(lambda rows: torch.where(torch.arange(64)[:, None] == 40, rows + 1, rows))
    found = certify(make_task(before, after))
    total = found.chosen.predictions
    holding = sum(
        40 in sequence.token_ids[:position]
        for sequence in (sentence.reference_sequence for sentence in found.sentences)
        for position in range(sequence.start, len(sequence.token_ids))
    )
    assert 0 < holding < total.total
    assert total.get_level(EXACT).certified == total.total - holding
    assert found.chosen.largest_exact_difference == 0.0


def count_plainly(before, after, token_ids, tokenizer, task):
    """The definitions, one prefix at a time, with two models that plain transformers loads."""
    reference, partial = (AutoModelForCausalLM.from_pretrained(path).eval() for path in (after, before))
    kept = list(token_ids)
    rows_before = partial.get_input_embeddings().weight.detach().clone().numpy()
    rows_after = reference.get_input_embeddings().weight.detach().numpy()
    with torch.no_grad():
        partial.get_input_embeddings().weight[kept] = reference.get_input_embeddings().weight[kept]
    counts = dict.fromkeys(("total", "agreed", "exact", "bound", "correct", "reference", "partial", "violations"), 0)
    for pair in load_corpus(task.corpus).pairs:
        prompt = tokenizer(f"{pair.source}:")["input_ids"]
        whole = [*tokenizer(f"{pair.source}: {pair.target}")["input_ids"], tokenizer.eos_token_id]
        assert whole[: len(prompt)] == prompt
        for at in range(len(prompt), len(whole)):
            with torch.no_grad():
                one, other = (model(torch.tensor([whole[:at]])).logits[0, -1] for model in (reference, partial))
            first, second = one.double().softmax(0).topk(2).values.tolist()
            left = {i for i in whole[:at] if i not in kept and (rows_before[i] != rows_after[i]).any()}
            bound = 2 * sum(ks_2samp(rows_before[i], rows_after[i], method="asymp").statistic for i in left)
            certified = not left or first - second > bound
            same, right = int(one.argmax()) == int(other.argmax()), int(one.argmax()) == whole[at]
            counts["total"] += 1
            counts["agreed"] += same
            counts["exact"] += not left
            counts["bound"] += certified
            counts["correct"] += certified and right
            counts["reference"] += right
            counts["partial"] += int(other.argmax()) == whole[at]
            counts["violations"] += certified and not same
    return counts


def list_counts(tally):
    exact, bound = tally.get_level(EXACT), tally.get_level(KS_BOUND)
    return {
        "total": tally.total,
        "agreed": tally.agreed,
        "exact": exact.certified,
        "bound": bound.certified,
        "correct": bound.correct,
        "reference": tally.reference_correct,
        "partial": tally.partial_correct,
        "violations": bound.violations,
    }


def test_counts_equal_a_plain_loop_with_two_models(make_pair, make_task, tiny_tokenizer):
    before, after = make_pair(move_some)
    result = compute_pair_ks(open_pair(before, after), "cpu")
    ids = select_top_k_ticket(result, 20).token_ids
    task = make_task(before, after, ids, significance_levels=(0.5, 0.999), batch_size=4)
    found = certify(task)
    for point, kept in (
        (found.chosen, ids),
        (found.grid[0], np.flatnonzero(compute_ticket_mask(result, 0.5)).tolist()),
        (found.grid[1], np.flatnonzero(compute_ticket_mask(result, 0.999)).tolist()),
    ):
        counted = count_plainly(before, after, kept, tiny_tokenizer, task)
        assert list_counts(point.predictions) == counted
        assert point.ticket_size == len(kept)
    seen = list_counts(found.chosen.predictions)
    assert 0 < seen["exact"] < seen["bound"] < seen["total"]  # the comparison above has something to tell apart
    assert seen["agreed"] < seen["total"] or list_counts(found.grid[0].predictions)["agreed"] < seen["total"]


def generate(model, tokenizer, text, limit):
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    mask = torch.ones_like(ids)
    out = model.generate(input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=limit, pad_token_id=2)
    return tuple(out[0, ids.shape[1] :].tolist())


def test_agreement_of_whole_outputs_is_that_of_real_generation(make_pair, make_task, tiny_tokenizer):
    before, after = make_pair(lambda rows: move_some(rows, strength=0.3))
    result = compute_pair_ks(open_pair(before, after), "cpu")
    ids = select_top_k_ticket(result, 20).token_ids
    task = make_task(before, after, ids, max_new_tokens=6, prompt="{source}")
    found = certify(task)
    reference, partial = (AutoModelForCausalLM.from_pretrained(path).eval() for path in (after, before))
    with torch.no_grad():
        partial.get_input_embeddings().weight[list(ids)] = reference.get_input_embeddings().weight[list(ids)]
    equal = []
    for pair, sentence in zip(load_corpus(task.corpus).pairs, found.sentences, strict=True):
        one, other = (generate(model, tiny_tokenizer, pair.source, 6) for model in (reference, partial))
        sequence = sentence.output_sequence
        assert sequence.token_ids[sequence.start :] == one == sequence.predicted
        assert sentence.ended == (one[-1] == 2)
        assert (sequence.partial_predicted == one) == (other == one)
        equal.append(other == one)
    assert found.chosen.outputs.agreed == sum(equal)
    assert 0 < sum(equal) < len(equal)


def make_flip(rows):
    """Row 7 with two coordinates exchanged and one nudged: D is 1/16, and what a head reads off it is turned around."""
    changed = rows.clone()
    changed[7, [0, 1]] = rows[7, [1, 0]]
    changed[7, 5] += 1e-3
    return changed


def read_last_token_only(model):
    """No attention, no MLP: the logits of the next token are read off the last token's row."""
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    rows, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    rows[7] = torch.linspace(-0.1, 0.1, 16)
    rows[7, 0], rows[7, 1] = 3.0, -3.0
    head.zero_()
    head[20, 0], head[21, 1] = 5.0, 5.0


def test_a_small_distance_that_flips_a_prediction_is_found_and_listed(make_pair, make_task, tiny_tokenizer, tmp_path):
    word = tiny_tokenizer.convert_ids_to_tokens(7)
    text = tmp_path / "one.tsv"
    text.write_text(f"en\tca\n{word}\t{word}{word}\n")
    before, after = make_pair(make_flip, read_last_token_only)
    found = certify(make_task(before, after, corpus=CorpusSpec(str(text)), prompt="{source}", max_new_tokens=1))
    level = found.chosen.predictions.get_level(KS_BOUND)
    assert level.violations > 0
    assert found.chosen.predictions.get_level(EXACT).violations == 0
    listed = [violation for violation in found.chosen.violations if violation.text == REFERENCE]
    assert len(listed) == level.violations
    one = listed[0]
    assert one.sentence == 0
    assert one.levels == (KS_BOUND,)
    assert [(token.token_id, token.count) for token in one.left_behind] == [(7, 1)]
    assert one.counts == 1
    assert one.first_probability - one.second_probability > 2 / 16
    assert one.first_probability == one.reference_top[0].probability
    assert (one.reference_top[0].token_id, one.partial_top[0].token_id) == (21, 20)
    assert found.sentences[0].reference_sequence.token_ids[one.position - 1] == 7
    outputs = found.chosen.outputs.get_level(KS_BOUND)
    assert (outputs.certified, outputs.violations, found.chosen.output_step_violations[KS_BOUND]) == (1, 1, 1)


def test_alphas_that_leave_the_same_tokens_behind_cost_no_further_pass(make_pair, make_task, monkeypatch):
    from kslottery_core.certification import forward_pass

    passes = []

    def count(model, batch):
        passes.append(batch)
        return predict(model, batch)

    predict = forward_pass.predict
    monkeypatch.setattr(forward_pass, "predict", count)
    before, after = make_pair(lambda rows: torch.where(torch.arange(64)[:, None] == 40, rows + 1, rows))
    one_alpha = certify(make_task(before, after, [40], significance_levels=(0.5,), batch_size=64))
    alone = len(passes)
    many = certify(make_task(before, after, [40], significance_levels=(0.1, 0.2, 0.5, 0.9), batch_size=64))
    assert alone == 2  # the reference, and the one partial model that row 40 makes
    assert len(passes) == 2 * alone
    assert one_alpha.distinct_tickets == many.distinct_tickets == 1
    assert {point.predictions for point in many.grid} == {many.chosen.predictions}


def test_counts_do_not_depend_on_the_batch(make_pair, make_task, monkeypatch):
    from kslottery_core.certification import forward_pass

    before, after = make_pair(move_some)
    together = certify(make_task(before, after, [1, 3], significance_levels=(0.5,)))
    alone = certify(make_task(before, after, [1, 3], significance_levels=(0.5,), batch_size=1))
    monkeypatch.setattr(forward_pass, "LOGIT_BYTES", 1)  # no room for two sequences
    cramped = certify(make_task(before, after, [1, 3], significance_levels=(0.5,)))
    for other in (alone, cramped):
        assert [p.predictions for p in (other.chosen, *other.grid)] == [
            p.predictions for p in (together.chosen, *together.grid)
        ]
        assert other.chosen.outputs == together.chosen.outputs


def test_the_model_is_left_with_the_rows_it_had(make_pair, make_task, monkeypatch):
    from kslottery_core.certification import certify as module_function
    from kslottery_core.certification import models

    kept = []
    load = models.load_models

    def remember(*arguments):
        kept.append(load(*arguments))
        return kept[-1]

    import sys

    monkeypatch.setattr(sys.modules[module_function.__module__], "load_models", remember)
    before, after = make_pair(move_some)
    certify(make_task(before, after))
    plain = AutoModelForCausalLM.from_pretrained(after).get_input_embeddings().weight
    assert torch.equal(kept[0].model.get_input_embeddings().weight, plain)


def test_distributions_hold_every_prediction(make_pair, make_task, tiny_tokenizer):
    before, after = make_pair(move_some)
    kept = sorted({i for i in tiny_tokenizer("the cat sees a garden")["input_ids"] if i % 2})[:2]  # rows that moved
    found = certify(make_task(before, after, kept))
    for text in (REFERENCE, OUTPUT):
        margins, bounds = found.collect_margins(text)
        assert margins.shape == bounds.shape
        assert ((margins >= 0) & (margins <= 1)).all()
    margins, bounds = found.collect_margins(REFERENCE)
    assert len(margins) == found.chosen.predictions.total
    certified = found.chosen.predictions.get_level(KS_BOUND).certified
    assert int(((margins > bounds) | (bounds == 0)).sum()) == certified
    roles = {token.token_id: token.role for token in found.tokens}
    assert set(roles.values()) == {"ticket", "left_behind", "unchanged"}
    assert all(set(s.get_sequence(t).token_ids) <= set(roles) for s in found.sentences for t in (REFERENCE, OUTPUT))


def test_logits_that_are_no_numbers_are_certified_at_no_level(make_pair, make_task):
    def spoil(model):
        model.get_output_embeddings().weight[9] = float("nan")

    before, after = make_pair(move_some, spoil)
    found = certify(make_task(before, after, list_changed(before, after)))
    tally = found.chosen.predictions
    assert tally.undefined == tally.total > 0
    assert tally.agreed == 0
    assert {(level.certified, level.violations) for level in tally.levels} == {(0, 0)}
    assert any("not numbers" in note for note in found.notes)
    assert found.chosen.largest_exact_difference is None


@pytest.mark.parametrize("phase", ["generate", "certify"])
def test_a_certification_that_is_stopped_gives_nothing(make_pair, make_task, phase):
    before, after = make_pair(move_some)
    seen = []
    found = certify(
        make_task(before, after, batch_size=1),
        on_progress=seen.append,
        should_stop=lambda: any(event.phase == phase for event in seen),
    )
    assert found is None
    assert seen[-1].phase == phase
    assert seen[-1].step < seen[-1].total


def test_a_stop_is_heard_inside_a_batch_of_outputs(make_pair, make_task):
    before, after = make_pair(move_some)
    asked, seen = [], []

    def stop_at_the_third_token():
        asked.append(True)
        return len(asked) > 3

    task = make_task(before, after, batch_size=64)
    assert certify(task, on_progress=seen.append, should_stop=stop_at_the_third_token) is None
    assert len(asked) < 3 + task.max_new_tokens
    assert not [event for event in seen if event.phase == "generate" and event.step], "the batch went on to its end"


def test_a_list_without_any_token_leaves_every_changed_row_behind(make_pair, make_task):
    before, after = make_pair(move_some)
    found = certify(make_task(before, after))
    assert found.task.ticket == create_list_ticket((), 64)
    assert found.chosen.ticket_size == 0
    assert "ticket" not in {token.role for token in found.tokens}
