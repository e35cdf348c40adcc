"""A parallel text read whole: its entries gathered into pairs, every rejected line with its reason."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kslottery_core.corpora.formats import find_path, open_text
from kslottery_core.corpora.json_text import ALPACA_PROMPT, INSTRUCTION, OUTPUT
from kslottery_core.corpora.languages import match_language
from kslottery_core.corpora.lines import Entry
from kslottery_core.corpora.pairs import (
    Corpus,
    CorpusCounts,
    CorpusSpec,
    Rejection,
    SentencePair,
    compute_fingerprint,
    normalise_text,
)
from kslottery_core.errors import CorpusError

SHOWN_CHARACTERS = 200


class Gathering:
    """What has been made of the lines so far; `names` are the fields found, in the order of their appearance."""

    def __init__(self, spec: CorpusSpec, text_format: str, names: tuple[str, str] | None = None) -> None:
        self.pairs: list[SentencePair] = []
        self.lines: list[int] = []
        self.rejected: list[Rejection] = []
        self.names: dict[str, None] = {}
        self._spec = spec
        self._format = text_format
        self._names = names or (spec.source_name, spec.target_name)
        self._filtered: Counter[str] = Counter()
        self._seen: set[bytes] = set()

    @property
    def counts(self) -> CorpusCounts:
        return CorpusCounts(len(self.pairs), len(self.rejected), **self._filtered)

    @property
    def found_nothing(self) -> bool:
        """Whether every line so far was rejected."""
        return not self.pairs and not self._filtered

    def take(self, entry: Entry) -> None:
        """Sort one line in."""
        self.names.update(dict.fromkeys(entry.fields or ()))
        pair = self._read_pair(entry)
        if not isinstance(pair, SentencePair):
            self.rejected.append(Rejection(entry.line, pair, entry.text[:SHOWN_CHARACTERS]))
        elif (left_out := self._find_filter(pair)) is not None:
            self._filtered[left_out] += 1
        else:
            self.pairs.append(pair)
            self.lines.append(entry.line)

    def find_columns(self, fields: Mapping[str, Any]) -> tuple[str, str]:
        """The names under which this line holds source and target; TMX writes languages as en-US."""
        if self._format == "alpaca":
            return INSTRUCTION, OUTPUT
        if self._format != "tmx":
            return self._names
        source, target = (next(iter(match_language(name, fields)), name) for name in self._names)
        return source, target

    def _read_pair(self, entry: Entry) -> SentencePair | str:
        """The pair of one line, or the reason why there is none."""
        if entry.fields is None:
            return entry.reason or "the line cannot be read"
        names = self.find_columns(entry.fields)
        for name in names:
            if reason := _find_fault(entry.fields, name, self._format == "alpaca"):
                return reason
        source, target = (entry.fields[name].strip() for name in names)
        return SentencePair(source, target)

    def _find_filter(self, pair: SentencePair) -> str | None:
        """The name of the count of CorpusCounts that leaves this pair out, or None."""
        spec = self._spec
        shorter, longer = sorted((len(pair.source), len(pair.target)))
        if spec.min_characters is not None and shorter < spec.min_characters:
            return "too_short"
        if spec.max_characters is not None and longer > spec.max_characters:
            return "too_long"
        if spec.max_length_ratio is not None and longer > spec.max_length_ratio * shorter:
            return "unbalanced"
        if spec.drop_duplicates:
            # A normalised sentence holds no line break, so the two sides cannot run into each other.
            text = f"{normalise_text(pair.source)}\n{normalise_text(pair.target)}"
            key = hashlib.blake2b(text.encode(), digest_size=16).digest()
            if key in self._seen:
                return "duplicates"
            self._seen.add(key)
        return None


def _find_fault(fields: Mapping[str, Any], name: str, may_have_lines: bool) -> str | None:
    if name not in fields:
        return f"the field {name!r} is missing"
    text = fields[name]
    if not isinstance(text, str):
        return f"the field {name!r} is not text ({type(text).__name__})"
    text = text.strip()
    if not text:
        return f"the field {name!r} is empty"
    if not may_have_lines and ("\n" in text or "\r" in text):
        return f"the field {name!r} has a line break inside"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return f"the field {name!r} is not text (half of a character pair)"
    return None


HOPELESS_LINES = 1000  # a file whose first lines are all rejected is not read to its end


def load_corpus(spec: CorpusSpec) -> Corpus:
    """Load any text that `formats.open_text` recognises, with the spec's filters.

    Alpaca's examples become pairs of the instruction (with its input below it) and the output; they bring their own
    template, `Corpus.prompt`. Raises CorpusError when the text cannot be read, has no such column, holds no valid
    pair, or when a larger share of its lines than `spec.max_rejected_share` is rejected.
    """
    opened = open_text(spec)
    gathered = Gathering(spec, opened.format)
    for entry in opened.entries:
        gathered.take(entry)
        if len(gathered.pairs) == spec.limit or (len(gathered.rejected) >= HOPELESS_LINES and gathered.found_nothing):
            break
    path = find_path(spec)
    _check_share(path, spec, gathered)
    return Corpus(
        path.name,
        tuple(gathered.pairs),
        tuple(gathered.rejected),
        compute_fingerprint(gathered.pairs),
        tuple(gathered.lines),
        gathered.counts,
        ALPACA_PROMPT if opened.format == "alpaca" else None,
    )


def _check_share(path: Path, spec: CorpusSpec, gathered: Gathering) -> None:
    counts, rejected = gathered.counts, gathered.rejected
    if not counts.read:
        raise CorpusError(
            f"{path}: expected at least one pair of sentences, found none (no line, or only a header); fill the file."
        )
    first = f"line {rejected[0].line}: {rejected[0].reason}" if rejected else ""
    if not counts.accepted and counts.filtered:
        raise CorpusError(
            f"{path}: expected at least one pair of sentences, found none that passes the filters "
            f"({counts.describe()}); loosen them."
        )
    if not counts.accepted:
        for name in gathered.find_columns(gathered.names):
            if gathered.names and name not in gathered.names:
                found = ", ".join(repr(found) for found in gathered.names)
                raise CorpusError(f"{path}: expected the language or column {name!r}, found {found}; name one of them.")
        raise CorpusError(
            f"{path}: expected at least one pair of sentences, found none in {len(rejected):,} "
            f"line{'s' if len(rejected) > 1 else ''} (the first: {first}); repair the file or choose another."
        )
    if counts.rejected > spec.max_rejected_share * counts.read:
        raise CorpusError(
            f"{path}: expected at most {spec.max_rejected_share:.0%} of the lines to be rejected, found "
            f"{counts.rejected:,} of {counts.read:,} (the first: {first}); repair the file."
        )
