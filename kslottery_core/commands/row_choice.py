"""Ways of choosing rows that need one model: its vocabulary, its tokenizer, and perhaps text."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kslottery_core.errors import TicketError

if TYPE_CHECKING:
    import numpy as np

    from kslottery_core.tickets import Ticket
    from kslottery_core.tuning import TokenCounting


@dataclass(frozen=True)
class RowChoice:
    """One way, the field of which is set, or the tokens of `prompt` where none is; the others are its arguments."""

    frequent: int | None = None
    random: int | None = None
    like: "Ticket | None" = None
    token_list: str | None = None
    corpora: tuple[str, ...] = ()
    source: str = "en"
    target: str = "ca"
    seed: int = 0
    prompt: str | None = None
    counted: str = "training"
    max_length: int | None = None


def read_token_list(text: str) -> str:
    """The list as typed, or for @FILE what the file holds. Raises TicketError when it cannot be read."""
    if not text.startswith("@"):
        return text
    path = Path(text[1:]).expanduser()
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or "it is not valid UTF-8"
        raise TicketError(f"{path}: expected a file with a list of tokens, which cannot be read ({reason}).") from None


def choose_rows(model: str, choice: RowChoice, *, parameter: str | None, revision: str | None) -> "Ticket":
    """The ticket; its width is the model's, so that it is refused for another. Raises KSLotteryError."""
    from kslottery_core.checkpoints import label_tokens, load_tokenizer, open_embedding
    from kslottery_core.corpora import DEFAULT_PROMPT, hash_prompt, list_prompt_tokens
    from kslottery_core.tickets import (
        create_list_ticket,
        create_prompt_ticket,
        parse_token_list,
        select_frequent_ticket,
        select_matched_ticket,
        select_random_ticket,
    )

    matrix = open_embedding(model, parameter=parameter, revision=revision)
    size, width = matrix.shape
    labels, _ = label_tokens(matrix.token_strings, matrix.special_token_ids, size)
    text = _build_counting(choice).describe(", ".join(Path(path).name for path in choice.corpora))
    if choice.random is not None:
        selected = select_random_ticket(size, choice.random, choice.seed, tokens=labels)
    elif choice.token_list is not None:
        selected = create_list_ticket(parse_token_list(choice.token_list, size, labels), size, labels)
    elif choice.frequent is not None:
        counts = _count(model, choice, size, revision)
        selected = select_frequent_ticket(counts, choice.frequent, tokens=labels, text=text)
    elif choice.like is not None:
        counts = _count(model, choice, size, revision)
        selected = select_matched_ticket(choice.like, counts, choice.seed, tokens=labels, text=text)
    else:
        template = choice.prompt or DEFAULT_PROMPT
        ids = list_prompt_tokens(
            load_tokenizer(model, revision=revision),
            template,
            source_language=choice.source,
            target_language=choice.target,
        )
        selected = create_prompt_ticket(ids, size, prompt_hash=hash_prompt(template), tokens=labels)
    return replace(selected, width=width)


def _build_counting(choice: RowChoice) -> "TokenCounting":
    from kslottery_core.corpora import DEFAULT_PROMPT, check_prompt
    from kslottery_core.tuning import TokenCounting, TuningSettings

    check_prompt(choice.prompt or DEFAULT_PROMPT)
    settings = TuningSettings() if choice.max_length is None else TuningSettings(max_length=choice.max_length)
    return TokenCounting(choice.counted, choice.prompt or DEFAULT_PROMPT, settings.max_length)


def _count(model: str, choice: RowChoice, size: int, revision: str | None) -> "np.ndarray":
    """Occurrences of every token in the texts, (V,) int64."""
    import numpy as np

    from kslottery_core.checkpoints import load_tokenizer
    from kslottery_core.corpora import CorpusSpec, load_corpus

    if not choice.corpora:
        raise TicketError("corpus: this way of choosing counts tokens in a text, found none; give --corpus FILE.")
    specs = [CorpusSpec(path, choice.source, choice.target) for path in choice.corpora]
    counting, tokenizer = _build_counting(choice), load_tokenizer(model, revision=revision)
    counts = [counting.count(tokenizer, load_corpus(spec), spec, size) for spec in specs]
    return np.sum(counts, axis=0)
