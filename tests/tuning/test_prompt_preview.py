"""The shown example is the one that training reads."""

from types import SimpleNamespace

import pytest

from kslottery_core.corpora import DEFAULT_PROMPT, CorpusSpec, SentencePair
from kslottery_core.errors import CorpusError, TuningError
from kslottery_core.tuning import preview_prompt
from kslottery_core.tuning.dataset import IGNORED, encode_examples

PAIR = SentencePair("the cat", "a bird")
SPEC = CorpusSpec("x.jsonl")


def test_the_learned_tokens_are_those_that_the_loss_counts(tiny_tokenizer):
    shown = preview_prompt(tiny_tokenizer, PAIR, SPEC, DEFAULT_PROMPT)
    example = encode_examples(tiny_tokenizer, [PAIR], SPEC, DEFAULT_PROMPT, 4096)[0]
    assert list(shown.token_ids) == example["input_ids"]
    assert [label == IGNORED for label in example["labels"]] == [
        position < shown.prompt_length for position in range(len(shown.token_ids))
    ]
    assert shown.labels[-1] == "</s>"
    assert len(shown.labels) == len(shown.token_ids)
    text = "".join(shown.labels[: shown.prompt_length]).replace("␣", " ").replace("↵", "\n")
    assert text.replace("<unk>", "") in shown.prompt or "<unk>" in text
    assert "".join(shown.labels[shown.prompt_length : -1]) == "␣a␣bird"


def test_bad_templates_and_tokenizers_are_one_clear_error(tiny_tokenizer):
    with pytest.raises(CorpusError, match="add {source}".replace("{", r"\{")):
        preview_prompt(tiny_tokenizer, PAIR, SPEC, "Translate:")
    with pytest.raises(TuningError, match="expected an end-of-sequence token"):
        preview_prompt(SimpleNamespace(eos_token_id=None), PAIR, SPEC, DEFAULT_PROMPT)
