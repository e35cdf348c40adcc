"""What a person can choose, as frozen records, and its limits."""

from __future__ import annotations

from dataclasses import dataclass, field

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
