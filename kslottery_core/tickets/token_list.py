"""Tickets of tokens that a person names: a typed or uploaded list, or the tokens of a prompt."""

import json
import re
from collections import Counter
from collections.abc import Sequence

from kslottery_core.checkpoints.token_strings import SPACE, VISIBLE
from kslottery_core.errors import TicketError
from kslottery_core.tickets.ticket import Ticket

_ITEM = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|([^,\n]*))\s*(?:[,\n]|$)')
_NUMBER = re.compile(r"\d+")
_RANGE = re.compile(r"(\d+)\s*[-–]\s*(\d+)")
_NUMBERS = re.compile(r"(?:\d+(?:[-–]\d+)?)(?:\s+\d+(?:[-–]\d+)?)+")
_NAMED_IDS = 5


def parse_token_list(text: str, vocabulary_size: int, tokens: Sequence[str] = ()) -> tuple[int, ...]:
    """The token ids that a text such as `13, 29871, 5-9, "␣the"` names, ascending.

    Items stand between commas or line ends: an id, a range with both ends, or a token as its label shows it, in quotes
    where it is a number or holds a comma (as JSON: a line break is "\\n"); a space may be typed for ␣. A JSON list of
    ids and tokens is the same. `tokens` are labels of the whole vocabulary, (V,). Raises TicketError for an id outside
    0 .. V - 1, an id named twice, a token that does not exist or that several ids share, or an empty list.
    """
    ids: list[int] = []
    for item in _split(text):
        if isinstance(item, int):
            ids.append(_check_id(item, vocabulary_size))
        elif isinstance(item, range):
            _check_id(item.stop - 1, vocabulary_size)
            ids += item
        else:
            ids.append(_find_token(item, tokens))
    if not ids:
        raise TicketError("token list: expected at least one id or token, found none; write them as 13, 29871, 5-9.")
    repeated = [token_id for token_id, times in Counter(ids).items() if times > 1]
    if repeated:
        raise TicketError(
            f"token list: expected every token once, found the id {repeated[0]} {ids.count(repeated[0])} times; "
            "take it out."
        )
    return tuple(sorted(ids))


def create_prompt_ticket(
    token_ids: Sequence[int], vocabulary_size: int, *, prompt_hash: str, tokens: Sequence[str] = ()
) -> Ticket:
    """The tokens of a prompt template, as `corpora.list_prompt_tokens` gives them.

    `tokens` are labels of the whole vocabulary, (V,). Raises TicketError for ids that the vocabulary does not have.
    """
    ids = tuple(sorted(set(token_ids)))
    labels = tuple(tokens[token_id] for token_id in ids) if tokens and ids and ids[-1] < len(tokens) else ()
    note = f"Tokens of the prompt template {prompt_hash}, without those of the sentence in it."
    return Ticket(ids, vocabulary_size, "prompt", tokens=labels, note=note)


def _split(text: str) -> list[int | range | str]:
    if text.lstrip().startswith("["):
        try:
            content = json.loads(text)
        except ValueError:
            content = None  # an opening bracket is a token too
        if isinstance(content, list):
            wrong = next((item for item in content if type(item) not in (int, str)), None)
            if wrong is not None:
                raise TicketError(f"token list: expected ids and tokens in the JSON list, found {wrong!r}; correct it.")
            return content
    items: list[int | range | str] = []
    for match in _ITEM.finditer(text):
        quoted, plain = match[1], (match[2] or "").strip()
        if quoted is not None:
            items.append(_read_quoted(quoted))
        elif plain:
            items += [_read_plain(part) for part in (plain.split() if _NUMBERS.fullmatch(plain) else [plain])]
    return items


def _read_quoted(quoted: str) -> str:
    try:
        return json.loads(quoted)
    except ValueError:
        raise TicketError(
            f"token list: expected a token in quotes as JSON writes it, found {quoted}; write a backslash as \\\\."
        ) from None


def _read_plain(item: str) -> int | range | str:
    if _NUMBER.fullmatch(item):
        return int(item[:20])  # longer numbers are no ids, and Python refuses to read very long ones
    if (ends := _RANGE.fullmatch(item)) is None:
        return item
    first, last = int(ends[1][:20]), int(ends[2][:20])
    if first > last:
        raise TicketError(f"token list: expected a range from the smaller id to the larger, found {item}; turn it.")
    return range(first, last + 1)


def _check_id(token_id: int, vocabulary_size: int) -> int:
    if not 0 <= token_id < vocabulary_size:
        raise TicketError(
            f"token list: expected ids from 0 to {vocabulary_size - 1}, found {token_id}; correct it, or name the "
            "model that the list was made for."
        )
    return token_id


def _find_token(token: str, tokens: Sequence[str]) -> int:
    label = "".join(VISIBLE.get(character, character) for character in token)
    found = [token_id for token_id, known in enumerate(tokens) if known == label]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(map(str, found[:_NAMED_IDS])) + (", ..." if len(found) > _NAMED_IDS else "")
        raise TicketError(f"token list: expected one token {token!r}, found the ids {listed}; name the id.")
    other = next((known for known in (SPACE + label, label.removeprefix(SPACE)) if known in tokens), None)
    hint = f"there is {other!r}" if other is not None else "look tokens up with `kslottery ks` or on the Tokens page"
    raise TicketError(f"token list: expected ids, ranges such as 5-9 or tokens, found no token {token!r}; {hint}.")
