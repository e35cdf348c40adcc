"""Files of records: frozen dataclasses read strictly from JSON, so that a wrong file fails with one clear sentence.

Kept in the standard library on purpose: the core runs on compute nodes where only torch, transformers, peft,
sacrebleu, scipy and pandas are installed.
"""

import dataclasses
import json
import os
import secrets
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from kslottery_core.errors import KSLotteryError

Record = TypeVar("Record")


def read_record(
    record_class: type[Record], mapping: Any, where: str, error: type[KSLotteryError] = KSLotteryError
) -> Record:
    """Build `record_class` from a JSON object, checking names and types; `where` names the file in messages.

    Integers are accepted where floats are expected; booleans are never accepted as numbers. Raises `error`.
    """
    if not isinstance(mapping, Mapping):
        raise error(f"{where}: expected a JSON object with the fields of a {record_class.__name__}, found {mapping!r}.")
    fields = {field.name: field for field in dataclasses.fields(record_class)}  # type: ignore[arg-type]
    unknown = sorted(set(mapping) - set(fields))
    if unknown:
        raise error(f"{where}: unknown field {unknown[0]!r}; a {record_class.__name__} has {', '.join(fields)}.")
    hints = typing.get_type_hints(record_class)
    values = {}
    for name, field in fields.items():
        if name in mapping:
            values[name] = _read_value(hints[name], mapping[name], f"{where}: field {name!r}", error)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise error(f"{where}: the field {name!r} is missing; a {record_class.__name__} needs it.")
    return record_class(**values)


def _read_value(hint: Any, value: Any, where: str, error: type[KSLotteryError]) -> Any:
    if hint is Any:
        return value
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (chosen,) = [a for a in arguments if a is not type(None)]  # records only use "X | None"
        return _read_value(chosen, value, where, error)
    if dataclasses.is_dataclass(hint):
        return read_record(typing.cast(type, hint), value, where, error)
    if origin is tuple and isinstance(value, list | tuple):
        if arguments[0] in (int, str) and all(type(item) is arguments[0] for item in value):
            return tuple(value)  # a ticket may hold a hundred thousand ids
        return tuple(_read_value(arguments[0], item, where, error) for item in value)
    if origin is dict and isinstance(value, Mapping):
        return {str(key): _read_value(arguments[1], item, where, error) for key, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    plain = origin or hint
    if isinstance(value, plain) and not (isinstance(value, bool) and plain is not bool):
        return value
    raise error(f"{where}: expected {getattr(plain, '__name__', plain)}, found {value!r}.")


def load_json(path: Path, error: type[KSLotteryError] = KSLotteryError) -> Any:
    """Parse a JSON file; a missing or broken file raises `error` with the reason."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"{path}: expected a JSON file, found no file there; check the path.") from None
    except IsADirectoryError:
        raise error(f"{path}: a folder cannot be read as JSON; give the file inside it.") from None
    except UnicodeDecodeError:
        raise error(f"{path}: the file cannot be read, it is not valid UTF-8; expected JSON, give another.") from None
    except OSError as problem:
        raise error(f"{path}: the file cannot be read ({problem}).") from None
    except RecursionError:
        raise error(
            f"{path}: expected JSON, found brackets nested too deeply to be read; write the file again."
        ) from None
    except json.JSONDecodeError as problem:
        raise error(
            f"{path}: expected JSON, found text that breaks at line {problem.lineno}, column {problem.colno} "
            f"({problem.msg}); write the file again."
        ) from None


def make_scratch_path(path: Path) -> Path:
    """A hidden name beside `path` that no other process or thread uses, to be written and then renamed to it."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file beside the target and rename it there, so that no reader ever sees half of it.

    Never makes the folder, which may have been removed on purpose. Raises OSError, and leaves what was there.
    """
    scratch = make_scratch_path(path)
    try:
        scratch.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        scratch.replace(path)
    except OSError:
        scratch.unlink(missing_ok=True)  # on a full disk every leftover takes room from what comes next
        raise


def save_json(path: Path, content: Any) -> None:
    """Write JSON as `replace_file` does, and make the folder where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def load_json_lines(path: Path) -> list[Any]:
    """The values of a file with one JSON value per line; None for a damaged line.

    A last line that is still being written is skipped. Empty where the file is missing. Raises OSError when it cannot
    be read.
    """
    try:
        *lines, last = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    values = [_parse_line(line) for line in lines]
    unfinished = _parse_line(last)
    return values if unfinished is None else [*values, unfinished]


def _parse_line(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def format_json_lines(values: Iterable[Any]) -> str:
    """One JSON value per line."""
    return "".join(json.dumps(value, ensure_ascii=False, default=float) + "\n" for value in values)


def append_json_line(path: Path, value: Any) -> None:
    """Add one line. Raises OSError."""
    with path.open("a", encoding="utf-8") as file:
        file.write(format_json_lines([value]))


def drop_torn_line(path: Path) -> None:
    """Cut off a last line that a killed process left unfinished: the next one would be glued to it. Raises OSError."""
    if path.exists():
        whole = path.read_bytes().rfind(b"\n") + 1
        if whole < path.stat().st_size:
            os.truncate(path, whole)
