"""Outputs against a plain transformers loop, scores against sacrebleu called directly, and what is never scored."""

import hashlib
import socket
from pathlib import Path
from urllib.error import URLError

import pytest
import sacrebleu
import sentencepiece
import torch

from kslottery_core.corpora import Corpus, CorpusSpec, SentencePair
from kslottery_core.errors import EvaluationError
from kslottery_core.evaluation import (
    EvaluationSettings,
    Output,
    align_outputs,
    compute_scores,
    describe_decoding,
    describe_difference,
    evaluate,
    score,
)
from kslottery_core.evaluation.generate import generate_outputs
from kslottery_core.evaluation.score import extract_first_line, extract_whole_output

PROMPTS = ["the small cat", "a green bird sings in the old garden", "the", "red house and garden 12", "a"]
PAIRS = tuple(SentencePair(text, f"el {text}") for text in PROMPTS)
CORPUS = Corpus("tiny", PAIRS, (), "f" * 64)
SPEC = CorpusSpec("tiny.jsonl")
SIGNED = {"decoding": "greedy", "prompt_hash": "p", "test_set_hash": "t"}


@pytest.fixture(autouse=True)
def without_spbleu_model(monkeypatch, tmp_path):
    """No SentencePiece model and no network, whatever this machine has."""
    import sacrebleu.tokenizers.tokenizer_spm as spm
    import sacrebleu.utils

    def refuse(url, path, *_):
        raise OSError("no network")

    for module in (sacrebleu.utils, spm):
        monkeypatch.setattr(module, "SACREBLEU_DIR", str(tmp_path / "sacrebleu"))
    monkeypatch.setattr(spm, "download_file", refuse)
    monkeypatch.delenv(score.SPBLEU_MODEL_VARIABLE, raising=False)
    return tmp_path / "sacrebleu"


def generate_plainly(model, tokenizer, prompt, beams, new_tokens):
    ids = torch.tensor([tokenizer(prompt)["input_ids"]])
    out = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        num_beams=beams,
        max_new_tokens=new_tokens,
        pad_token_id=2,
    )
    return out[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("beams", [1, 3])
def test_batched_outputs_equal_a_plain_loop_in_the_order_of_the_prompts(make_tiny_llama, tiny_tokenizer, beams):
    model = make_tiny_llama(seed=4)
    got = generate_outputs(model, tiny_tokenizer, PROMPTS, EvaluationSettings(beams, 12, batch_size=2))
    for prompt, generation in zip(PROMPTS, got, strict=True):
        ids = generate_plainly(model, tiny_tokenizer, prompt, beams, 12)
        assert generation.stopped == (2 in ids)
        kept = ids[: ids.index(2)] if 2 in ids else ids
        assert generation.tokens == len(kept)
        assert generation.text == tiny_tokenizer.decode(kept, skip_special_tokens=True)


def make_model_that_always_says(model, token_id):
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.lm_head.weight[token_id] = 1
        model.model.norm.weight.fill_(0)
        model.lm_head.bias = torch.nn.Parameter(torch.zeros(64))
        model.lm_head.bias[token_id] = 5
    return model


def test_a_model_that_stops_at_once_is_told_from_one_that_never_stops(make_tiny_llama, tiny_tokenizer):
    stops = make_model_that_always_says(make_tiny_llama(), 2)
    talks = make_model_that_always_says(make_tiny_llama(), 20)
    settings = EvaluationSettings(1, 6)
    assert {(g.stopped, g.tokens, g.text) for g in generate_outputs(stops, tiny_tokenizer, PROMPTS, settings)} == {
        (True, 0, "")
    }
    assert {(g.stopped, g.tokens) for g in generate_outputs(talks, tiny_tokenizer, PROMPTS, settings)} == {(False, 6)}


def test_the_model_keeps_its_own_generation_settings(make_tiny_llama, tiny_tokenizer):
    model = make_tiny_llama()
    model.generation_config.temperature = 0.3
    model.generation_config.do_sample = True
    shipped = model.generation_config
    first = generate_outputs(model, tiny_tokenizer, PROMPTS, EvaluationSettings(1, 5))
    assert first == generate_outputs(model, tiny_tokenizer, PROMPTS, EvaluationSettings(1, 5))
    assert model.generation_config is shipped


def test_a_prompt_that_does_not_fit_is_refused(make_tiny_llama, tiny_tokenizer):
    with pytest.raises(EvaluationError, match=r"do not fit into the\s+256 positions"):
        generate_outputs(make_tiny_llama(), tiny_tokenizer, PROMPTS, EvaluationSettings(1, 255))


def test_scores_equal_sacrebleu_called_directly():
    texts = ["the cat sat on the mat", "a dog runs"]
    references = ["the cat sat on a mat", "the dog runs"]
    scores, notes = compute_scores({"whole output": texts}, references, **SIGNED)
    by_name = {s.metric: s for s in scores}
    assert by_name["BLEU"].value == sacrebleu.corpus_bleu(texts, [references]).score
    assert by_name["chrF++"].value == sacrebleu.corpus_chrf(texts, [references], word_order=2).score
    assert "tok:13a" in by_name["BLEU"].signature
    assert "nw:2" in by_name["chrF++"].signature
    assert sacrebleu.__version__ in by_name["BLEU"].signature
    assert "spBLEU" not in by_name
    (note,) = notes
    assert note.startswith("spBLEU is not measured")
    assert "no network" in note


def test_spbleu_with_its_model_in_place_runs_sacrebleu_with_that_tokenizer(without_spbleu_model, tmp_path, monkeypatch):
    text = tmp_path / "text.txt"
    text.write_text("\n".join(f"the cat number {n} sat on mat {n * 7}" for n in range(200)))
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(tmp_path / "own"), vocab_size=60, hard_vocab_limit=False, minloglevel=2
    )
    monkeypatch.setenv(score.SPBLEU_MODEL_VARIABLE, str(tmp_path / "own.model"))
    scores, notes = compute_scores({"first line": ["the cat sat"]}, ["the cat sat on mat"], **SIGNED)
    assert notes == ()
    (spbleu,) = [s for s in scores if s.metric == "spBLEU"]
    assert "tok:flores101" in spbleu.signature
    assert spbleu.signature.endswith(f"spm:{hashlib.sha256((tmp_path / 'own.model').read_bytes()).hexdigest()[:12]}")
    assert not without_spbleu_model.exists()  # nothing is left where other users of sacrebleu would find it


