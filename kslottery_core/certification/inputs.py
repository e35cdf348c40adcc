"""Text as token ids: prompts, references, and the sequences on which predictions are held against each other."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kslottery_core.corpora import Corpus, CorpusSpec, fill_prompt
from kslottery_core.errors import CertificationError

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


@dataclass(frozen=True)
class Use:
    """Why a sequence is looked at: as the "reference" or the "output" of a sentence, from position `start` on."""

    text: str
    sentence: int
    start: int


@dataclass(frozen=True)
class InputSequence:
    """Distinct token ids (T,) of one forward pass, and every use of it: a model that writes the reference word for word
    makes both texts one sequence."""

    token_ids: tuple[int, ...]
    uses: tuple[Use, ...]

    @property
    def start(self) -> int:
        """The first position that any use predicts."""
        return min(use.start for use in self.uses)


@dataclass
class SequenceTable:
    """Gathers sequences so that equal ones are passed through the model once."""

    uses: dict[tuple[int, ...], list[Use]] = field(default_factory=dict)

    def add(self, token_ids: Sequence[int], use: Use) -> None:
        """One more use of these token ids."""
        self.uses.setdefault(tuple(token_ids), []).append(use)

    def list(self) -> list[InputSequence]:
        """The sequences in the order in which they came."""
        return [InputSequence(ids, tuple(uses)) for ids, uses in self.uses.items()]


def encode_sentences(tokenizer: Any, corpus: Corpus, spec: CorpusSpec, prompt: str) -> list[EncodedSentence]:
    """Encode prompt and reference of every pair, as a tuning reads them: one text, a space between, an end token.

    Raises CertificationError without an end token, CorpusError for a template that cannot be filled.
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
        # Something must stand before the first prediction, even where a tokenizer joins all of a prompt with its text.
        encoded.append(EncodedSentence(tuple(prompt_ids), tuple(whole_ids), max(common, 1)))
    return encoded


def _drop_end(tokenizer: Any, token_ids: list[int]) -> list[int]:
    return token_ids[:-1] if len(token_ids) > 1 and token_ids[-1] == tokenizer.eos_token_id else token_ids


def check_same_encoding(
    sentences: Sequence[EncodedSentence], others: Sequence[EncodedSentence], before: str, after: str
) -> None:
    """Raise CertificationError where the tokenizers of the two checkpoints cut the text differently."""
    for number, (one, other) in enumerate(zip(others, sentences, strict=True), start=1):
        if one != other:
            count = sum(first != second for first, second in zip(others, sentences, strict=True))
            raise CertificationError(
                f"Expected tokenizers that cut the text alike, found that sentence {number} has {len(one.whole_ids)} "
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
                f"model allows {positions:,}; shorten the sentence or the prompt, or leave it out with a length filter."
            )
        if len(sentence.prompt_ids) + max_new_tokens > positions:
            raise CertificationError(
                f"sentence {number}: a prompt of {len(sentence.prompt_ids):,} tokens and {max_new_tokens:,} new ones "
                f"do not fit into the {positions:,} positions of this model; lower max_new_tokens or cut the prompt."
            )


def compute_inputs_fingerprint(sentences: Sequence[EncodedSentence]) -> str:
    """SHA-256 (hex) of the token ids of every prompt and reference, in their order."""
    digest = hashlib.sha256()
    for sentence in sentences:
        digest.update(json.dumps([sentence.prompt_ids, sentence.whole_ids]).encode() + b"\n")
    return digest.hexdigest()
