"""What a person can choose, as frozen records, and its limits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from dashboard.loaders import AlphaChoice, PairChoice

LEAST_SIGNIFICANCE_LEVEL = 1e-12
LARGEST_SIGNIFICANCE_LEVEL = 0.999

MOST_PICKED = 200
"""How many tokens are picked together at most, and stand in the address."""

SEARCH_MODES = {"text": "Text", "id": "Token id", "pattern": "Regular expression"}

STORY_PARTS = {
    "values": "Distributions",
    "coordinates": "Coordinates",
    "neighbours": "Neighbours",
    "text": "In the text",
    "tickets": "Tickets and runs",
}
"""The parts of a token's story, in the order in which they are offered."""


@dataclass(frozen=True)
class TokenFilter:
    """Which tokens are shown; `mode` is a key of `SEARCH_MODES`, no kind or no script stands for all of them.

    `winners`, `changed` and `in_prompt` keep those that are (True), that are not (False), or both (None). The bounds of
    the frequency belong to it; None for no bound.
    """

    search: str = ""
    mode: str = "text"
    winners: bool | None = None
    changed: bool | None = None
    in_prompt: bool | None = None
    kinds: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    least_frequency: int | None = None
    most_frequency: int | None = None


@dataclass(frozen=True)
class TokenOrder:
    """By which column (a key of `ORDER_NAMES`) the table is sorted, and which page of it is shown, from 1."""

    column: str = "statistic"
    rising: bool = False
    page: int = 1


@dataclass(frozen=True)
class OverlapView:
    """Which sets of tokens are held against the present ticket, and whether that is `shown`.

    They are the tickets of other `levels` of alpha, and `sets` by key; None stands for what the page suggests.
    `members` are the keys of the sets whose common tokens are listed.
    """

    shown: bool = False
    levels: tuple[float, ...] = (0.01, 0.5)
    sets: tuple[str, ...] | None = None
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class TokenText:
    """The parallel text that token frequencies are counted in; None stands for what the page suggests.

    `counted` is a key of `FREQUENCY_NAMES`: what training reads, or the text alone.
    """

    path: str | None = None
    source: str | None = None
    target: str | None = None
    source_column: str | None = None
    target_column: str | None = None
    counted: str = "training"


@dataclass(frozen=True)
class TokenMapView:
    """What the map of all tokens shows: `x` is one of `MAP_ACROSS`, `y` one of `MAP_UP`, `log_x` where x allows it."""

    x: str = "frequency"
    y: str = "statistic"
    log_x: bool = True


@dataclass(frozen=True)
class StoryView:
    """Which part of the picked tokens' stories is open: a key of `STORY_PARTS`."""

    part: str = "values"


@dataclass(frozen=True)
class LayersView:
    """Which scan is shown and how. `parameter` is the matrix shown in full, `measure` what the colours stand for."""

    unit: str = "row"
    pattern: str = "*"
    measure: str = "share"
    log_scale: bool = False
    parameter: str | None = None


@dataclass(frozen=True)
class CheckpointsView:
    """Which after checkpoints stand beside each other, by path or hub id, and how their steps are drawn."""

    sources: tuple[str, ...] = ()
    log_steps: bool = False


@dataclass(frozen=True)
class StudiesView:
    """Which study is shown, and of which language pair ("en-ca"); None stands for the newest and for the first."""

    study_id: str | None = None
    language: str | None = None


@dataclass(frozen=True)
class CertificatesView:
    """What the Certificates page certifies, and what of it is shown. None stands for what the page suggests.

    `rows` says where the ticket comes from (a key of `CERTIFIED_ROWS`), `listed` are typed ids and tokens. `limit` 0
    takes every sentence. `larger_limit` is how many tokens may be left behind for every larger ticket to be tried, 0
    for not at all. `kind` is a key of `CERTIFIED_KINDS`, `sentence` counts from 1, `text` is a key of
    `CERTIFIED_TEXTS`.
    """

    rows: str = "alpha"
    listed: str = ""
    path: str | None = None
    source: str | None = None
    target: str | None = None
    source_column: str | None = None
    target_column: str | None = None
    limit: int = 50
    prompt: str | None = None
    new_tokens: int = 64
    larger_limit: int = 0
    kind: str = "predictions"
    log_axis: bool = False
    sentence: int | None = None
    text: str = "reference"


@dataclass(frozen=True)
class ReportView:
    """Which blocks the report holds, in this order (None: all that have something to show), and its title.

    While `presenting` it is shown slide by slide, `slide` counting from 1.
    """

    blocks: tuple[str, ...] | None = None
    title: str = ""
    presenting: bool = False
    slide: int = 1


@dataclass(frozen=True)
class Choice:
    """Everything that an address restores. `previous_alpha` is not in the address: it is what alpha was last."""

    pair: PairChoice = field(default_factory=PairChoice)
    alpha: AlphaChoice = field(default_factory=AlphaChoice)
    previous_alpha: AlphaChoice | None = None
    token_ids: tuple[int, ...] = ()
    run_id: str | None = None
    compared_runs: tuple[str, ...] = ()
    token_filter: TokenFilter = field(default_factory=TokenFilter)
    token_order: TokenOrder = field(default_factory=TokenOrder)
    token_text: TokenText = field(default_factory=TokenText)
    overlap: OverlapView = field(default_factory=OverlapView)
    token_map: TokenMapView = field(default_factory=TokenMapView)
    story: StoryView = field(default_factory=StoryView)
    measure: str | None = None
    layers: LayersView = field(default_factory=LayersView)
    checkpoints: CheckpointsView = field(default_factory=CheckpointsView)
    studies: StudiesView = field(default_factory=StudiesView)
    certificates: CertificatesView = field(default_factory=CertificatesView)
    report: ReportView = field(default_factory=ReportView)

    def turn_to(self, pair: PairChoice) -> Choice:
        """Choose two checkpoints; what was picked inside another pair is dropped, since ids mean other tokens there."""
        if pair == self.pair:
            return self
        layers = replace(self.layers, parameter=None)
        certificates = replace(self.certificates, sentence=None)
        return replace(self, pair=pair, token_ids=(), previous_alpha=None, layers=layers, certificates=certificates)
