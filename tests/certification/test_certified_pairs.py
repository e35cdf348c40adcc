"""What makes two checkpoints, a ticket and a text fit to be certified, and the sentence when they are not."""

import json

import pytest
import torch

from kslottery_core.certification import EXACT, CertificationTask, certify
from kslottery_core.checkpoints import load_model, open_embedding, untie_head
from kslottery_core.corpora import CorpusSpec
from kslottery_core.errors import CertificationError, CheckpointError, CorpusError, TicketError
from kslottery_core.tickets import Ticket, create_list_ticket


def move_row_five(rows):
    return torch.where(torch.arange(len(rows))[:, None] == 5, rows + 0.1, rows)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("model.norm.weight", lambda model: model.model.norm.weight.mul_(1.001)),
        ("model.layers.1.mlp.up_proj.weight", lambda model: model.model.layers[1].mlp.up_proj.weight[0, 0].add_(1e-6)),
        ("lm_head.weight", lambda model: model.lm_head.weight[3].add_(0.5)),
    ],
)
def test_another_parameter_that_differs_is_refused_by_name(make_pair, make_task, save_tiny_model, name, change):
    before, after = make_pair(move_row_five)
    model, _ = load_model(after)
    with torch.no_grad():
        change(model)
    save_tiny_model(model, after)
    with pytest.raises(CertificationError, match=f"differ in the input embedding alone.*{name}.*exact level"):
        certify(make_task(before, after, [5]))


def test_another_configuration_is_refused(make_pair, make_task):
    before, after = make_pair(move_row_five)
    config = json.loads((after / "config.json").read_text())
    config["rms_norm_eps"] = 1e-3
    (after / "config.json").write_text(json.dumps(config))
    with pytest.raises(CertificationError, match=r"one configuration, found rms_norm_eps = 1e-06 in .* and 0\.001"):
        certify(make_task(before, after, [5]))


def test_a_tied_model_that_was_untied_by_its_tuning_is_certified(
    tiny_tied_llama_folder, make_task, save_tiny_model, tmp_path
):
    model, _ = load_model(tiny_tied_llama_folder)
    assert untie_head(model)
    with torch.no_grad():
        model.get_input_embeddings().weight[5] += 0.1
    after = save_tiny_model(model, tmp_path / "after")
    found = certify(make_task(tiny_tied_llama_folder, after, [5]))
    tally = found.chosen.predictions
    assert tally.get_level(EXACT).certified == tally.total
    assert found.before.parameters == found.after.parameters


def test_a_tied_model_whose_head_moved_too_is_refused(tiny_tied_llama_folder, make_task, save_tiny_model, tmp_path):
    model, _ = load_model(tiny_tied_llama_folder)
    with torch.no_grad():
        model.get_input_embeddings().weight[5] += 0.1
    after = save_tiny_model(model, tmp_path / "after")
    with pytest.raises(CertificationError, match=r"output head .* too, as one tied matrix"):
        certify(make_task(tiny_tied_llama_folder, after, [5]))


def test_a_tuned_ticket_is_exact_with_its_own_rows(tiny_llama_folder, make_task, tmp_path):
    from safetensors.torch import save_file

    ids = [5, 9, 30]
    rows = open_embedding(tiny_llama_folder).read_token_rows(ids) + 0.3
    after = tmp_path / "ticket"
    after.mkdir()
    save_file({"token_ids": torch.tensor(ids), "rows": rows}, after / "rows.safetensors")
    (after / "base.json").write_text(json.dumps({"source": str(tiny_llama_folder), "revision": None}))
    (after / "ticket.json").write_text(json.dumps(create_list_ticket(ids, 64).to_json()))
    found = certify(make_task(tiny_llama_folder, after, ids))
    assert found.chosen.outputs.get_level(EXACT).certified == found.chosen.outputs.total == 6
    assert found.changed_rows == 3


def test_other_architectures_and_vocabularies_are_refused(make_task, make_tiny_llama, save_tiny_model, tmp_path):
    small = save_tiny_model(make_tiny_llama(), tmp_path / "small")
    large = save_tiny_model(make_tiny_llama(vocab_size=72), tmp_path / "large")
    deep = save_tiny_model(make_tiny_llama(num_hidden_layers=3), tmp_path / "deep")
    with pytest.raises(CertificationError, match=r"one vocabulary, found 64 embedding rows in .* and 72"):
        certify(make_task(small, large))
    with pytest.raises(CertificationError, match=r"num_hidden_layers = 2 .* and 3"):
        certify(make_task(small, deep))


