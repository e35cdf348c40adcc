"""What loading a text gives: pairs, and what became of every other line."""

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass


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
