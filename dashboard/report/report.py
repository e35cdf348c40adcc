"""A report: the chosen blocks in their order, with the person's words around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from dashboard import loaders
from dashboard.loaders.built import load_built
from dashboard.report.block import Block, sign_block
from dashboard.report.context import KnownBlock, ReportContext
from dashboard.state.report_words import ReportWords
from dashboard.wording import format_moment


@dataclass(frozen=True, eq=False)
class Section:
    """A block with the person's words before and after it."""

    name: str
    block: Block
    before: str = ""
    after: str = ""


@dataclass(frozen=True, eq=False)
class Report:
    """Everything that a file, a preview or slides show. `moment` is when it was built (unix seconds)."""

    title: str
    author: str
    moment: float
    sections: tuple[Section, ...]


def build_report(
    context: ReportContext,
    blocks: Sequence[KnownBlock],
    title: str,
    words: ReportWords,
    *,
    leave_out_empty: bool = False,
) -> Report:
    """Build these blocks; `leave_out_empty` drops those that have nothing to show.

    A block that was drawn before from the same is taken as it is; it then says when it was drawn.
    """
    sections = []
    for known in blocks:
        block = _load_block(known, context)
        if not leave_out_empty or block.problem is None:
            sections.append(Section(known.name, block, words.get_before(known.name), words.get_after(known.name)))
    return Report(title or suggest_title(context), words.author, context.moment, tuple(sections))


def _load_block(known: KnownBlock, context: ReportContext) -> Block:
    def build() -> Block:
        return sign_block(known.build(context), f"drawn {format_moment(context.moment)}")

    identity = None if known.identify is None else known.identify(context)
    if identity is None:
        return build()
    return load_built((known.name, identity), build, is_kept=lambda block: block.problem is None)


def suggest_title(context: ReportContext) -> str:
    """What the report is called where the person gave no title."""
    pair = context.pair
    if pair is None:
        return "KS-Lottery report"
    if loaders.is_demo(pair):
        return "KS-Lottery report: the bundled demo"
    before, after = (PurePath(source or "").name for source in (pair.before, pair.after))
    return f"KS-Lottery report: {before} → {after}"