def test_a_spbleu_model_that_is_not_there_or_broken_is_told(without_spbleu_model, tmp_path, monkeypatch):
    monkeypatch.setenv(score.SPBLEU_MODEL_VARIABLE, str(tmp_path / "nowhere.model"))
    _, (note,) = compute_scores({"first line": ["a"]}, ["a"], **SIGNED)
    assert "no file is there" in note
    (tmp_path / "broken.model").write_text("not a model")
    monkeypatch.setenv(score.SPBLEU_MODEL_VARIABLE, str(tmp_path / "broken.model"))
    _, (note,) = compute_scores({"first line": ["a"]}, ["a"], **SIGNED)
    assert "spBLEU is not measured" in note
    assert not without_spbleu_model.exists()


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (URLError(socket.gaierror(-2, "Name or service not known")), "Name or service not known"),
        (PermissionError(13, "Permission denied", str(Path.home() / "here")), "Permission denied: ~/here"),
    ],
)
def test_why_nothing_could_be_downloaded_is_told_in_words(monkeypatch, problem, words):
    import sacrebleu.tokenizers.tokenizer_spm as spm

    def fail(url, path, *_):
        raise problem

    monkeypatch.setattr(spm, "download_file", fail)
    _, (note,) = compute_scores({"first line": ["a"]}, ["a"], **SIGNED)
    assert f"could not be loaded or fetched ({words}); put" in note


def test_a_certificate_error_of_the_download_does_not_end_the_run(monkeypatch):
    import sacrebleu.tokenizers.tokenizer_spm as spm

    def leave(url, path, *_):
        raise SystemExit(1)

    monkeypatch.setattr(spm, "download_file", leave)
    scores, (note,) = compute_scores({"first line": ["a"]}, ["a"], **SIGNED)
    assert {s.metric for s in scores} == {"BLEU", "chrF++"}
    assert "spBLEU is not measured" in note


