"""Predictions that no larger ticket can change, against models whose rows are really exchanged, one by one."""

import itertools

import numpy as np
import pytest
import torch

from kslottery_core.certification.forward_pass import ROUNDING_STEPS
from kslottery_core.certification.larger_tickets import certify_larger_tickets
from kslottery_core.errors import CertificationError

LENGTH = 9


def make_case(make_tiny_llama, seed, scale, changed=5, dtype=torch.float64):
    """A random reference, other rows for a few tokens, and two inputs that hold them. Small scales certify much, large
    ones (1,000 times the rows) next to nothing."""
    model = make_tiny_llama(seed=seed, initializer_range=0.4).to(dtype)
    generator = torch.Generator().manual_seed(1000 + seed)
    rows = model.get_input_embeddings().weight.detach()
    before = rows.clone()
    tokens = torch.randperm(len(rows), generator=generator)[:changed]
    before[tokens] += scale * torch.randn(changed, rows.shape[1], generator=generator, dtype=dtype)
    input_ids = torch.randint(len(rows), (2, LENGTH), generator=generator)
    for sequence in input_ids:
        sequence[torch.randperm(LENGTH, generator=generator)[:changed]] = tokens
    return model, before, tokens.tolist(), input_ids


def run_partial(model, before, laid_tokens, input_ids):
    """Logits of a model whose matrix holds BEFORE's rows at `laid_tokens`: what the partial model is."""
    weight = model.get_input_embeddings().weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight[list(laid_tokens)] = before[list(laid_tokens)]
        logits = model(input_ids=input_ids).logits
        weight.copy_(kept)
    return logits


def compute_margins(logits, top):
    others = logits.clone()
    others.scatter_(-1, top[..., None], -torch.inf)
    return (logits.gather(-1, top[..., None])[..., 0] - others.amax(-1)).numpy()


def list_subsets(tokens):
    return [chosen for size in range(len(tokens) + 1) for chosen in itertools.combinations(tokens, size)]


def find_broken(check, model, before, tokens, input_ids, slack=1e-9):
    """Predictions whose margin under some larger ticket lies below the one that the check calls the least."""
    top = run_partial(model, before, [], input_ids).argmax(-1)
    broken = np.zeros(input_ids.shape, dtype=bool)
    for laid in list_subsets(tokens):
        margins = compute_margins(run_partial(model, before, laid, input_ids), top)
        broken |= margins < check.least_margins - slack
    return broken


