"""The one table of all blocks. A new block is one function and one line here."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.reports.certificate_block import CERTIFICATE_TITLE, build_certificate_block
from dashboard.reports.checkpoint_block import CHECKPOINT_TITLE, build_checkpoint_block
from dashboard.reports.context import BuildBlock
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
)
from dashboard.reports.run_blocks import COMPARISON_TITLE, STUDY_TITLE, build_comparison_block, build_study_block
from dashboard.reports.token_block import MAP_TITLE, TOKEN_TITLE, build_map_block, build_token_block


@dataclass(frozen=True)
class KnownBlock:
    """A block as it is chosen: `name` stands in addresses and saved words, `title` is what people read."""

    name: str
    title: str
    build: BuildBlock


BLOCKS = (
    KnownBlock("pair", PAIR_TITLE, build_pair_block),
    KnownBlock("ticket", TICKET_TITLE, build_ticket_block),
    KnownBlock("curve", CURVE_TITLE, build_curve_block),
    KnownBlock("threshold", THRESHOLD_TITLE, build_threshold_block),
    KnownBlock("map", MAP_TITLE, build_map_block),
    KnownBlock("tokens", TOKEN_TITLE, build_token_block),
    KnownBlock("layers", LAYER_TITLE, build_layer_block),
    KnownBlock("checkpoints", CHECKPOINT_TITLE, build_checkpoint_block),
    KnownBlock("comparison", COMPARISON_TITLE, build_comparison_block),
    KnownBlock("study", STUDY_TITLE, build_study_block),
    KnownBlock("certificate", CERTIFICATE_TITLE, build_certificate_block),
)


def find_block(name: str) -> KnownBlock | None:
    """The block of this name; None when there is none."""
    return next((block for block in BLOCKS if block.name == name), None)
