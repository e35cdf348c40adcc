"""Parallel text: what was asked for, the pairs that were accepted, and every line that was not."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kslottery_core.corpora.formats import Entry, read_entries
from kslottery_core.errors import CorpusError

SHOWN_CHARACTERS = 200
HOPELESS_LINES = 1000  # a file whose first lines are all rejected is not read to its end


@dataclass(frozen=True)
class CorpusSpec:
    """Which text: a file, the column or language of each side, and perhaps only its first `limit` valid pairs.

    Raises CorpusError for an empty name, equal sides or a limit below 1.
    """

    path: str
    source: str = "en"
    target: str = "ca"
    limit: int | None = None

    def __post_init__(self) -> None:
        for name in ("path", "source", "target"):
            if not getattr(self, name).strip():
                raise CorpusError(f"{name}: expected a name, found an empty text; fill it in.")
        if self.source == self.target:
            raise CorpusError(
                f"source and target: expected two different columns, found {self.source!r} twice; change one."
            )
        if self.limit is not None and self.limit < 1:
            raise CorpusError(
                f"limit: expected a whole number of at least 1, found {self.limit!r}; leave it out to take all pairs."
            )


@dataclass(frozen=True)
class SentencePair:
    """One sentence and its translation, without surrounding white space."""

    source: str
    target: str


@dataclass(frozen=True)
class Rejection:
    """One line that was not accepted: its number (from 1), the reason, and its beginning."""

    line: int
    reason: str
    text: str


@dataclass(frozen=True)
class Corpus:
    """Accepted pairs in file order, rejected lines, and `fingerprint`: the SHA-256 of the accepted pairs."""

    name: str
    pairs: tuple[SentencePair, ...]
    rejected: tuple[Rejection, ...]
    fingerprint: str


def load_corpus(spec: CorpusSpec, *, max_rejected_share: float = 0.1) -> Corpus:
    """Load .jsonl ({"translation": {...}} or flat), .csv, .tsv, or the line-aligned files NAME.source and NAME.target.

    Raises CorpusError when the file cannot be read, has no such column, holds no valid pair, or when more than
    `max_rejected_share` (0 to 1) of the lines that were read are rejected.
    """
    try:
        path = Path(spec.path).expanduser()
    except RuntimeError:
        raise CorpusError(
            f"{spec.path}: expected a path, found a home folder that is not known; write it out."
        ) from None
    pairs: list[SentencePair] = []
    rejected: list[Rejection] = []
    names: dict[str, None] = {}  # fields found, in the order of their first appearance
    for entry in read_entries(path, spec.source, spec.target):
        names.update(dict.fromkeys(entry.fields or ()))
        pair = _read_pair(entry, spec)
        if isinstance(pair, SentencePair):
            pairs.append(pair)
        else:
            rejected.append(Rejection(entry.line, pair, entry.text[:SHOWN_CHARACTERS]))
        if len(pairs) == spec.limit or (not pairs and len(rejected) >= HOPELESS_LINES):
            break
    _check_share(path, spec, pairs, rejected, names, max_rejected_share)
    return Corpus(path.name, tuple(pairs), tuple(rejected), _compute_fingerprint(pairs))


def count_leaks(train: Corpus, test: Corpus) -> int:
    """How many pairs of `test` have a source sentence that `train` holds too, character by character."""
    known = {pair.source for pair in train.pairs}
    return sum(pair.source in known for pair in test.pairs)


def _read_pair(entry: Entry, spec: CorpusSpec) -> SentencePair | str:
    """The pair of one line, or the reason why there is none."""
    if entry.fields is None:
        return entry.reason or "the line cannot be read"
    for name in (spec.source, spec.target):
        if reason := _find_fault(entry.fields, name):
            return reason
    return SentencePair(entry.fields[spec.source].strip(), entry.fields[spec.target].strip())


def _find_fault(fields: Mapping[str, Any], name: str) -> str | None:
    if name not in fields:
        return f"the field {name!r} is missing"
    text = fields[name]
    if not isinstance(text, str):
        return f"the field {name!r} is not text ({type(text).__name__})"
    text = text.strip()
    if not text:
        return f"the field {name!r} is empty"
    if "\n" in text or "\r" in text:
        return f"the field {name!r} has a line break inside"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return f"the field {name!r} is not text (half of a character pair)"
    return None


def _check_share(
    path: Path,
    spec: CorpusSpec,
    pairs: list[SentencePair],
    rejected: list[Rejection],
    names: Mapping[str, None],
    max_rejected_share: float,
) -> None:
    if not pairs and not rejected:
        raise CorpusError(
            f"{path}: expected at least one pair of sentences, found none (no line, or only a header); fill the file."
        )
    first = f"line {rejected[0].line}: {rejected[0].reason}" if rejected else ""
    if not pairs:
        for name in (spec.source, spec.target):
            if names and name not in names:
                found = ", ".join(repr(found) for found in names)
                raise CorpusError(f"{path}: expected the language or column {name!r}, found {found}; name one of them.")
        raise CorpusError(
            f"{path}: expected at least one pair of sentences, found none in {len(rejected):,} "
            f"line{'s' if len(rejected) > 1 else ''} (the first: {first}); repair the file or choose another."
        )
    share = len(rejected) / (len(pairs) + len(rejected))
    if share > max_rejected_share:
        raise CorpusError(
            f"{path}: expected at most {max_rejected_share:.0%} of the lines to be rejected, found "
            f"{len(rejected):,} of {len(pairs) + len(rejected):,} (the first: {first}); repair the file."
        )


def _compute_fingerprint(pairs: list[SentencePair]) -> str:
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(json.dumps([pair.source, pair.target], ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()
