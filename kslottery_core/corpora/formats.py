"""Which format a text is in, and its lines in that format."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kslottery_core.corpora.datasets_package import HUB_PREFIX, is_saved_dataset, read_dataset
from kslottery_core.corpora.flores import find_flores_file, find_flores_folder, list_flores_languages
from kslottery_core.corpora.json_text import (
    begins_with_a_list,
    has_instructions,
    join_input,
    read_json_lines,
    read_json_list,
)
from kslottery_core.corpora.lines import Entry, explain_unreadable, read_aligned
from kslottery_core.corpora.pairs import CorpusSpec
from kslottery_core.corpora.tables import read_table
from kslottery_core.corpora.tmx import read_tmx
from kslottery_core.errors import CorpusError

FORMATS = {
    "jsonl": "JSON, one object a line",
    "json": "a JSON list of objects",
    "alpaca": "instructions as Alpaca writes them",
    "csv": "a comma-separated table",
    "tsv": "a tab-separated table",
    "aligned": "two files, aligned line by line",
    "tmx": "TMX",
    "flores": "a folder of FLORES",
    "datasets": "a data set of the package datasets",
}
_JSON_LINE_ENDINGS = frozenset({".jsonl", ".ndjson"})
_TABLE_DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class OpenText:
    """A text whose lines can be read once: its `format` (see FORMATS) and all `columns` where they are known."""

    format: str
    entries: Iterator[Entry]
    columns: tuple[str, ...] = ()


def find_path(spec: CorpusSpec) -> Path:
    """The spec's path with ~ written out. Raises CorpusError when that home folder is not known."""
    try:
        return Path(spec.path).expanduser()
    except RuntimeError:
        raise CorpusError(
            f"{spec.path}: expected a path, found a home folder that is not known; write it out."
        ) from None


def open_text(spec: CorpusSpec, *, check_columns: bool = True) -> OpenText:
    """Recognise the format by name and content, without holding the text in memory (a JSON list is held).

    Blank lines are passed over, except in line-aligned files, where they keep the two sides in step. With
    `check_columns` a table must have the spec's columns in its header. Raises CorpusError when the text cannot be read.
    """
    path = find_path(spec)
    opened = _open(spec, path, check_columns)
    if spec.split is not None and opened.format not in ("flores", "datasets"):
        raise CorpusError(f"split: only FLORES and data sets have splits, {path} has none; leave {spec.split!r} out.")
    if spec.subset is not None and not spec.path.startswith(HUB_PREFIX):
        raise CorpusError(
            f"subset: only a data set on the hub has subsets, {path} has none; leave {spec.subset!r} out."
        )
    return _recognise_instructions(spec, opened) if opened.format in ("jsonl", "json", "datasets") else opened


def _open(spec: CorpusSpec, path: Path, check_columns: bool) -> OpenText:
    names = (spec.source_name, spec.target_name)
    if spec.path.startswith(HUB_PREFIX):
        return OpenText("datasets", read_dataset(spec.path, spec.subset, spec.split))
    try:
        if path.is_dir():
            return _open_folder(spec, path)
    except (OSError, ValueError) as problem:  # a name too long, or with a NUL
        raise explain_unreadable(path, problem) from None
    ending = path.suffix.lower()
    if ending in _JSON_LINE_ENDINGS:
        return OpenText("jsonl", read_json_lines(path))
    if ending == ".json":
        is_list = begins_with_a_list(path)
        return OpenText("json" if is_list else "jsonl", read_json_list(path) if is_list else read_json_lines(path))
    if ending in _TABLE_DELIMITERS:
        return OpenText(ending[1:], read_table(path, _TABLE_DELIMITERS[ending], names if check_columns else ()))
    if ending == ".tmx":
        return OpenText("tmx", read_tmx(path))
    if path.suffix in {f".{name}" for name in names}:
        sides = (path.with_suffix(f".{names[0]}"), path.with_suffix(f".{names[1]}"))
        return OpenText("aligned", read_aligned(sides, names), names)
    raise CorpusError(
        f"{path}: expected a file that ends in .jsonl, .csv or .tsv, or in .{names[0]} with its other side in a file "
        f"beside it that ends in .{names[1]}, or in .json or .tmx, or a folder of FLORES, found {path.name!r}; rename "
        "or convert it."
    )


def _open_folder(spec: CorpusSpec, folder: Path) -> OpenText:
    if is_saved_dataset(folder):
        return OpenText("datasets", read_dataset(str(folder), None, spec.split))
    flores = find_flores_folder(folder, spec.split)
    if flores is None:
        raise CorpusError(
            f"{folder}: expected a file of parallel text, or a folder of FLORES or of the package datasets, found a "
            "folder that is neither; give a file inside it."
        )
    names = (spec.source_name, spec.target_name)
    sides = (find_flores_file(*flores, names[0]), find_flores_file(*flores, names[1]))
    if sides[0] == sides[1]:
        raise CorpusError(f"{folder}: expected two languages, found {names[0]!r} and {names[1]!r} for the same file.")
    return OpenText("flores", read_aligned(sides, names), tuple(list_flores_languages(*flores)))


def _recognise_instructions(spec: CorpusSpec, opened: OpenText) -> OpenText:
    """Alpaca's examples are told by their fields, unless the person named columns or the languages are fields too."""
    seen = []
    for entry in opened.entries:
        seen.append(entry)
        if entry.fields is not None or len(seen) >= 100:
            break
    entries = itertools.chain(seen, opened.entries)
    fields = seen[-1].fields if seen else None
    named = spec.source_column is not None or spec.target_column is not None
    if fields is None or named or {spec.source, spec.target} & set(fields) or not has_instructions(fields):
        return OpenText(opened.format, entries)
    return OpenText("alpaca", map(join_input, entries))
