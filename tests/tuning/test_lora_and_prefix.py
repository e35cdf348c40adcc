"""LoRA and prefix tuning: what is trained and saved, and that PEFT itself opens it and says the same."""

import dataclasses
import itertools
import json

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, MambaConfig, MambaForCausalLM

from kslottery_core.checkpoints import is_unmerged, load_model, open_parameters
from kslottery_core.corpora import DEFAULT_PROMPT, Corpus, CorpusSpec, SentencePair
from kslottery_core.errors import CheckpointError, EvaluationError, TuningError
from kslottery_core.evaluation.generate import EvaluationSettings, check_prompts_fit, generate_outputs
from kslottery_core.tuning import (
    LoraSettings,
    PrefixSettings,
    TuningSettings,
    TuningTask,
    tune,
    write_full_checkpoint,
)
from kslottery_core.tuning.lora import list_linear_modules, merge_lora, prepare_lora, select_target_modules
from kslottery_core.tuning.prefix import prepare_prefix

PAIRS = tuple(
    SentencePair(f"the {a} cat sees {b}", f"a {b} bird in {a}")
    for a, b in itertools.product(["small", "red", "green"], ["house", "garden", "bird"])
)
SETTINGS = TuningSettings(
    learning_rate=0.02, max_steps=5, batch_size=4, lora=LoraSettings(rank=2, alpha=6), prefix=PrefixSettings(3)
)
IDS = torch.tensor([[3, 20, 7, 30, 12]])
LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


def run(method, folder, model, *, settings=SETTINGS, **options):
    task = TuningTask(
        method,
        str(model),
        corpus=Corpus("tiny", PAIRS, (), "0" * 64),
        languages=CorpusSpec("tiny.jsonl", "en", "ca"),
        prompt=DEFAULT_PROMPT,
        settings=settings,
        **options,
    )
    return tune(task, folder)


def compute_logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


def test_a_lora_counts_its_own_numbers_and_lowers_the_loss(tiny_llama_folder, tmp_path):
    report = run("lora", tmp_path, tiny_llama_folder).report
    # Two layers of four 16 x 16 and three 16 x 32 matrices, rank 2: r * (inputs + outputs) each.
    assert report.trained_parameters == 2 * 2 * (4 * (16 + 16) + 3 * (16 + 32))
    base = AutoModelForCausalLM.from_pretrained(tiny_llama_folder)
    assert report.total_parameters == sum(parameter.numel() for parameter in base.parameters())
    assert report.final_loss < report.first_loss
    assert report.saved_path == str(tmp_path / "adapter")
    files = sorted(path.name for path in (tmp_path / "adapter").iterdir())
    assert files == ["adapter_config.json", "adapter_model.safetensors"]
    assert report.saved_bytes == sum(path.stat().st_size for path in (tmp_path / "adapter").iterdir())
    assert not report.untied_head


def test_peft_opens_the_lora_and_answers_like_the_merged_model(tiny_llama_folder, tmp_path):
    tuned = run("lora", tmp_path, tiny_llama_folder)
    base = AutoModelForCausalLM.from_pretrained(tiny_llama_folder)
    before = compute_logits(base)
    opened = PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    torch.testing.assert_close(compute_logits(tuned.model), compute_logits(opened), rtol=1e-4, atol=1e-5)
    assert (compute_logits(opened) - before).abs().max() > 1e-3
    ours, _ = load_model(tmp_path / "adapter")
    torch.testing.assert_close(compute_logits(ours), compute_logits(tuned.model), rtol=1e-6, atol=1e-6)