def test_one_template_in_two_languages_has_two_prompt_hashes(make_tiny_llama, tiny_tokenizer):
    settings = EvaluationSettings(1, 2)
    template = "{source_language} to {target_language}: {source}"
    hashes = {
        evaluate(make_tiny_llama(), tiny_tokenizer, CORPUS, spec, template, settings).scores[0].prompt_hash
        for spec in (SPEC, CorpusSpec("tiny.jsonl", "en", "es"), CorpusSpec("tiny.jsonl", "English", "Catalan"))
    }
    assert len(hashes) == 2  # the code and the name of one language fill the template alike


def test_unequal_or_empty_sets_are_never_scored():
    with pytest.raises(EvaluationError, match="found 1 outputs and 2 references"):
        compute_scores({"first line": ["a"]}, ["a", "b"], **SIGNED)
    with pytest.raises(EvaluationError, match="0 references"):
        compute_scores({"first line": []}, [], **SIGNED)


def test_the_two_extractions():
    text = "\n  El gat   dorm.\nEnglish: more\n"
    assert extract_whole_output(text) == "El gat dorm. English: more"
    assert extract_first_line(text) == "El gat dorm."
    assert extract_first_line(" \n ") == ""


def test_an_evaluation_signs_every_score_and_counts_stops(make_tiny_llama, tiny_tokenizer):
    events = []
    result = evaluate(
        make_tiny_llama(),
        tiny_tokenizer,
        CORPUS,
        SPEC,
        "{source}:",
        EvaluationSettings(1, 4),
        on_progress=events.append,
    )
    assert result.complete
    assert len(result.outputs) == 5
    assert {(s.metric, s.extraction) for s in result.scores} == {
        (metric, extraction) for metric in ("BLEU", "chrF++") for extraction in ("whole output", "first line")
    }
    for s in result.scores:
        assert (s.decoding, s.test_set_hash, s.sentences) == ("greedy, at most 4 new tokens, float32", "f" * 64, 5)
        assert s.prompt_hash
        assert s.signature
    assert result.stopped_share == sum(output.stopped for output in result.outputs) / 5
    assert [output.source for output in result.outputs] == PROMPTS
    assert events[-1].phase == "score"


def test_a_stopped_evaluation_has_outputs_but_no_score(make_tiny_llama, tiny_tokenizer):
    done = []
    result = evaluate(
        make_tiny_llama(),
        tiny_tokenizer,
        CORPUS,
        SPEC,
        "{source}:",
        EvaluationSettings(1, 4, batch_size=2),
        on_progress=lambda event: done.append(event.step),
        should_stop=lambda: len(done) > 1,
    )
    assert not result.complete
    assert len(result.outputs) == 2
    assert result.scores == ()
    assert result.stopped_share is None
    assert "2 of 5 sentences" in result.notes[0]


def test_outputs_of_several_runs_stand_side_by_side():
    one = [Output("a", "b", "x", True, 1), Output("c", "d", "y", True, 1)]
    other = [Output("a", "b", "p", True, 1), Output("c", "d", "q", True, 1)]
    rows = align_outputs({"one": one, "other": other})
    assert [(row.source, row.reference, row.texts) for row in rows] == [("a", "b", ("x", "p")), ("c", "d", ("y", "q"))]
    assert align_outputs({}) == ()
    with pytest.raises(EvaluationError, match="different test sets"):
        align_outputs({"one": one, "other": other[:1]})


def test_scores_that_differ_in_their_making_are_not_comparable():
    (one, *_), _ = compute_scores({"first line": ["a b c d"]}, ["a b c d"], **SIGNED)
    (same, *_), _ = compute_scores({"first line": ["a b"]}, ["a b c d"], **SIGNED)
    (beam, *_), _ = compute_scores({"first line": ["a b"]}, ["a b c d"], **SIGNED | {"decoding": "beam 4"})
    assert describe_difference(one, same) is None
    assert describe_difference(one, beam) == "not comparable: they differ in decoding"


@pytest.mark.parametrize("name", ["beams", "max_new_tokens", "batch_size"])
def test_settings_below_one_are_refused(name):
    with pytest.raises(EvaluationError, match=f"{name}: expected a whole number"):
        EvaluationSettings(**{name: 0})


def test_decoding_is_described_in_words():
    assert describe_decoding(EvaluationSettings(4, 10), "float32") == "beam 4, at most 10 new tokens, float32"
