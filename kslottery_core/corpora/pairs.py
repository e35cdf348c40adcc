"""Sentence pairs, and the specification that says which text they are read from."""

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from kslottery_core.errors import CorpusError


@dataclass(frozen=True)
class CorpusSpec:
    """Which text: a path, the language of each side, its columns where they are named otherwise, and what is kept.

    `path` is a file, a folder (FLORES, or saved by the package `datasets`) or `hub:ORGANISATION/NAME`. `limit` keeps
    the first N pairs that pass everything else; `split` and `subset` belong to FLORES and `datasets`.
    `max_rejected_share` (0 to 1) is the share of unusable lines above which the text is refused. The filters count
    characters of either side (`max_length_ratio`: of the longer to the shorter); None means no such filter.
    Raises CorpusError for values that make no sense.
    """

    path: str
    source: str = "en"
    target: str = "ca"
    limit: int | None = None
    source_column: str | None = None
    target_column: str | None = None
    split: str | None = None
    subset: str | None = None
    max_rejected_share: float = 0.1
    min_characters: int | None = None
    max_characters: int | None = None
    max_length_ratio: float | None = None
    drop_duplicates: bool = False

    def __post_init__(self) -> None:
        for name in ("path", "source", "target", "source_column", "target_column", "split", "subset"):
            value = getattr(self, name)
            if value is not None and not value.strip():
                raise CorpusError(f"{name}: expected a name, found an empty text; fill it in.")
        if self.source == self.target:
            raise CorpusError(
                f"source and target: expected two different columns, found {self.source!r} twice; change one."
            )
        if self.source_name == self.target_name:
            raise CorpusError(
                f"source_column and target_column: expected two different columns, found {self.source_name!r} twice; "
                "change one."
            )
        if self.limit is not None and self.limit < 1:
            raise CorpusError(
                f"limit: expected a whole number of at least 1, found {self.limit!r}; leave it out to take all pairs."
            )
        if not 0 <= self.max_rejected_share <= 1:
            raise CorpusError(f"max_rejected_share: expected a share from 0 to 1, found {self.max_rejected_share!r}.")
        for name in ("min_characters", "max_characters", "max_length_ratio"):
            value = getattr(self, name)
            if value is not None and not value >= 1:
                raise CorpusError(f"{name}: expected at least 1, found {value!r}; leave it out for no such filter.")
        if (self.min_characters or 0) > (self.max_characters or float("inf")):
            raise CorpusError(
                f"min_characters and max_characters: expected the first not above the second, found "
                f"{self.min_characters} and {self.max_characters}; change one."
            )

    @property
    def source_name(self) -> str:
        """The column or language that holds the source side."""
        return self.source_column or self.source

    @property
    def target_name(self) -> str:
        """The column or language that holds the target side."""
        return self.target_column or self.target


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
class CorpusCounts:
    """What became of the lines that were read: each is in exactly one of these counts. Blank lines are in none."""

    accepted: int = 0
    rejected: int = 0
    too_short: int = 0
    too_long: int = 0
    unbalanced: int = 0
    duplicates: int = 0

    @property
    def filtered(self) -> int:
        """Lines that are usable and were left out by a filter."""
        return self.too_short + self.too_long + self.unbalanced + self.duplicates

    @property
    def read(self) -> int:
        """All lines that were read."""
        return self.accepted + self.rejected + self.filtered

    def describe(self) -> str:
        """The counts in words; filters that left nothing out are not named."""
        named = (
            (self.rejected, "rejected", True),
            (self.too_short, "too short", False),
            (self.too_long, "too long", False),
            (self.unbalanced, "of too unequal length", False),
            (self.duplicates, "repeated", False),
        )
        parts = [f"{count:,} {name}" for count, name, always in named if count or always]
        return f"{self.read:,} lines read: {self.accepted:,} accepted, {', '.join(parts)}"


@dataclass(frozen=True)
class Corpus:
    """Accepted pairs in file order, rejected lines, and `fingerprint`: the SHA-256 of the accepted pairs.

    `lines` are the line numbers of the pairs (empty when unknown). `prompt` is the template that the text brings with
    it, as instruction data does, else None.
    """

    name: str
    pairs: tuple[SentencePair, ...]
    rejected: tuple[Rejection, ...]
    fingerprint: str
    lines: tuple[int, ...] = ()
    counts: CorpusCounts | None = None
    prompt: str | None = None


def normalise_text(text: str) -> str:
    """Unicode NFC, and one space for any white space: what two equal sentences have in common."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def compute_fingerprint(pairs: Sequence[SentencePair]) -> str:
    """SHA-256 of the pairs in their order, in hexadecimal digits."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(json.dumps([pair.source, pair.target], ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()
