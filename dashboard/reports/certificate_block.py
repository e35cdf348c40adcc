"""The newest kept certificate in a report: what is certified at every alpha, beside what was measured."""

from __future__ import annotations

from dashboard.figures.certificate import (
    certificate_curve_figure,
    get_tally,
    is_on_curve,
    summarise_certificates,
)
from dashboard.loaders.certificates import list_kept_certificates, load_kept_certificate
from dashboard.reports.block import Block, Picture, Table
from dashboard.reports.context import ReportContext, shorten_digest
from dashboard.reports.finding_tables import build_curve_table
from dashboard.wording import CERTIFIED_KINDS, format_moment, format_noun, format_share
from kslottery_core.errors import KSLotteryError

CERTIFICATE_TITLE = "What is certified"


def build_certificate_block(context: ReportContext) -> Block:
    """The newest certificate of any pair; its own fingerprints say which."""
    kept = list_kept_certificates()
    try:
        certification = load_kept_certificate(kept[0].path) if kept else None
    except KSLotteryError as problem:
        return Block(CERTIFICATE_TITLE, problem=str(problem))
    if certification is None:
        return Block(CERTIFICATE_TITLE, problem="There is no certificate yet; make one on the Certificates page.")
    kind, log_axis = context.choice.certificate.kind, context.choice.certificate.log_axis
    tally, noun = get_tally(certification.chosen, kind), CERTIFIED_KINDS[kind].lower()
    levels = [
        f"{level.title}: {tally.get_level(level.name).certified:,} "
        f"({format_share(tally.get_level(level.name).certified, tally.total)}), "
        f"{format_noun(tally.get_level(level.name).violations, 'violation')}"
        for level in certification.levels
    ]
    picture = Picture(
        certificate_curve_figure(summarise_certificates(certification, kind), log_axis=log_axis),
        alt="Certified shares, agreement and accuracies against alpha",
        caption=f"Shares of all {noun} at every α; crosses are certified and yet different."
        + ("" if is_on_curve(certification) else " The chosen ticket is none of these, so no α is marked."),
    )
    return Block(
        CERTIFICATE_TITLE,
        paragraphs=(
            f"{kept[0].title}: of {tally.total:,} {noun} the partial model agrees on {tally.agreed:,} "
            f"({format_share(tally.agreed, tally.total)}, measured). Certified: {'; '.join(levels)}.",
            certification.statement,
        ),
        pictures=(picture,),
        tables=(Table(build_curve_table(certification), "Counts at every α"),),
        signature=f"before {shorten_digest(certification.before.embedding)}, after "
        f"{shorten_digest(certification.after.embedding)}, text {shorten_digest(certification.corpus_fingerprint)}, "
        f"prompt {shorten_digest(certification.prompt_hash)}, {certification.decoding}; certified "
        f"{format_moment(kept[0].changed)}",
    )
