"""One training example as the model reads it: its tokens, and which of them count for the loss."""

from dataclasses import dataclass
from typing import Any

from kslottery_core.corpora import CorpusSpec, SentencePair, fill_prompt
from kslottery_core.errors import TuningError
from kslottery_core.tuning.dataset import encode_pair


@dataclass(frozen=True)
class PromptPreview:
    """Tokens of prompt, target and end token, (T,) ids and labels, before any cut to a longest length.

    The first `prompt_length` of them are the prompt, which the loss leaves out; the others are learned.
    """

    prompt: str
    token_ids: tuple[int, ...]
    labels: tuple[str, ...]
    prompt_length: int


def preview_prompt(tokenizer: Any, pair: SentencePair, spec: CorpusSpec, prompt: str) -> PromptPreview:
    """Encode one pair exactly as training does. `prompt` is the template; `spec` names the languages in it.

    Raises CorpusError for a template that cannot be filled, TuningError for a tokenizer without an end token.
    """
    from kslottery_core.checkpoints import label_tokens

    if tokenizer.eos_token_id is None:
        raise TuningError("tokenizer: expected an end-of-sequence token to learn to stop with, found none.")
    filled = fill_prompt(prompt, source=pair.source, source_language=spec.source, target_language=spec.target)
    unlimited = len(filled) + len(pair.target) + 1_000_000
    ids, prompt_length = encode_pair(tokenizer, filled, pair.target, unlimited)
    names = {token_id: token for token, token_id in tokenizer.get_vocab().items()}
    strings = [names.get(token_id, "") for token_id in range(max((*names, *ids)) + 1)]
    labels, _ = label_tokens(strings, tokenizer.all_special_ids, len(strings))
    return PromptPreview(filled, tuple(ids), tuple(labels[token_id] for token_id in ids), prompt_length)
