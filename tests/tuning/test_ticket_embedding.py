"""The ticket trainer: which numbers move, against PEFT and a plain loop that nobody here wrote."""

import copy

import peft
import pytest
import torch
from torch import nn

from kslottery_core.tuning.embedding import prepare_embedding
from kslottery_core.tuning.full import prepare_full
from kslottery_core.tuning.ticket import TicketEmbedding, merge_ticket, prepare_ticket

TICKET = [3, 5, 8]
BATCH = torch.tensor([[3, 4, 5, 9, 8, 2], [7, 5, 5, 3, 6, 2]])


def run_steps(model, steps=4, learning_rate=0.05, weight_decay=0.0):
    """Plain AdamW on the next-token loss; returns the losses."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=weight_decay)
    losses = []
    for _ in range(steps):
        loss = model(input_ids=BATCH, labels=BATCH).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # PEFT asks for it
def test_losses_equal_peft_trainable_tokens_step_by_step(make_tiny_llama):
    ours, theirs = make_tiny_llama(), make_tiny_llama()
    assert prepare_ticket(ours, TICKET) == 3 * 16
    config = peft.TrainableTokensConfig(token_indices=TICKET, target_modules=["embed_tokens"], init_weights=True)
    wrapped = peft.get_peft_model(theirs, config)
    our_losses, their_losses = run_steps(ours), run_steps(wrapped)
    assert our_losses == pytest.approx(their_losses, rel=1e-4)
    assert our_losses[-1] < our_losses[0]
    merge_ticket(ours)
    merged = wrapped.merge_and_unload()
    torch.testing.assert_close(
        ours.get_input_embeddings().weight, merged.get_input_embeddings().weight, rtol=1e-3, atol=1e-4
    )


def test_rows_equal_a_plain_loop_that_masks_the_gradient(make_tiny_llama):
    ours, plain = make_tiny_llama(), make_tiny_llama()
    prepare_ticket(ours, TICKET)
    plain.requires_grad_(False)
    weight = plain.get_input_embeddings().weight
    weight.requires_grad_(True)
    mask = torch.zeros(64, 1)
    mask[TICKET] = 1
    weight.register_hook(lambda gradient: gradient * mask)
    assert run_steps(ours) == pytest.approx(run_steps(plain), rel=1e-4)


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_every_untouched_parameter_stays_bit_identical(make_tiny_llama, weight_decay):
    model = make_tiny_llama()
    before = copy.deepcopy(model.state_dict())
    prepare_ticket(model, TICKET)
    run_steps(model, weight_decay=weight_decay)
    merge_ticket(model)
    after = model.state_dict()
    assert before.keys() == after.keys()
    for name, value in before.items():
        if name == "model.embed_tokens.weight":
            kept = [row for row in range(64) if row not in TICKET]
            assert torch.equal(value[kept], after[name][kept])
            assert (value[TICKET] != after[name][TICKET]).any(dim=1).all()
        else:
            assert torch.equal(value, after[name]), name


def test_merged_and_unmerged_models_give_the_same_logits(make_tiny_llama):
    model = make_tiny_llama()
    prepare_ticket(model, TICKET)
    run_steps(model)
    with torch.no_grad():
        unmerged = model(input_ids=BATCH).logits
        merge_ticket(model)
        assert torch.equal(unmerged, model(input_ids=BATCH).logits)


def test_an_untrained_ticket_changes_nothing(make_tiny_llama):
    model = make_tiny_llama()
    with torch.no_grad():
        before = model(input_ids=BATCH).logits
        prepare_ticket(model, TICKET)
        assert torch.equal(before, model(input_ids=BATCH).logits)


def test_no_gradient_of_vocabulary_size_is_built(make_tiny_llama):
    model = make_tiny_llama()
    prepare_ticket(model, TICKET)
    run_steps(model, steps=1)
    embedding = model.get_input_embeddings()
    assert embedding.frozen.weight.grad is None
    assert embedding.delta.grad.shape == (3, 16)


def test_a_sixteen_bit_model_keeps_float32_ticket_rows(make_tiny_llama):
    model = make_tiny_llama().bfloat16()
    prepare_ticket(model, TICKET)
    losses = run_steps(model)
    assert losses[-1] < losses[0]
    assert model.get_input_embeddings().delta.dtype == torch.float32
    rows = merge_ticket(model)
    assert rows.dtype == torch.float32
    assert torch.equal(model.get_input_embeddings().weight[TICKET], rows.bfloat16())


def test_a_scaled_embedding_is_trained_before_its_scale():
    from transformers import GemmaConfig, GemmaForCausalLM

    torch.manual_seed(0)
    config = GemmaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, tie_word_embeddings=False,
    )  # fmt: skip
    model = GemmaForCausalLM(config)
    prepare_ticket(model, TICKET)
    assert model.get_input_embeddings().scale == pytest.approx(4)
    run_steps(model)
    with torch.no_grad():
        unmerged = model(input_ids=BATCH).logits
        merge_ticket(model)
        torch.testing.assert_close(model(input_ids=BATCH).logits, unmerged, rtol=1e-4, atol=1e-5)


def test_embedding_tuning_trains_the_input_matrix_alone_and_leaves_unseen_rows_identical(make_tiny_llama):
    model = make_tiny_llama()
    before = copy.deepcopy(model.state_dict())
    assert prepare_embedding(model) == 64 * 16
    run_steps(model)
    after = model.state_dict()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed == ["model.embed_tokens.weight"]
    seen = sorted(set(BATCH[:, :-1].flatten().tolist()))
    moved = (before[changed[0]] != after[changed[0]]).any(dim=1).nonzero().flatten().tolist()
    assert moved == seen  # the last column is only predicted, never read


def test_full_tuning_trains_every_parameter(make_tiny_llama):
    model = make_tiny_llama()
    model.requires_grad_(False)
    assert prepare_full(model) == sum(parameter.numel() for parameter in model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_embedding_looks_up_by_slot_in_any_order():
    frozen = nn.Embedding(10, 4)
    ticket = TicketEmbedding(frozen, [7, 2])
    with torch.no_grad():
        ticket.delta.copy_(torch.tensor([[1.0] * 4, [2.0] * 4]))
        got = ticket(torch.tensor([[2, 7, 3]]))
        expected = frozen(torch.tensor([[2, 7, 3]])) + torch.tensor([2.0, 1.0, 0.0]).reshape(1, 3, 1)
        assert torch.equal(got, expected)
        assert torch.equal(ticket.compute_rows(), frozen.weight[[2, 7]] + torch.tensor([[2.0], [1.0]]))