def test_other_tokens_under_the_same_ids_are_refused(make_pair, make_task):
    before, after = make_pair(move_row_five)
    content = json.loads((after / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    one, other = "c", "g"
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
    (after / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="tokenizers differ"):
        certify(make_task(before, after, [5]))


def test_tokenizers_that_cut_the_text_otherwise_are_refused(make_pair, make_task):
    before, after = make_pair(move_row_five)
    content = json.loads((after / "tokenizer.json").read_text())
    content["model"]["merges"] = []  # the same vocabulary, letter by letter
    (after / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(CertificationError, match=r"split the text alike, found that sentence 1 has .* of 6 sentences"):
        certify(make_task(before, after, [5]))


def test_a_ticket_of_another_pair_or_vocabulary_is_refused(make_pair, make_task):
    before, after = make_pair(move_row_five)
    prints = [open_embedding(path).fingerprint for path in (before, after)]
    own = Ticket((5,), 64, "alpha", fingerprint_before=prints[0], fingerprint_after=prints[1])
    assert certify(make_task(before, after, ticket=own)) is not None
    for stranger in (
        Ticket((5,), 64, "alpha", fingerprint_before="f" * 64, fingerprint_after=prints[1]),
        Ticket((5,), 64, "alpha", fingerprint_before=prints[0], fingerprint_after="f" * 64),
    ):
        with pytest.raises(CertificationError, match="selected from this pair"):
            certify(make_task(before, after, ticket=stranger))
    with pytest.raises(TicketError, match="vocabulary of 99"):
        certify(make_task(before, after, ticket=create_list_ticket((5,), 99)))


def test_a_text_without_pairs_is_refused(make_pair, make_task, tmp_path):
    before, after = make_pair(move_row_five)
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(CorpusError, match="at least one pair"):
        certify(make_task(before, after, corpus=CorpusSpec(str(tmp_path / "empty.jsonl"))))


def test_sentences_longer_than_the_model_allows_are_refused(make_pair, make_task, tmp_path):
    before, after = make_pair(move_row_five, max_position_embeddings=20)
    with pytest.raises(CertificationError, match=r"sentence \d: .* tokens, the model allows 20"):
        certify(make_task(before, after, [5]))
    (tmp_path / "short.tsv").write_text("en\tca\nthe\ta\n")
    with pytest.raises(CertificationError, match=r"sentence 1: a prompt of \d tokens and 30 new ones do not fit"):
        certify(make_task(before, after, [5], corpus=CorpusSpec(str(tmp_path / "short.tsv")), max_new_tokens=30))


def test_a_tokenizer_without_an_end_is_refused(make_pair, make_task):
    before, after = make_pair(move_row_five)
    for folder in (before, after):
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        settings["eos_token"], settings["pad_token"] = None, "<unk>"
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(CertificationError, match="end-of-sequence token"):
        certify(make_task(before, after, [5]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"significance_levels": (0.5, 0.05)}, "ascending order"),
        ({"significance_levels": (0.0, 0.05)}, "0 < alpha < 1"),
        ({"max_new_tokens": 0}, "max_new_tokens: expected a whole number"),
        ({"batch_size": 0}, "batch_size: expected a whole number"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make_task, changes, message):
    with pytest.raises(CertificationError, match=message):
        make_task("before", "after", **changes)


def test_a_template_without_a_sentence_is_refused():
    with pytest.raises(CorpusError, match="the placeholder"):
        CertificationTask("a", "b", create_list_ticket((), 4), CorpusSpec("text"), prompt="nothing")


def test_a_model_that_reads_ahead_is_refused():
    from transformers import BertConfig, BertLMHeadModel

    from kslottery_core.certification.forward_pass import check_causal

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, is_decoder=True
    )
    ids = torch.tensor([4, 5, 6, 7])
    model = BertLMHeadModel(config).eval()
    with torch.no_grad():
        model.get_output_embeddings().weight *= 50
    check_causal(model, ids)
    config.is_decoder = False
    ahead = BertLMHeadModel(config).eval()
    ahead.load_state_dict(model.state_dict())
    with pytest.raises(CertificationError, match="predictions of BertLMHeadModel change when later tokens are cut off"):
        check_causal(ahead, ids)
