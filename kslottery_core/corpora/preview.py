"""A first look at a text: its format, its columns, which of them hold the two sides, and what its lines give."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from kslottery_core.corpora.formats import FORMATS, find_path, open_text
from kslottery_core.corpora.json_text import ALPACA_PROMPT, INSTRUCTION, OUTPUT
from kslottery_core.corpora.languages import match_language
from kslottery_core.corpora.pairs import CorpusCounts, CorpusSpec, Rejection, SentencePair
from kslottery_core.corpora.prompts import name_language
from kslottery_core.corpora.text import Gathering
from kslottery_core.errors import CorpusError

PREVIEW_LINES = 1000
_SIDE_NAMES = (("source", "src", "input", "question", "prompt"), ("target", "tgt", "output", "answer", "completion"))


@dataclass(frozen=True)
class CorpusPreview:
    """What the first lines of a text show.

    `format` is a key of `formats.FORMATS`. `columns` are the columns or languages found, in their order;
    `source_column` and `target_column` those that hold the two sides, None where none can be told. `pairs` are the
    first pairs with their `lines`, `counts` and `rejected` belong to the lines that were read (`complete`: to all of
    them). `prompt` is the template that the text brings with it, as instruction data does.
    """

    format: str
    columns: tuple[str, ...]
    source_column: str | None
    target_column: str | None
    pairs: tuple[SentencePair, ...]
    lines: tuple[int, ...]
    counts: CorpusCounts
    rejected: tuple[Rejection, ...]
    complete: bool
    prompt: str | None = None

    @property
    def format_name(self) -> str:
        """The format in words."""
        return FORMATS[self.format]


def preview_corpus(spec: CorpusSpec, rows: int = 5) -> CorpusPreview:
    """Read the first lines (at most PREVIEW_LINES) with the spec's filters, whatever their columns are called.

    Columns that the spec names, or that are called as its languages, are taken as they are; otherwise they are
    proposed by language code (en-US, eng_Latn), language name or usual names (src, tgt). Unlike `load_corpus`, this
    takes a text without such columns or with too many rejected lines and shows them. Raises CorpusError when the text
    cannot be read or holds no line.
    """
    if rows < 1:
        raise CorpusError(f"rows: expected a whole number of at least 1, found {rows!r}.")
    opened = open_text(spec, check_columns=False)
    seen = list(itertools.islice(opened.entries, PREVIEW_LINES + 1))
    complete, seen = len(seen) <= PREVIEW_LINES, seen[:PREVIEW_LINES]
    if not seen:
        raise CorpusError(f"{find_path(spec)}: expected at least one line of text, found none; fill the file.")
    found = tuple(dict.fromkeys(name for entry in seen for name in entry.fields or ()))
    if opened.format == "alpaca":
        columns: tuple[str | None, str | None] = (INSTRUCTION, OUTPUT)
    else:
        columns = _propose_columns(spec, found)
    names = (columns[0] or spec.source_name, columns[1] or spec.target_name)
    gathered = Gathering(spec, opened.format, names)
    for entry in seen:
        gathered.take(entry)
        if len(gathered.pairs) == spec.limit:
            break
    return CorpusPreview(
        opened.format,
        opened.columns or found,
        columns[0],
        columns[1],
        tuple(gathered.pairs[:rows]),
        tuple(gathered.lines[:rows]),
        gathered.counts,
        tuple(gathered.rejected),
        complete,
        ALPACA_PROMPT if opened.format == "alpaca" else None,
    )


def _propose_columns(spec: CorpusSpec, found: Iterable[str]) -> tuple[str | None, str | None]:
    source = _propose_column(spec.source_name, spec.source_column is not None, _SIDE_NAMES[0], found)
    rest = [name for name in found if name != source]
    return source, _propose_column(spec.target_name, spec.target_column is not None, _SIDE_NAMES[1], rest)


def _propose_column(wanted: str, is_named: bool, usual: Iterable[str], found: Iterable[str]) -> str | None:
    """A column that the person named is only ever itself."""
    names = [name for name in found if isinstance(name, str)]
    if is_named or wanted in names:
        return wanted if wanted in names else None
    by_code = match_language(wanted, names)
    if by_code:
        return by_code[0]
    lower = {name.strip().lower(): name for name in reversed(names)}
    return next((lower[name] for name in (name_language(wanted).lower(), *usual) if name in lower), None)
