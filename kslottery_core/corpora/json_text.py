"""JSON: one object a line, or one list of objects; flat, with a 'translation', or as Alpaca's instructions."""

import codecs
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kslottery_core.corpora.lines import NOT_UTF8, UTF8_MARK, Entry, explain_unreadable, read_lines, read_object
from kslottery_core.errors import CorpusError

INSTRUCTION, INPUT, OUTPUT = "instruction", "input", "output"
ALPACA_PROMPT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{source}\n\n"
    "### Response:"
)
"""The template of instruction data (Stanford Alpaca's, without an input).

An input follows the instruction inside {source}, under its own heading "### Input:". Alpaca's other template, for
examples with an input, says in its first sentence also that there is one; that half-sentence is left out here.
"""

_SPACE = " \t\r\n"


def read_json_lines(path: Path) -> Iterator[Entry]:
    """One entry a line; blank lines are passed over. Raises CorpusError when the file cannot be read."""
    for number, text, shown in read_lines(path):
        if text is None:
            yield Entry(number, shown, None, NOT_UTF8)
        elif text.strip():
            yield _parse_line(number, text)


def _parse_line(number: int, text: str) -> Entry:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as problem:
        return Entry(number, text, None, f"the line is not JSON ({problem})")
    return read_object(number, text, content)


def begins_with_a_list(path: Path) -> bool:
    """Whether the first character that is no space opens a JSON list. Raises CorpusError."""
    try:
        with path.open("rb") as file:
            start = file.read(len(UTF8_MARK))
            start = start if start != UTF8_MARK else b""
            while not start.strip() and (more := file.read(4096)):
                start = more
            return start.lstrip().startswith(b"[")
    except (OSError, ValueError) as problem:
        raise explain_unreadable(path, problem) from None


def read_json_list(path: Path) -> Iterator[Entry]:
    """One entry an element of the list that the file holds; `line` is where the element begins.

    Raises CorpusError for text that is not UTF-8 or breaks as JSON: what follows a break cannot be told apart.
    """
    try:
        content = path.read_bytes().removeprefix(UTF8_MARK)
        text, _ = codecs.utf_8_decode(content, "strict", True)
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        raise CorpusError(f"{path}: line {line}: expected UTF-8 text, found other bytes; save it as UTF-8.") from None
    except (OSError, ValueError) as problem:
        raise explain_unreadable(path, problem) from None
    decoder = json.JSONDecoder()
    position = _skip_space(text, _skip_space(text, 0) + 1)
    line, counted = 1, 0
    more = text[position : position + 1] != "]"
    position += not more
    while more:
        line += text.count("\n", counted, position)
        counted = position
        try:
            item, end = decoder.raw_decode(text, position)
            shown = text[position:end]
            position = _skip_space(text, end)
            if text[position : position + 1] not in (",", "]"):
                raise json.JSONDecodeError("Expecting ',' or ']'", text, position)
        except json.JSONDecodeError as problem:
            raise CorpusError(
                f"{path}: expected a JSON list of objects, found text that breaks at line {problem.lineno}, column "
                f"{problem.colno} ({problem.msg}); repair the file or write it again."
            ) from None
        except (ValueError, RecursionError) as problem:
            raise CorpusError(
                f"{path}: line {line}: expected a JSON object, found one that cannot be read ({problem})."
            ) from None
        yield read_object(line, shown, item)
        more = text[position] == ","
        position = _skip_space(text, position + 1)
    if text[position:].strip():
        raise CorpusError(f"{path}: expected nothing after the JSON list, found more text; take it out.")


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in _SPACE:
        position += 1
    return position


def has_instructions(fields: Mapping[str, Any]) -> bool:
    """Whether an object is an example as Alpaca writes them."""
    return INSTRUCTION in fields and OUTPUT in fields


def join_input(entry: Entry) -> Entry:
    """An Alpaca example with its input, where there is one, put below the instruction under a heading of its own."""
    if entry.fields is None:
        return entry
    instruction, given = entry.fields.get(INSTRUCTION), entry.fields.get(INPUT)
    if given is None or not isinstance(instruction, str) or (isinstance(given, str) and not given.strip()):
        return entry
    if not isinstance(given, str):
        return Entry(entry.line, entry.text, None, f"the field {INPUT!r} is not text ({type(given).__name__})")
    joined = f"{instruction.strip()}\n\n### Input:\n{given.strip()}"
    return Entry(entry.line, entry.text, {**entry.fields, INSTRUCTION: joined})
