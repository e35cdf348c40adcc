"""The raw strings of a tokenizer by token id, read from the lightest file that has them."""

import json
from dataclasses import dataclass
from pathlib import Path

from kslottery_core.checkpoints.quiet import keep_transformers_quiet

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
)


@dataclass(frozen=True)
class TokenTable:
    """Strings by id ("" for an id that no token has), the special ids, and why there are none if so."""

    strings: tuple[str, ...] | None = None
    special_ids: frozenset[int] = frozenset()
    note: str | None = None


def list_tokenizer_files(folder: Path) -> list[Path]:
    """The tokenizer's files that are in `folder`."""
    return [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]


def load_token_table(folder: Path | None) -> TokenTable:
    """Read the tokenizer in `folder`; a missing or broken one gives a table without strings and a note."""
    present = [] if folder is None else [path.name for path in list_tokenizer_files(folder)]
    if folder is None or not present:
        return TokenTable(note="There is no tokenizer beside the weights, so tokens are shown by their id.")
    try:
        if "tokenizer.json" in present:
            strings, special_ids = _read_fast_tokenizer(folder)
        else:
            strings, special_ids = _read_any_tokenizer(folder)
    # tokenizers and its converters raise bare Exception for broken files.
    except Exception as problem:
        reason = str(problem).strip().splitlines()[0] if str(problem).strip() else type(problem).__name__
        return TokenTable(
            note=f"The tokenizer in {folder} cannot be read ({reason[:200]}), so tokens are shown by their id."
        )
    if not strings:
        return TokenTable(note=f"The tokenizer in {folder} holds no tokens, so tokens are shown by their id.")
    return TokenTable(_order_by_id(strings), frozenset(special_ids))


def _order_by_id(strings: dict[int, str]) -> tuple[str, ...]:
    return tuple(strings.get(token_id, "") for token_id in range(max(strings) + 1))


def _read_fast_tokenizer(folder: Path) -> tuple[dict[int, str], set[int]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = tokenizer.get_vocab(with_added_tokens=True)
    special = {token_id for token_id, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    special |= {ids[token] for token in _read_named_special_tokens(folder) if token in ids}
    return {token_id: token for token, token_id in ids.items()}, special


def _read_named_special_tokens(folder: Path) -> set[str]:
    """Tokens that the configuration gives a role (bos_token, ...), which tokenizer.json need not mark special."""
    named = set()
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        try:
            settings = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        for key, value in settings.items() if isinstance(settings, dict) else ():
            token = value.get("content") if isinstance(value, dict) else value
            if key.endswith("_token") and isinstance(token, str):
                named.add(token)
    return named


def _read_any_tokenizer(folder: Path) -> tuple[dict[int, str], set[int]]:
    with keep_transformers_quiet():
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        ids = tokenizer.get_vocab()
        special = set(tokenizer.all_special_ids)
    return {token_id: token for token, token_id in ids.items()}, special
