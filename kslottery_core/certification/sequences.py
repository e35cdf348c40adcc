"""The token sequences on which both models are compared: prompts with their reference translations, and with what the
embedding-tuned model itself writes after them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from kslottery_core.certification.certificate import OUTPUT, REFERENCE
from kslottery_core.corpora import Corpus, CorpusSpec, fill_prompt
from kslottery_core.errors import CertificationError
from kslottery_core.progress import OnProgress, ProgressEvent, ShouldStop

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class EncodedSentence:
    """A prompt as the model reads it before it generates, and the prompt with its reference and end token.

    `whole_ids[reference_start:]` are the tokens to be predicted; the first of them may differ from what follows
    `prompt_ids` where prompt and reference share a token.
    """

    prompt_ids: tuple[int, ...]
    whole_ids: tuple[int, ...]
    reference_start: int


def encode_sentences(tokenizer: Any, corpus: Corpus, spec: CorpusSpec, prompt: str) -> list[EncodedSentence]:
    """Encode every pair as tuning does: prompt, a space, the reference and an end token as one text.

    Raises CertificationError without an end token, CorpusError for a template that cannot be filled in.
    """
    if tokenizer.eos_token_id is None:
        raise CertificationError(
            "tokenizer: expected an end-of-sequence token, whose prediction is certified too, found none; set "
            "eos_token in its tokenizer_config.json."
        )
    encoded = []
    for pair in corpus.pairs:
        text = fill_prompt(prompt, source=pair.source, source_language=spec.source, target_language=spec.target)
        prompt_ids = _drop_end(tokenizer, tokenizer(text)["input_ids"])
        whole_ids = [*_drop_end(tokenizer, tokenizer(f"{text} {pair.target}")["input_ids"]), tokenizer.eos_token_id]
        common = next(
            (at for at, (one, other) in enumerate(zip(prompt_ids, whole_ids, strict=False)) if one != other),
            min(len(prompt_ids), len(whole_ids)),
        )
        # The first prediction needs a token before it, even where a tokenizer joins the whole prompt with its text.
        encoded.append(EncodedSentence(tuple(prompt_ids), tuple(whole_ids), max(common, 1)))
    return encoded


def _drop_end(tokenizer: Any, token_ids: list[int]) -> list[int]:
    return token_ids[:-1] if len(token_ids) > 1 and token_ids[-1] == tokenizer.eos_token_id else token_ids


def check_same_encoding(
    sentences: Sequence[EncodedSentence], others: Sequence[EncodedSentence], before: str, after: str
) -> None:
    """Raise CertificationError where the tokenizers of the two checkpoints split the text differently."""
    for number, (one, other) in enumerate(zip(others, sentences, strict=True), start=1):
        if one != other:
            count = sum(first != second for first, second in zip(others, sentences, strict=True))
            raise CertificationError(
                f"Expected tokenizers that split the text alike, found that sentence {number} has {len(one.whole_ids)} "
                f"tokens in {before} and {len(other.whole_ids)} in {after}, not the same ones ({count:,} of "
                f"{len(sentences):,} sentences differ); copy the tokenizer files of one to the other."
            )


def check_lengths(
    model: "PreTrainedModel", sentences: Sequence[EncodedSentence], max_new_tokens: int, vocabulary_size: int
) -> None:
    """Raise CertificationError for a sentence that the model's positions cannot hold, or a token without a row."""
    highest = max(max(sentence.whole_ids) for sentence in sentences)
    if highest >= vocabulary_size:
        raise CertificationError(
            f"tokenizer: expected token ids from 0 to {vocabulary_size - 1}, found {highest}; it belongs to another "
            "model."
        )
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if positions is None:
        return
    for number, sentence in enumerate(sentences, start=1):
        if len(sentence.whole_ids) > positions:
            raise CertificationError(
                f"sentence {number}: prompt and reference translation have {len(sentence.whole_ids):,} tokens, the "
                f"model allows {positions:,}; shorten the sentence or the prompt, or remove it with a length filter."
            )
        if len(sentence.prompt_ids) + max_new_tokens > positions:
            raise CertificationError(
                f"sentence {number}: a prompt of {len(sentence.prompt_ids):,} tokens and {max_new_tokens:,} new ones "
                f"do not fit into the {positions:,} positions of this model; lower max_new_tokens or shorten "
                "the prompt."
            )


