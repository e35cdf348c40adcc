"""TMX translation memories, read unit by unit with the standard library's expat parser."""

import re
from collections.abc import Iterator
from pathlib import Path
from xml.parsers import expat

from kslottery_core.corpora.lines import Entry, explain_unreadable
from kslottery_core.errors import CorpusError

CHUNK_BYTES = 1 << 16
CODE_ELEMENTS = frozenset({"bpt", "ept", "it", "ph", "ut"})  # native formatting codes, which are no text
_LINE_BREAK = re.compile(r"\s*[\r\n]\s*")


def read_tmx(path: Path) -> Iterator[Entry]:
    """One entry a translation unit (`tu`): its segments by the language code that the file writes.

    `line` is where the unit begins. Of several variants in one language code the first counts. A line break in a
    segment, which XML editors put in, becomes a space. Raises CorpusError for text that is not XML or TMX, and for a
    file that declares entities: such declarations can blow a small file up to gigabytes or reach for other files.
    """
    reader = _UnitReader(path)
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                reader.parse(chunk)
                yield from reader.take_units()
            reader.parse(b"", last=True)
            yield from reader.take_units()
    except (OSError, ValueError, LookupError) as problem:  # an encoding that expat or Python does not know is a lookup
        raise explain_unreadable(path, problem) from None


class _UnitReader:
    """Gathers the units that lie between two calls of `take_units`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._units: list[Entry] = []
        self._is_inside = False  # the outermost element
        self._code_depth = 0  # how many code elements are around the current position
        self._line = 0
        self._languages: dict[str, str] = {}
        self._language: str | None = None
        self._text: list[str] | None = None
        self._fault: str | None = None
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._take_text
        self._parser.EntityDeclHandler = self._refuse_entity
        self._parser.SkippedEntityHandler = self._note_unknown_entity

    def parse(self, chunk: bytes, last: bool = False) -> None:
        try:
            self._parser.Parse(chunk, last)
        except expat.ExpatError as problem:
            raise CorpusError(
                f"{self._path}: expected TMX, found XML that breaks at line {problem.lineno}, column {problem.offset} "
                f"({expat.ErrorString(problem.code)}); repair the file or export it again."
            ) from None

    def take_units(self) -> list[Entry]:
        taken, self._units = self._units, []
        return taken

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._is_inside and name != "tmx":
            raise CorpusError(f"{self._path}: expected TMX (its outermost element is 'tmx'), found {name!r}.")
        self._is_inside = True
        self._code_depth += name in CODE_ELEMENTS
        if name == "tu":
            self._line, self._languages, self._fault = self._parser.CurrentLineNumber, {}, None
        elif name == "tuv":
            self._language = attributes.get("xml:lang") or attributes.get("lang")
            if self._language is None:
                self._fault = "a variant of the unit names no language"
        elif name == "seg":
            self._text = []

    def _end(self, name: str) -> None:
        self._code_depth -= name in CODE_ELEMENTS
        if name == "seg":
            if self._language is not None and self._text is not None:
                self._languages.setdefault(self._language, _LINE_BREAK.sub(" ", "".join(self._text)))
            self._text = None
        elif name == "tuv":
            self._language = None
        elif name == "tu":
            shown = " | ".join(f"{code}: {text}" for code, text in self._languages.items())
            fields = dict(self._languages) if self._fault is None else None
            self._units.append(Entry(self._line, shown, fields, self._fault))

    def _take_text(self, text: str) -> None:
        # What is inside a code element is mark-up of another format; `sub` in it may hold text, which is left out too.
        if self._text is not None and not self._code_depth:
            self._text.append(text)

    def _refuse_entity(self, name: str, *_: object) -> None:
        raise CorpusError(
            f"{self._path}: line {self._parser.CurrentLineNumber}: expected TMX without entity declarations, found one "
            f"of {name!r}; they can blow a file up or reach for other files, so write the text out."
        )

    def _note_unknown_entity(self, name: str, is_parameter: bool) -> None:
        if not is_parameter:
            self._fault = f"the entity {name!r} is not defined"
