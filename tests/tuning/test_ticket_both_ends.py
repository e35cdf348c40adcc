"""The ticket trainer where it is hardest: tied heads, compiling, checkpointing, autocast, padding, resized matrices."""

import copy

import peft
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import Gemma2Config, Gemma2ForCausalLM

from kslottery_core.errors import TicketError, TuningError
from kslottery_core.tuning.ticket import TicketEmbedding, TicketHead, merge_ticket, prepare_ticket

TICKET = [2, 3, 5, 8]
BATCH = torch.tensor([[3, 4, 5, 9, 8, 2], [7, 5, 5, 3, 6, 2]])
IGNORED = -100

pytestmark = pytest.mark.filterwarnings(
    "ignore:.(is_)?gradient_checkpointing\\w*. is deprecated:FutureWarning",  # PEFT asks by the old name
    "ignore:Model has .tie_word_embeddings=True.:UserWarning",
)


def wrap_with_peft(model, token_ids):
    config = peft.TrainableTokensConfig(token_indices=list(token_ids), target_modules=["embed_tokens"])
    return peft.get_peft_model(model, config)


def run_steps(model, steps=4, *, batch=None, autocast=False, learning_rate=0.05):
    """Plain AdamW without weight decay; returns the losses."""
    batch = batch or {"input_ids": BATCH, "labels": BATCH}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.0)
    losses = []
    for _ in range(steps):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def pad(side, padding_id):
    """Two texts of different length, padded on one side and masked out of attention and loss."""
    texts, width = ([3, 4, 5, 9, 8, 2], [7, 5, 8]), 6
    rows = {"input_ids": [], "attention_mask": [], "labels": []}
    for text in texts:
        filler = width - len(text)
        for name, value, padding in (
            ("input_ids", text, padding_id),
            ("attention_mask", [1] * len(text), 0),
            ("labels", text, IGNORED),
        ):
            padded = [padding] * filler + value if side == "left" else value + [padding] * filler
            rows[name].append(padded)
    return {name: torch.tensor(value) for name, value in rows.items()}


