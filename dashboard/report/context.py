"""What blocks are built from: the person's choice and the open pair."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dashboard import loaders
from dashboard.report.block import Block

if TYPE_CHECKING:
    from dashboard.loaders import AlphaChoice, Comparison, PairChoice, SelectedTicket
    from dashboard.state.choice import Choice
    from kslottery_core.corpora import CorpusSpec

NO_PAIR = "No pair is open; choose one on the Pair page."


@dataclass(frozen=True, eq=False)
class ReportContext:
    """`comparison` and `selection` are None when no pair could be opened; `moment` is when (unix seconds).

    `may_open` tells whether something that may have to come from the hub was agreed to in this session: a pair with
    all its weights, or checkpoints beside a before model, each under the name that its page asked by. `text` is what
    token frequencies are counted in, None without one. `checkpoint_names` are label and step of checkpoints as the
    person edited them, by source.
    """

    choice: Choice
    comparison: Comparison | None
    selection: SelectedTicket | None
    moment: float
    may_open: Callable[[object], bool]
    text: CorpusSpec | None = None
    checkpoint_names: Mapping[str, tuple[str, int | None]] = field(default_factory=dict)

    @property
    def pair(self) -> PairChoice | None:
        """The chosen pair, or the demo; None when there is neither."""
        return loaders.resolve_choice(self.choice.pair)


BuildBlock = Callable[[ReportContext], Block]


@dataclass(frozen=True)
class KnownBlock:
    """A block as it is chosen: `name` stands in addresses and saved words, `title` is what people read.

    Two contexts with an equal `identify` have the same block, so it need not be drawn again; where that is None, or
    no `identify` is given, the block is built each time.
    """

    name: str
    title: str
    build: BuildBlock
    identify: Callable[[ReportContext], Hashable | None] | None = None


def sign_pair(comparison: Comparison) -> str:
    """The fingerprints of both embeddings."""
    before, after = comparison.result.fingerprint_before, comparison.result.fingerprint_after
    return f"before {shorten_digest(before)}, after {shorten_digest(after)}"


def shorten_digest(digest: str | None) -> str:
    """A fingerprint in words: its first 12 digits are enough to tell two apart."""
    return "without a fingerprint" if not digest else f"fingerprint {digest[:12]}"


def by_level(alpha: AlphaChoice) -> AlphaChoice:
    """The rule without its number of tokens, as everything but the pair's own ticket goes by alpha."""
    return replace(alpha, top_k=None)