def test_a_lora_opens_as_an_after_whose_linear_layers_alone_differ(tiny_llama_folder, tmp_path):
    tuned = run("lora", tmp_path, tiny_llama_folder)
    before, after = open_parameters(tiny_llama_folder), open_parameters(tmp_path / "adapter")
    assert before.names == after.names
    merged = dict(tuned.model.named_parameters())
    for name in before.names:
        rows = before.shape(name)[0]
        values = after.open_rows(name).read_rows(0, rows)
        changed = not torch.equal(before.open_rows(name).read_rows(0, rows), values)
        assert changed == any(layer in name for layer in LAYERS), name
        torch.testing.assert_close(values, merged[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tied", [False, True])
def test_merged_and_unmerged_loras_give_the_same_logits(make_tiny_llama, tied):
    model = make_tiny_llama(tie_word_embeddings=tied)
    before = compute_logits(model)
    adapted = prepare_lora(model, LoraSettings(rank=3), seed=1)
    assert torch.equal(compute_logits(adapted), before), "B starts at zero"
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5)
    unmerged = compute_logits(adapted)
    assert (unmerged - before).abs().max() > 0.01
    torch.testing.assert_close(compute_logits(merge_lora(adapted)), unmerged, rtol=1e-4, atol=1e-5)


def test_a_lora_can_be_a_whole_checkpoint_for_plain_transformers(tiny_tied_llama_folder, tmp_path):
    tuned = run("lora", tmp_path, tiny_tied_llama_folder, output="checkpoint")
    written = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    torch.testing.assert_close(compute_logits(written), compute_logits(tuned.model), rtol=1e-5, atol=1e-6)
    assert written.lm_head.weight is written.model.embed_tokens.weight
    assert tuned.report.saved_path == str(tmp_path / "adapter")


@pytest.mark.parametrize("method", ["lora", "prefix"])
def test_the_same_seed_gives_the_same_adapter_and_another_seed_another(tiny_llama_folder, tmp_path, method):
    found = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        tuned = run(method, tmp_path / name, tiny_llama_folder, settings=dataclasses.replace(SETTINGS, seed=seed))
        found[name] = compute_logits(tuned.model)
    assert torch.equal(found["a"], found["b"])
    assert not torch.equal(found["a"], found["c"])


@pytest.mark.parametrize("method", ["lora", "prefix"])
def test_accumulated_batches_equal_one_larger_batch(tiny_llama_folder, tmp_path, method):
    whole = run(method, tmp_path / "a", tiny_llama_folder, settings=dataclasses.replace(SETTINGS, max_steps=2))
    halves = dataclasses.replace(SETTINGS, max_steps=2, batch_size=2, gradient_accumulation=2)
    parts = run(method, tmp_path / "b", tiny_llama_folder, settings=halves)
    assert parts.report.final_loss == pytest.approx(whole.report.final_loss, rel=1e-3)


def test_a_lora_on_a_sixteen_bit_model_is_trained_in_float32(make_tiny_llama, tiny_llama_folder, tmp_path):
    adapted = prepare_lora(make_tiny_llama().bfloat16(), LoraSettings(), seed=0)
    assert {p.dtype for p in adapted.parameters() if p.requires_grad} == {torch.float32}
    settings = dataclasses.replace(SETTINGS, precision="bfloat16")
    for method in ("lora", "prefix"):
        tuned = run(method, tmp_path / method, tiny_llama_folder, settings=settings)
        assert tuned.report.precision == "bfloat16"
        assert compute_logits(tuned.model).dtype == torch.bfloat16


def test_all_linear_layers_but_the_head_are_targets_and_names_narrow_them(make_tiny_llama):
    model = make_tiny_llama()
    paths = list_linear_modules(model)
    assert len(paths) == 2 * len(LAYERS)
    assert {path.rpartition(".")[2] for path in paths} == set(LAYERS)
    assert select_target_modules(paths, ()) == list(paths)
    chosen = select_target_modules(paths, ("q_proj", "0.mlp.up_proj"))
    assert chosen == [
        "model.layers.0.self_attn.q_proj",
        "model.layers.0.mlp.up_proj",
        "model.layers.1.self_attn.q_proj",
    ]
    adapted = prepare_lora(model, LoraSettings(rank=1, target_modules=("q_proj",)), seed=0)
    trained = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    assert len(trained) == 4
    assert all("q_proj" in name for name in trained)


def test_layers_of_gpt2_are_found_although_they_are_no_nn_linear(tiny_tokenizer):
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=64, n_embd=16, n_layer=1, n_head=2, n_positions=64, bos_token_id=1, eos_token_id=2)
    model = GPT2LMHeadModel(config).eval()
    adapted = prepare_lora(model, LoraSettings(rank=2), seed=0)
    names = {name.split(".lora_")[0].rpartition(".")[2] for name, p in adapted.named_parameters() if p.requires_grad}
    assert names == {"c_attn", "c_proj", "c_fc"}
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5)
    unmerged = compute_logits(adapted)
    torch.testing.assert_close(compute_logits(merge_lora(adapted)), unmerged, rtol=1e-4, atol=1e-5)


