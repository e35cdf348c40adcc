"""The one table of all blocks, and the one place where pages meet. A new block is one function and one line here."""

from __future__ import annotations

from dashboard.report.context import KnownBlock
from dashboard.views.certificates.report_block import CERTIFICATE_TITLE, build_certificate_block
from dashboard.views.checkpoints.report_block import CHECKPOINT_TITLE, build_checkpoint_block
from dashboard.views.compare.report_block import COMPARISON_TITLE, build_comparison_block
from dashboard.views.layers.report_block import LAYER_TITLE, build_layer_block
from dashboard.views.pair.report_block import (
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
from dashboard.views.studies.report_block import STUDY_TITLE, build_study_block
from dashboard.views.tokens.report_block import (
    MAP_TITLE,
    TOKEN_TITLE,
    build_map_block,
    build_token_block,
    identify_map,
    identify_tokens,
)

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