def compute_inputs_fingerprint(sentences: Sequence[EncodedSentence]) -> str:
    """SHA-256 (hex) of the token ids of every prompt and reference, in order."""
    digest = hashlib.sha256()
    for sentence in sentences:
        digest.update(json.dumps([sentence.prompt_ids, sentence.whole_ids]).encode() + b"\n")
    return digest.hexdigest()


@dataclass(frozen=True)
class ReferenceOutput:
    """Tokens that the model wrote after a prompt, including its end token where it ended the output itself."""

    token_ids: tuple[int, ...]
    ended: bool


def generate_reference_outputs(
    model: "PreTrainedModel",
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    batch_size: int,
    on_progress: OnProgress,
    should_stop: ShouldStop,
) -> list[ReferenceOutput] | None:
    """Greedy outputs in the order of the prompts (token ids); None when stopped, which is possible after every token.
    Prompts of similar length share a batch. The model's own settings for generation (sampling, penalties) are not
    used, except for its end tokens."""
    import torch
    from transformers import GenerationConfig, StoppingCriteriaList

    stopped = False

    def hear_stop(written: "torch.Tensor", _scores: Any, **_how: Any) -> "torch.Tensor":
        nonlocal stopped
        stopped = stopped or should_stop()
        return torch.full((len(written),), stopped, dtype=torch.bool, device=written.device)

    shipped = model.generation_config
    end_ids = _list_end_ids(shipped, tokenizer)
    greedy = GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=max_new_tokens,
        eos_token_id=end_ids,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    outputs: dict[int, ReferenceOutput] = {}
    model.generation_config = greedy
    try:
        for start in range(0, len(order), batch_size):
            if should_stop():
                return None
            chosen = order[start : start + batch_size]
            longest = max(len(prompts[number]) for number in chosen)
            filler = [longest - len(prompts[number]) for number in chosen]
            padded = [[tokenizer.pad_token_id] * n + list(prompts[i]) for n, i in zip(filler, chosen, strict=True)]
            mask = [[0] * n + [1] * (longest - n) for n in filler]
            with torch.inference_mode():
                written = cast(Any, model).generate(
                    input_ids=torch.tensor(padded, device=model.device),
                    attention_mask=torch.tensor(mask, device=model.device),
                    generation_config=greedy,
                    stopping_criteria=StoppingCriteriaList([hear_stop]),
                )
            if stopped:
                return None
            for number, row in zip(chosen, written[:, longest:].tolist(), strict=True):
                outputs[number] = _cut_at_end(row, end_ids)
            on_progress(ProgressEvent("generate", len(outputs), len(prompts)))
    finally:
        model.generation_config = shipped
    return [outputs[number] for number in range(len(prompts))]


def _list_end_ids(shipped: Any, tokenizer: Any) -> list[int]:
    named = getattr(shipped, "eos_token_id", None)
    several = named if isinstance(named, list) else [named]
    return sorted({token_id for token_id in (*several, tokenizer.eos_token_id) if token_id is not None})


def _cut_at_end(token_ids: list[int], end_ids: list[int]) -> ReferenceOutput:
    for position, token_id in enumerate(token_ids):
        if token_id in end_ids:
            return ReferenceOutput(tuple(token_ids[: position + 1]), True)
    return ReferenceOutput(tuple(token_ids), False)


@dataclass(frozen=True)
class SequenceUse:
    """What a sequence is used for: as the "reference" or the "output" of a sentence, from position `start` on."""

    text: str
    sentence: int
    start: int


@dataclass(frozen=True)
class InputSequence:
    """Distinct token ids (T,) of one forward pass, and every use of it: if the model writes the reference word for
    word, both texts are one sequence."""

    token_ids: tuple[int, ...]
    uses: tuple[SequenceUse, ...]

    @property
    def start(self) -> int:
        """The first position that any use predicts."""
        return min(use.start for use in self.uses)


def list_sequences(sentences: Sequence[EncodedSentence], outputs: Sequence[ReferenceOutput]) -> list[InputSequence]:
    """The distinct sequences of all references and outputs, in the order of their first use."""
    uses: dict[tuple[int, ...], list[SequenceUse]] = {}
    for number, (sentence, output) in enumerate(zip(sentences, outputs, strict=True)):
        reference = SequenceUse(REFERENCE, number, sentence.reference_start)
        uses.setdefault(sentence.whole_ids, []).append(reference)
        written = SequenceUse(OUTPUT, number, len(sentence.prompt_ids))
        uses.setdefault((*sentence.prompt_ids, *output.token_ids), []).append(written)
    return [InputSequence(token_ids, tuple(found)) for token_ids, found in uses.items()]