def test_targets_that_the_model_lacks_are_told_with_those_it_has(make_tiny_llama, tiny_llama_folder, tmp_path):
    with pytest.raises(TuningError, match=r"no linear layer called 'c_attn'; it has q_proj, k_proj, v_proj"):
        prepare_lora(make_tiny_llama(), LoraSettings(target_modules=("q_proj", "c_attn")), seed=0)
    settings = dataclasses.replace(SETTINGS, lora=LoraSettings(target_modules=("lm_head",)))
    with pytest.raises(TuningError, match="no linear layer called 'lm_head'"):
        run("lora", tmp_path / "new", tiny_llama_folder, settings=settings)
    assert not (tmp_path / "new").exists()


def test_a_model_without_linear_layers_is_refused():
    class Bare(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = torch.nn.Embedding(4, 2), torch.nn.Linear(2, 4)

        def get_output_embeddings(self):
            return self.head

    with pytest.raises(TuningError, match="expected a model with linear layers besides its output head, found none"):
        prepare_lora(Bare(), LoraSettings(), seed=0)


def test_a_prefix_counts_its_own_numbers_and_lowers_the_loss(tiny_llama_folder, tmp_path):
    settings = dataclasses.replace(SETTINGS, max_steps=20, learning_rate=0.1)
    report = run("prefix", tmp_path, tiny_llama_folder, settings=settings).report
    assert report.trained_parameters == 3 * 2 * 2 * 16  # tokens, layers, key and value, width
    assert report.final_loss < report.first_loss
    assert report.saved_bytes == sum(path.stat().st_size for path in (tmp_path / "adapter").iterdir())
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["num_virtual_tokens"] == 3


def test_peft_opens_the_prefix_and_answers_the_same(tiny_llama_folder, tmp_path):
    tuned = run("prefix", tmp_path, tiny_llama_folder)
    base = AutoModelForCausalLM.from_pretrained(tiny_llama_folder)
    before = compute_logits(base)
    opened = PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    torch.testing.assert_close(compute_logits(tuned.model), compute_logits(opened), rtol=1e-5, atol=1e-6)
    assert (compute_logits(opened) - before).abs().max() > 1e-4
    ours, tokenizer = load_model(tmp_path / "adapter")
    assert is_unmerged(ours)
    assert tokenizer.pad_token is not None
    assert torch.equal(compute_logits(ours), compute_logits(opened))


def test_generation_goes_through_the_prefix(tiny_llama_folder, tmp_path, tiny_tokenizer):
    settings = dataclasses.replace(SETTINGS, max_steps=20, learning_rate=0.3)
    tuned = run("prefix", tmp_path, tiny_llama_folder, settings=settings)
    prompts = ["the cat", "a green bird sings in the garden"]  # one of them is padded
    outputs = generate_outputs(tuned.model, tuned.tokenizer, prompts, EvaluationSettings(1, 6, 2))
    plain, _ = load_model(tiny_llama_folder)
    without = generate_outputs(plain, tuned.tokenizer, prompts, EvaluationSettings(1, 6, 2))
    assert [output.text for output in outputs] != [output.text for output in without]
    for prompt, output in zip(prompts, outputs, strict=True):
        ids = tiny_tokenizer(prompt, return_tensors="pt")["input_ids"]
        start = ids.shape[1]
        for _ in range(6):  # greedy search by hand: no cache of earlier steps, no batch, no padding
            with torch.no_grad():
                ids = torch.cat((ids, tuned.model(input_ids=ids).logits[:, -1:].argmax(-1)), dim=1)
            if ids[0, -1] == tiny_tokenizer.eos_token_id:
                break
        assert output.text == tiny_tokenizer.decode(ids[0, start:], skip_special_tokens=True)


def test_a_prefix_is_no_base_and_no_whole_checkpoint(tiny_llama_folder, tmp_path):
    run("prefix", tmp_path, tiny_llama_folder)
    adapter = tmp_path / "adapter"
    with pytest.raises(TuningError, match="a prefix is no change of weights and cannot be merged"):
        write_full_checkpoint(adapter, tmp_path / "whole")
    assert not (tmp_path / "whole").exists()
    with pytest.raises(TuningError, match="which can be evaluated but not tuned on"):
        run("full", tmp_path / "again", adapter)
    assert tune(TuningTask("base", str(adapter)), tmp_path / "none").report.trained_parameters == 0
    content = json.loads((adapter / "adapter_config.json").read_text())
    (tmp_path / "second").mkdir()
    for path in adapter.iterdir():
        (tmp_path / "second" / path.name).write_bytes(path.read_bytes())
    content["base_model_name_or_path"] = str(adapter)
    (tmp_path / "second" / "adapter_config.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="which is a prefix before a model; name that model"):
        load_model(tmp_path / "second")


def test_a_prefix_takes_positions_from_the_text(make_tiny_llama, save_tiny_model, tmp_path):
    folder = save_tiny_model(make_tiny_llama(max_position_embeddings=60), tmp_path / "short")
    settings = dataclasses.replace(SETTINGS, prefix=PrefixSettings(40))
    with pytest.raises(TuningError, match=r"virtual tokens: 40 of them and a training example of .* 60 positions"):
        run("prefix", tmp_path / "new", folder, settings=settings)
    model, tokenizer = load_model(folder)
    check_prompts_fit(model, tokenizer, ["the cat"], EvaluationSettings(1, 30))
    with pytest.raises(EvaluationError, match="a prefix of 40 tokens, a prompt of"):
        check_prompts_fit(
            prepare_prefix(model, PrefixSettings(40), 0), tokenizer, ["the cat"], EvaluationSettings(1, 30)
        )


def test_a_model_without_attention_takes_no_prefix():
    config = MambaConfig(vocab_size=64, hidden_size=16, num_hidden_layers=1, state_size=4)
    with pytest.raises(TuningError, match="PEFT cannot put a prefix before a model of type 'mamba'"):
        prepare_prefix(MambaForCausalLM(config), PrefixSettings(), 0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LoraSettings(rank=0), "lora rank: expected a whole number of at least 1, found 0"),
        (lambda: LoraSettings(alpha=0.0), "lora alpha: expected a number above 0"),
        (lambda: LoraSettings(alpha=float("nan")), "lora alpha: expected a number above 0"),
        (lambda: LoraSettings(dropout=1.0), "lora dropout: expected a share"),
        (lambda: LoraSettings(target_modules=("q_proj", "")), "lora target modules: expected names"),
        (lambda: PrefixSettings(0), "virtual tokens: expected a whole number of at least 1, found 0"),
        (lambda: TuningSettings(learning_rate=-1.0), "learning_rate: expected a number above 0"),
        (lambda: TuningSettings(ticket_rows="head"), "ticket_rows: expected one of input, input_and_head"),
    ],
)
def test_method_settings_out_of_range_are_refused(build, message):
    with pytest.raises(TuningError, match=message):
        build()


def test_settings_of_another_method_are_refused(tiny_llama_folder):
    both = TuningSettings(ticket_rows="input_and_head")
    with pytest.raises(TuningError, match="'input_and_head' belongs to the method ticket, found the method full"):
        TuningTask("full", str(tiny_llama_folder), settings=both)
    with pytest.raises(TuningError, match="a prefix is no change of weights"):
        TuningTask("prefix", str(tiny_llama_folder), output="checkpoint")
