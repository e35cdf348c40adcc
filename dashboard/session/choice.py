"""What a person can choose, as frozen records, and its limits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from dashboard.loaders import AlphaChoice, PairChoice

LEAST_SIGNIFICANCE_LEVEL = 1e-12
LARGEST_SIGNIFICANCE_LEVEL = 0.999

SEARCH_MODES = {"text": "Text", "id": "Token id", "pattern": "Regular expression"}


@dataclass(frozen=True)
class TokenFilter:
    """Which tokens of the table are shown; `mode` is a key of `SEARCH_MODES`, no kind stands for all of them."""

    search: str = ""
    mode: str = "text"
    winners_only: bool = False
    changed_only: bool = False
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScanView:
    """Which scan is shown and how. `parameter` is the matrix shown in full, `measure` what the colours stand for."""

    unit: str = "row"
    pattern: str = "*"
    measure: str = "share"
    log_scale: bool = False
    parameter: str | None = None


@dataclass(frozen=True)
class SeriesView:
    """Which after checkpoints stand beside each other, by path or hub id, and how their steps are drawn."""

    sources: tuple[str, ...] = ()
    log_steps: bool = False


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
    measure: str | None = None
    scan: ScanView = field(default_factory=ScanView)
    series: SeriesView = field(default_factory=SeriesView)

    def turn_to(self, pair: PairChoice) -> Choice:
        """Choose two checkpoints; what was picked inside another pair is dropped, since ids mean other tokens there."""
        if pair == self.pair:
            return self
        scan = replace(self.scan, parameter=None)
        return replace(self, pair=pair, token_ids=(), previous_alpha=None, scan=scan)