@pytest.mark.parametrize("tied", [False, True])
def test_losses_and_rows_equal_peft_step_by_step(make_tiny_llama, tied):
    ours, theirs = make_tiny_llama(tie_word_embeddings=tied), make_tiny_llama(tie_word_embeddings=tied)
    assert prepare_ticket(ours, TICKET, with_head=tied) == 4 * 16
    wrapped = wrap_with_peft(theirs, TICKET)
    our_losses, their_losses = run_steps(ours, 6), run_steps(wrapped, 6)
    assert our_losses == pytest.approx(their_losses, rel=1e-4)
    assert our_losses[-1] < our_losses[0]
    rows = merge_ticket(ours)
    expected = wrapped.base_model.model.get_input_embeddings().trainable_tokens_delta["default"]
    torch.testing.assert_close(rows, expected.data, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("padding_id", [0, 2])  # 2 is in the ticket, and the model's own end token
def test_losses_equal_peft_with_padding_on_either_side(make_tiny_llama, side, tied, padding_id):
    settings = {"tie_word_embeddings": tied, "pad_token_id": padding_id}
    ours, theirs = make_tiny_llama(**settings), make_tiny_llama(**settings)
    assert ours.get_input_embeddings().padding_idx == padding_id
    prepare_ticket(ours, TICKET, with_head=tied)
    batch = pad(side, padding_id)
    expected = run_steps(wrap_with_peft(theirs, TICKET), batch=batch)
    assert run_steps(ours, batch=batch) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("tied", [False, True])
def test_losses_equal_peft_after_the_vocabulary_was_resized(make_tiny_llama, tied):
    ours = make_tiny_llama(tie_word_embeddings=tied)
    ours.resize_token_embeddings(70, mean_resizing=False)
    theirs = copy.deepcopy(ours)
    batch = {"input_ids": torch.tensor([[3, 69, 65, 8]]), "labels": torch.tensor([[3, 69, 65, 8]])}
    prepare_ticket(ours, [3, 65, 69], with_head=tied)
    expected = run_steps(wrap_with_peft(theirs, [3, 65, 69]), batch=batch)
    assert run_steps(ours, batch=batch) == pytest.approx(expected, rel=1e-4)
    rows = merge_ticket(ours)
    assert ours.get_input_embeddings().weight.shape == (70, 16)
    assert torch.equal(ours.get_input_embeddings().weight[[3, 65, 69]], rows)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_gradient_checkpointing_changes_no_loss(make_tiny_llama, tied, reentrant):
    plain, checkpointed = make_tiny_llama(tie_word_embeddings=tied), make_tiny_llama(tie_word_embeddings=tied)
    prepare_ticket(plain, TICKET, with_head=tied)
    prepare_ticket(checkpointed, TICKET, with_head=tied)
    checkpointed.gradient_checkpointing_enable({"use_reentrant": reentrant})
    checkpointed.train()
    expected = run_steps(plain)
    assert run_steps(checkpointed) == pytest.approx(expected, rel=1e-5)
    assert expected[-1] < expected[0]


@pytest.mark.parametrize("tied", [False, True])
def test_losses_under_autocast_equal_those_of_peft_to_bfloat16(make_tiny_llama, tied):
    ours, theirs = make_tiny_llama(tie_word_embeddings=tied), make_tiny_llama(tie_word_embeddings=tied)
    prepare_ticket(ours, TICKET, with_head=tied)
    expected = run_steps(wrap_with_peft(theirs, TICKET), autocast=True, learning_rate=0.01)
    losses = run_steps(ours, autocast=True, learning_rate=0.01)
    assert losses == pytest.approx(expected, rel=2e-3)
    assert losses[-1] < losses[0]
    assert ours.get_input_embeddings().delta.dtype == torch.float32


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("tied", [False, True])
def test_both_ends_compile_without_a_graph_break(make_tiny_llama, tied, backend, autocast):
    torch._dynamo.reset()
    model = make_tiny_llama(tie_word_embeddings=tied, pad_token_id=2)
    prepare_ticket(model, TICKET, with_head=tied)
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    with torch.no_grad():
        embedding.delta.normal_()

    def run(ids):
        return head(embedding(ids))

    compiled = torch.compile(run, backend=backend, fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        expected, got = run(BATCH), compiled(BATCH)
    assert torch.equal(got, expected)
    gradients = []
    for logits in (expected, got):
        embedding.delta.grad = None
        logits.float().square().sum().backward()
        gradients.append(embedding.delta.grad)
    torch.testing.assert_close(gradients[1], gradients[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("padding_id", [None, 2, 5])
def test_both_ways_of_adding_give_the_same_bits(dtype, padding_id):
    torch.manual_seed(0)
    frozen = torch.nn.Embedding(64, 16, padding_idx=padding_id, dtype=dtype)
    embedding = TicketEmbedding(frozen, TICKET)
    embedding.scale = 3.0
    with torch.no_grad():
        embedding.delta.normal_()
    for ids in (BATCH, torch.tensor([[9, 10]])):  # the second holds no token of the ticket
        slots = embedding.slots[ids]
        results = []
        for add in (embedding._add_to_all, embedding._add_to_chosen):
            embedding.delta.grad = None
            out = add(frozen(ids).detach(), slots, embedding.delta)
            out.float().square().sum().backward()
            results.append((out.detach(), embedding.delta.grad))
        assert results[0][0].dtype == results[1][0].dtype == dtype
        assert torch.equal(results[0][0], results[1][0])
        torch.testing.assert_close(results[0][1], results[1][1])


def test_a_compiled_model_trains_to_the_same_losses(make_tiny_llama):
    torch._dynamo.reset()
    plain, compiled = make_tiny_llama(tie_word_embeddings=True), make_tiny_llama(tie_word_embeddings=True)
    prepare_ticket(plain, TICKET, with_head=True)
    prepare_ticket(compiled, TICKET, with_head=True)
    expected = run_steps(plain)
    assert run_steps(torch.compile(compiled, backend="aot_eager")) == pytest.approx(expected, rel=1e-5)


class LargestMade(TorchDispatchMode):
    """Counts the elements of the largest tensor that an operator makes; views of older storage are not new."""

    def __init__(self, model):
        super().__init__()
        self._known = {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}
        self.elements = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in self._known:
                self.elements = max(self.elements, tensor.numel())
        return result


def watch_a_step(model):
    """(most elements of a new tensor in a step, most elements that autograd saved beyond the model's own)."""
    own = {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}
    saved = []

    def note(tensor):
        if tensor.untyped_storage().data_ptr() not in own:
            saved.append(tensor.numel())
        return tensor

    with LargestMade(model) as made, torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        run_steps(model, 1)
    return made.elements, max(saved)


@pytest.mark.parametrize("tied", [False, True])
def test_a_step_makes_and_saves_nothing_of_the_matrix_size(make_tiny_llama, tied):
    rows, width = 4096, 16
    ours, theirs = (make_tiny_llama(vocab_size=rows, tie_word_embeddings=tied) for _ in range(2))
    prepare_ticket(ours, TICKET, with_head=tied)
    made, saved = watch_a_step(ours)
    logits = BATCH.numel() * rows  # 12 positions, fewer than d, so that logits stay below V * d
    assert made <= logits < rows * width
    assert saved <= logits
    made, _ = watch_a_step(wrap_with_peft(theirs, TICKET))
    assert made == rows * width, "the check sees PEFT's copy of the matrix"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_merged_and_unmerged_tied_models_give_the_same_logits(make_tiny_llama, dtype):
    model = make_tiny_llama(tie_word_embeddings=True).to(dtype)
    prepare_ticket(model, TICKET, with_head=True)
    run_steps(model)
    with torch.no_grad():
        unmerged = model(input_ids=BATCH).logits
        merge_ticket(model)
        merged = model(input_ids=BATCH).logits
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(merged, unmerged, rtol=tolerance, atol=tolerance)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_a_tied_ticket_changes_the_logits_of_its_own_columns_alone(make_tiny_llama):
    model = make_tiny_llama(tie_word_embeddings=True)
    prepare_ticket(model, TICKET, with_head=True)
    head = model.get_output_embeddings()
    assert isinstance(head, TicketHead)
    hidden = torch.randn(1, 3, 16)
    with torch.no_grad():
        before = head(hidden)
        model.get_input_embeddings().delta.fill_(0.5)
        changed = (head(hidden) != before).any(dim=1)[0].nonzero().flatten().tolist()
    assert changed == TICKET


def test_the_head_takes_ids_in_any_order_and_keeps_its_bias():
    frozen = torch.nn.Embedding(10, 4)
    linear = torch.nn.Linear(4, 10)
    linear.weight = frozen.weight
    embedding = TicketEmbedding(frozen, [7, 2])
    head = TicketHead(linear, embedding)
    with torch.no_grad():
        embedding.delta.copy_(torch.tensor([[1.0] * 4, [2.0] * 4]))
        hidden = torch.randn(1, 1, 4)
        expected = linear(hidden)
        expected[..., 7] += hidden.sum()
        expected[..., 2] += 2 * hidden.sum()
        torch.testing.assert_close(head(hidden), expected)
    assert torch.equal(head.bias, linear.bias)
    assert head.weight is frozen.weight


def test_only_the_difference_is_trained_and_counted_once(make_tiny_llama):
    model = make_tiny_llama(tie_word_embeddings=True)
    before = copy.deepcopy(model.state_dict())
    prepare_ticket(model, TICKET, with_head=True)
    assert [tuple(p.shape) for p in model.parameters() if p.requires_grad] == [(4, 16)]
    run_steps(model)
    merge_ticket(model)
    kept = [row for row in range(64) if row not in TICKET]
    for name, value in model.state_dict().items():
        if name in ("model.embed_tokens.weight", "lm_head.weight"):
            assert torch.equal(before[name][kept], value[kept])
            assert (before[name][TICKET] != value[TICKET]).any(dim=1).all()
        else:
            assert torch.equal(before[name], value), name


@pytest.mark.parametrize("tied", [False, True])
def test_losses_equal_peft_where_the_embedding_scales_and_logits_are_capped(tied):
    def make():
        torch.manual_seed(0)
        return Gemma2ForCausalLM(
            Gemma2Config(
                vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
                num_key_value_heads=1, head_dim=8, tie_word_embeddings=tied, final_logit_softcapping=5.0,
                attn_implementation="eager",
            )
        ).eval()  # fmt: skip

    ours, theirs = make(), make()
    prepare_ticket(ours, TICKET, with_head=tied)
    expected = run_steps(wrap_with_peft(theirs, TICKET))
    assert run_steps(ours) == pytest.approx(expected, rel=1e-4)
    with torch.no_grad():
        unmerged = ours(input_ids=BATCH).logits
        merge_ticket(ours)
        torch.testing.assert_close(ours(input_ids=BATCH).logits, unmerged, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("token_ids", "message"),
    [
        ([3, 5, 3], "found the id 3 more than once"),
        ([3, 64], "expected token ids from 0 to 63, found 64"),
        ([-1, 3], "expected token ids from 0 to 63, found -1"),
        ([], "found an empty ticket"),
    ],
)
def test_ids_that_repeat_or_that_the_model_lacks_are_refused(make_tiny_llama, token_ids, message):
    model = make_tiny_llama()
    with pytest.raises(TicketError, match=message):
        prepare_ticket(model, token_ids)
    assert all(parameter.requires_grad for parameter in model.parameters()), "nothing was touched"


def test_head_rows_of_an_untied_model_are_refused(make_tiny_llama):
    with pytest.raises(TuningError, match="input_and_head needs a model whose output head is its input embedding"):
        prepare_ticket(make_tiny_llama(), TICKET, with_head=True)