@pytest.mark.parametrize("scale", [0.01, 0.3, 3.0, 1000.0])
@pytest.mark.parametrize("seed", range(5))
def test_no_larger_ticket_goes_below_the_least_margin_and_one_takes_it(make_tiny_llama, seed, scale):
    model, before, tokens, input_ids = make_case(make_tiny_llama, seed, scale)
    check = certify_larger_tickets(model, before, [], input_ids)
    top = run_partial(model, before, [], input_ids).argmax(-1)
    margins = np.stack(
        [compute_margins(run_partial(model, before, laid, input_ids), top) for laid in list_subsets(tokens)]
    )
    np.testing.assert_allclose(check.least_margins, margins.min(axis=0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(check.reference_margins, margins[0], rtol=1e-9, atol=1e-9)
    assert (check.certified == (margins.min(axis=0) > 1e-6)).all()
    assert not find_broken(check, model, before, tokens, input_ids).any()


def test_a_shrunk_change_is_caught(make_tiny_llama):
    model, before, tokens, input_ids = make_case(make_tiny_llama, 1, 0.3)
    check = certify_larger_tickets(model, before, [], input_ids)
    falls = check.reference_margins - check.least_margins
    assert (falls[check.left_behind > 0] > 1e-3).any()
    check.least_margins[:] = check.reference_margins - 0.9 * falls
    broken = find_broken(check, model, before, tokens, input_ids)
    assert broken[falls > 1e-6].all()


def test_small_changes_are_certified_beyond_the_exact_level_and_huge_ones_are_not(make_tiny_llama):
    beyond = {}
    for scale in (0.001, 1000.0):
        shares = []
        for seed in range(5):
            model, before, _, input_ids = make_case(make_tiny_llama, seed, scale)
            check = certify_larger_tickets(model, before, [], input_ids)
            shares.append(check.certified[check.left_behind > 0].mean())
        beyond[scale] = np.mean(shares)
    assert beyond[0.001] > 0.9
    assert beyond[1000.0] < 0.2


def test_the_worst_tokens_give_the_least_margin(make_tiny_llama):
    model, before, _, input_ids = make_case(make_tiny_llama, 2, 3.0)
    check = certify_larger_tickets(model, before, [], input_ids)
    top = run_partial(model, before, [], input_ids).argmax(-1)
    for sequence, position in np.ndindex(*input_ids.shape):
        worst = check.list_worst_tokens(sequence, position)
        assert set(worst) <= set(input_ids[sequence, : position + 1].tolist())
        margins = compute_margins(run_partial(model, before, worst, input_ids), top)
        assert margins[sequence, position] == pytest.approx(check.least_margins[sequence, position], abs=1e-9)


def test_what_is_certified_stays_so_for_every_larger_ticket(make_tiny_llama):
    model, before, tokens, input_ids = make_case(make_tiny_llama, 3, 0.6)
    smaller = certify_larger_tickets(model, before, tokens[:1], input_ids)
    assert smaller.certified.any() and not smaller.certified.all()
    for size in range(2, len(tokens) + 1):
        larger = certify_larger_tickets(model, before, tokens[:size], input_ids)
        assert (larger.certified >= smaller.certified).all()
        assert (larger.least_margins >= smaller.least_margins - 1e-9).all()
        smaller = larger
    assert smaller.certified.all()
    assert smaller.passes == len(input_ids)


def test_the_ticket_s_own_rows_and_unchanged_rows_are_not_left_behind(make_tiny_llama):
    model, before, tokens, input_ids = make_case(make_tiny_llama, 0, 0.3)
    check = certify_larger_tickets(model, before, tokens[:2], input_ids)
    for sequence, ids in enumerate(input_ids.tolist()):
        expected = [len(set(ids[: end + 1]) & set(tokens[2:])) for end in range(LENGTH)]
        assert check.left_behind[sequence].tolist() == expected
        assert sorted(check.tokens[sequence]) == sorted(tokens[2:])


def test_predictions_with_more_left_behind_tokens_than_the_limit_are_not_certified(make_tiny_llama):
    model, before, _, input_ids = make_case(make_tiny_llama, 0, 1e-6)
    whole = certify_larger_tickets(model, before, [], input_ids)
    for limit in (0, 2):
        check = certify_larger_tickets(model, before, [], input_ids, limit=limit)
        beyond = check.left_behind > limit
        assert beyond.any()
        assert not check.certified[beyond].any()
        assert np.isnan(check.least_margins[beyond]).all()
        assert check.list_worst_tokens(*np.argwhere(beyond)[0]) is None
        np.testing.assert_array_equal(check.certified[~beyond], whole.certified[~beyond])
        assert check.passes <= len(input_ids) * 2**limit


def test_padding_and_unwanted_predictions_change_nothing(make_tiny_llama):
    model, before, _, input_ids = make_case(make_tiny_llama, 4, 0.3)
    whole = certify_larger_tickets(model, before, [], input_ids)
    mask = torch.ones_like(input_ids)
    mask[0, 6:] = 0
    padded = certify_larger_tickets(model, before, [], input_ids, mask)
    np.testing.assert_allclose(padded.least_margins[0, :6], whole.least_margins[0, :6], atol=1e-9)
    assert np.isnan(padded.least_margins[0, 6:]).all() and not padded.certified[0, 6:].any()
    np.testing.assert_allclose(padded.least_margins[1], whole.least_margins[1], atol=1e-9)
    wanted = np.zeros(input_ids.shape, dtype=bool)
    wanted[1, 3] = True
    some = certify_larger_tickets(model, before, [], input_ids, wanted=wanted)
    assert some.certified[1, 3] == whole.certified[1, 3]
    assert np.isnan(some.least_margins[0]).all() and some.passes <= whole.passes


def test_combinations_in_several_batches_give_the_same(make_tiny_llama, monkeypatch):
    model, before, _, input_ids = make_case(make_tiny_llama, 2, 3.0)
    whole = certify_larger_tickets(model, before, [], input_ids)
    monkeypatch.setattr("kslottery_core.certification.larger_tickets.LOGIT_BYTES", 3 * LENGTH * 64 * 8)
    cut = certify_larger_tickets(model, before, [], input_ids)
    np.testing.assert_allclose(cut.least_margins, whole.least_margins, atol=1e-9)
    np.testing.assert_array_equal(cut.certified, whole.certified)
    assert certify_larger_tickets(model, before, [], input_ids, should_stop=lambda: True) is None


def test_a_margin_within_rounding_is_not_certified(make_tiny_llama):
    model, before, _, input_ids = make_case(make_tiny_llama, 0, 1e-3, dtype=torch.float32)
    with torch.no_grad():
        head = model.get_output_embeddings().weight
        head[1::2] = head[::2]  # every class has a twin a hair away: the reference's margin is all rounding
        head[1::2, 0] += 1e-6
    check = certify_larger_tickets(model, before, [], input_ids)
    beyond = check.left_behind > 0
    largest = model(input_ids=input_ids).logits.detach().abs().amax(-1).numpy()
    assert (check.reference_margins < ROUNDING_STEPS * 2.0**-23 * largest).all()
    assert not check.certified[beyond].any()
    assert check.certified[~beyond].all()


def test_numbers_that_are_none_certify_nothing(make_tiny_llama):
    model, before, tokens, input_ids = make_case(make_tiny_llama, 0, 1e-6)
    before[tokens[0]] = torch.nan
    check = certify_larger_tickets(model, before, [], input_ids)
    for sequence, ids in enumerate(input_ids.tolist()):
        from_there = np.arange(LENGTH) >= ids.index(tokens[0])
        assert not check.certified[sequence, from_there].any()
        assert check.certified[sequence, ~from_there].any() or not (~from_there).any()


def test_a_gpt2_is_checked_like_a_llama_and_the_model_is_left_as_it_was():
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=40, n_positions=16, n_embd=16, n_layer=2, n_head=2, tie_word_embeddings=False)
    model = GPT2LMHeadModel(config).eval().double()
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    before = model.get_input_embeddings().weight.detach().clone()
    before[:4] += torch.randn(4, 16, dtype=torch.float64)
    input_ids = torch.tensor([[7, 0, 8, 1, 9, 0, 2]])
    check = certify_larger_tickets(model, before, [], input_ids)
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
    assert not find_broken(check, model, before, [0, 1, 2], input_ids).any()
    assert check.left_behind.tolist() == [[0, 1, 1, 2, 2, 2, 3]]
    assert check.passes == 8


def test_a_model_that_looks_ahead_is_refused(make_tiny_llama):
    model, before, _, input_ids = make_case(make_tiny_llama, 0, 0.3)
    for layer in model.model.layers:
        layer.self_attn.is_causal = False
    model.config.is_causal = False
    with torch.no_grad():
        ahead = model(input_ids=input_ids).logits[:, :3]
        cut = model(input_ids=input_ids[:, :3]).logits
    if torch.allclose(ahead, cut):  # this transformers keeps the mask whatever the config says
        model.model.register_forward_hook(_look_ahead)
    with pytest.raises(CertificationError, match="expected a causal language model"):
        certify_larger_tickets(model, before, [], input_ids)


def _look_ahead(module, inputs, output):
    output.last_hidden_state = output.last_hidden_state + output.last_hidden_state.mean(dim=1, keepdim=True)
    return output


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"before_rows": torch.zeros(63, 16)}, r"before: expected rows of shape \(64, 16\)"),
        ({"ticket_ids": [64]}, "ticket: expected token ids from 0 to 63, found 64"),
        ({"input_ids": torch.tensor([[1, 64]])}, "input_ids: expected ids from 0 to 63, found 1 to 64"),
        ({"input_ids": torch.zeros(1, 0, dtype=torch.int64)}, r"expected at least one token, \(B, T\), found \(1, 0\)"),
        ({"attention_mask": torch.tensor([[0, 1, 1]])}, "padding on the right"),
        ({"attention_mask": torch.tensor([[1, 1]])}, r"attention_mask: expected the shape of input_ids, \(1, 3\)"),
        ({"wanted": np.ones((2, 3), dtype=bool)}, r"wanted: expected the shape of input_ids, \(1, 3\)"),
        ({"limit": 17}, "limit: expected 0 to 16 left-behind tokens, found 17"),
        ({"limit": -1}, "limit: expected 0 to 16"),
    ],
)
def test_bad_input_is_one_sentence(make_tiny_llama, changes, message):
    arguments = {"before_rows": torch.zeros(64, 16), "ticket_ids": [1], "input_ids": torch.tensor([[1, 2, 3]])}
    with pytest.raises(CertificationError, match=message):
        certify_larger_tickets(make_tiny_llama(), **{**arguments, **changes})


def test_half_precision_and_training_mode_are_refused(make_tiny_llama):
    arguments = (torch.zeros(64, 16), [1], torch.tensor([[1, 2, 3]]))
    with pytest.raises(CertificationError, match="expected float32 or float64, found torch"):
        certify_larger_tickets(make_tiny_llama().to(torch.bfloat16), *arguments)
    with pytest.raises(CertificationError, match="evaluation mode"):
        certify_larger_tickets(make_tiny_llama().train(), *arguments)
