"""The demo's base model: a small Llama that has seen tagged lines in five languages, and nothing of an instruction.

Its text is pages of "en: ..." and "ca: ..." lines, so it can translate after such a tag. It has met the words of the
instruction in plain English sentences, but never an instruction to follow, and no page it saw ended after one line.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kslottery_core.corpora import DEFAULT_PROMPT, LANGUAGE_NAMES, fill_prompt
from kslottery_core.demo.phrases import LANGUAGES, PhraseRow
from kslottery_core.progress import OnProgress, ProgressEvent, never_stop
from kslottery_core.tuning import TuningSettings
from kslottery_core.tuning.dataset import Examples
from kslottery_core.tuning.training import train

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

END_TOKEN = "</s>"
TARGETS = tuple(language for language in LANGUAGES if language != "en")


@dataclass(frozen=True)
class DemoSize:
    """How large the demo's model and its pretraining are. `sequence_length` in tokens, `batch_size` in sequences."""

    vocabulary_size: int
    width: int
    layers: int
    heads: int
    inner_width: int
    steps: int
    batch_size: int
    sequence_length: int
    learning_rate: float


FULL_SIZE = DemoSize(2048, 128, 4, 4, 352, steps=2000, batch_size=32, sequence_length=96, learning_rate=4e-3)
QUICK_SIZE = DemoSize(512, 16, 1, 2, 32, steps=3, batch_size=4, sequence_length=64, learning_rate=4e-3)


def write_language_lines(generator: random.Random) -> str:
    """One plain English sentence about languages, so that no word of the instruction is new to the model."""
    names = [LANGUAGE_NAMES[language] for language in LANGUAGES]
    one, other = generator.sample(names, 2)
    person = generator.choice(["student", "teacher", "friend", "doctor", "woman", "boy"])
    return generator.choice(
        [
            f"The {person} reads a sentence in {one}.",
            f"The following sentence is from a {one} book.",
            f"The {person} writes to a friend in {one}.",
            f"My {person} can translate from {one} to {other}.",
            f"Translate is a word in {one}: the {person} reads it.",
            f"The {person} is from a {one} town, and the following book is {other}.",
        ]
    )


def write_pages(rows: Sequence[PhraseRow], generator: random.Random) -> Iterator[str]:
    """Pages of tagged lines, without end: mostly an English sentence and one translation, now and then English alone.

    A page ends with the end token, so that the output head knows it; after how many lines cannot be foretold.
    """
    while True:
        shuffled = generator.sample(list(rows), len(rows))
        while shuffled:
            lines = []
            for _ in range(min(generator.randint(3, 8), len(shuffled))):
                row, language = shuffled.pop(), generator.choice(TARGETS)
                lines += [f"en: {row.en}", f"{language}: {getattr(row, language)}"]
                if generator.random() < 0.1:
                    lines.append(f"en: {write_language_lines(generator)}")
            yield "\n".join(lines) + END_TOKEN


def train_tokenizer(rows: Sequence[PhraseRow], size: DemoSize, seed: int) -> Any:
    """A byte-level BPE tokenizer of the demo's text and the words of the instruction."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    generator = random.Random(seed)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    pages = write_pages(rows, generator)
    text = [next(pages).removesuffix(END_TOKEN) for _ in range(len(rows))]
    text += [
        fill_prompt(DEFAULT_PROMPT, source=row.en, source_language="en", target_language=generator.choice(TARGETS))
        for row in rows
    ]
    trainer = trainers.BpeTrainer(
        vocab_size=size.vocabulary_size,
        special_tokens=["<pad>", "<s>", END_TOKEN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token=END_TOKEN, pad_token="<pad>", model_max_length=512
    )


def pack_pages(rows: Sequence[PhraseRow], tokenizer: Any, size: DemoSize, seed: int) -> Examples:
    """Pages one after the other, cut into sequences of equal length, every token in the loss."""
    needed = size.steps * size.batch_size * size.sequence_length
    token_ids: list[int] = []
    for page in write_pages(rows, random.Random(seed)):
        token_ids += tokenizer(page)["input_ids"]
        if len(token_ids) >= needed:
            break
    cuts = range(0, needed, size.sequence_length)
    items = [token_ids[start : start + size.sequence_length] for start in cuts]
    return Examples(tuple({"input_ids": ids, "labels": ids} for ids in items), 0, needed)


def pretrain(
    rows: Sequence[PhraseRow], size: DemoSize, folder: Path, *, seed: int, on_progress: OnProgress
) -> "tuple[LlamaForCausalLM, Any]":
    """Train the base model from scratch, with untied embeddings. Returns model and tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = train_tokenizer(rows, size, seed)
    on_progress(ProgressEvent("load", 1, 1, message="tokenizer trained"))
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=size.width,
            intermediate_size=size.inner_width,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            num_key_value_heads=size.heads,
            max_position_embeddings=512,
            tie_word_embeddings=False,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    settings = TuningSettings(
        learning_rate=size.learning_rate, max_steps=size.steps, batch_size=size.batch_size, warmup_share=0.1, seed=seed
    )
    train(
        model,
        pack_pages(rows, tokenizer, size, seed),
        settings,
        padding_id=tokenizer.pad_token_id,
        device="cpu",
        autocast=False,
        folder=folder,
        on_progress=on_progress,
        should_stop=never_stop,
    )
    return model.eval(), tokenizer
