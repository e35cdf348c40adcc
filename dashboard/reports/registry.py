"""The one table of all blocks. A new block is one function and one line here."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from dashboard.reports.certificate_block import CERTIFICATE_TITLE, build_certificate_block
from dashboard.reports.checkpoint_block import CHECKPOINT_TITLE, build_checkpoint_block
from dashboard.reports.context import BuildBlock, ReportContext
from dashboard.reports.layer_block import LAYER_TITLE, build_layer_block
from dashboard.reports.pair_blocks import (
    CURVE_TITLE,
    PAIR_TITLE,
    THRESHOLD_TITLE,
    TICKET_TITLE,
    build_curve_block,
    build_pair_block,
    build_threshold_block,
    build_ticket_block,
    identify_ticket,
)
from dashboard.reports.run_blocks import COMPARISON_TITLE, STUDY_TITLE, build_comparison_block, build_study_block
from dashboard.reports.token_block import (
    MAP_TITLE,
    TOKEN_TITLE,
    build_map_block,
    build_token_block,
    identify_map,
    identify_tokens,
)


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


BLOCKS = (
    KnownBlock("pair", PAIR_TITLE, build_pair_block),
    KnownBlock("ticket", TICKET_TITLE, build_ticket_block),
    KnownBlock("curve", CURVE_TITLE, build_curve_block, identify_ticket),
    KnownBlock("threshold", THRESHOLD_TITLE, build_threshold_block, identify_ticket),
    KnownBlock("map", MAP_TITLE, build_map_block, identify_map),
    KnownBlock("tokens", TOKEN_TITLE, build_token_block, identify_tokens),
    KnownBlock("layers", LAYER_TITLE, build_layer_block),
    KnownBlock("checkpoints", CHECKPOINT_TITLE, build_checkpoint_block),
    KnownBlock("comparison", COMPARISON_TITLE, build_comparison_block),
    KnownBlock("study", STUDY_TITLE, build_study_block),
    KnownBlock("certificate", CERTIFICATE_TITLE, build_certificate_block),
)


def find_block(name: str) -> KnownBlock | None:
    """The block of this name; None when there is none."""
    return next((block for block in BLOCKS if block.name == name), None)
