"""A kept certificate of the pair in a report: what is certified at every alpha, beside what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboard.report.block import Block, Picture, Table
from dashboard.report.context import NO_PAIR, ReportContext, shorten_digest
from dashboard.state.rule import describe_rule
from dashboard.views.certificates.figures import (
    certificate_curve_figure,
    get_tally,
    is_on_curve,
    summarise_certificates,
)
from dashboard.views.certificates.loading import KeptCertificate, list_kept_certificates, load_kept_certificate
from dashboard.views.certificates.tables import build_tally_table
from dashboard.wording import CERTIFIED_KINDS, format_formula, format_moment, format_noun, format_share
from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    from dashboard.loaders import Comparison
    from kslottery_core.certification import Certification

CERTIFICATE_TITLE = "What is certified"
_NO_PROOF = " For a transformer the KS bound is an assumption, not a proof."


def build_certificate_block(context: ReportContext) -> Block:
    """The newest certificate of the open pair, of the present ticket where there is one; without a pair, of any."""
    if context.comparison is None and context.pair is not None:
        return Block(CERTIFICATE_TITLE, problem=NO_PAIR)
    kept, others = _choose(context)
    if kept is None:
        return Block(CERTIFICATE_TITLE, problem=_describe_none(others))
    try:
        certification = load_kept_certificate(kept.path)
    except KSLotteryError as problem:
        return Block(CERTIFICATE_TITLE, problem=str(problem))
    if certification is None:
        return Block(
            CERTIFICATE_TITLE, problem="The certificate no longer exists; certify again on the Certificates page."
        )
    if context.comparison is not None and _get_pair(context.comparison) != (
        certification.before.embedding,
        certification.after.embedding,
    ):
        return Block(CERTIFICATE_TITLE, problem=_describe_none(others + 1))
    kind, log_axis = context.choice.certificates.kind, context.choice.certificates.log_axis
    curve, noun = summarise_certificates(certification, kind), CERTIFIED_KINDS[kind].lower()
    caption = f"Shares of all {noun} at every α."
    if curve.violations:
        caption += f" Crosses mark certified {noun} for which the partial model differs."
    if not is_on_curve(certification):
        caption += " The chosen ticket is not one of these, so no α is marked."
    if any(level.assumption for level in certification.levels):
        caption += _NO_PROOF
    picture = Picture(
        certificate_curve_figure(curve, log_axis=log_axis),
        alt="Certified shares, agreement and accuracies against alpha",
        caption=caption,
    )
    return Block(
        CERTIFICATE_TITLE,
        paragraphs=tuple(_describe(context, kept, certification, kind)),
        pictures=(picture,),
        tables=(Table(build_tally_table(certification, kind), f"Counts at every α: {noun}"),),
        signature=f"certificate of {kept.title}, before {shorten_digest(certification.before.embedding)}, after "
        f"{shorten_digest(certification.after.embedding)}, text {shorten_digest(certification.corpus_fingerprint)}, "
        f"prompt {shorten_digest(certification.prompt_hash)}, {certification.decoding}; certified "
        f"{format_moment(kept.changed)}",
    )


def _choose(context: ReportContext) -> tuple[KeptCertificate | None, int]:
    """The certificate to show, and how many there are for other pairs."""
    kept = list_kept_certificates(most=None)
    if context.comparison is None:
        return (kept[0] if kept else None), 0
    pair = _get_pair(context.comparison)
    ours = [found for found in kept if found.before is not None and (found.before, found.after) == pair]
    same = [found for found in ours if _is_of_present_ticket(context, found)]
    # Which pair a damaged file belongs to is unknown; where there is no other certificate, its problem is reported.
    damaged = [found for found in kept if found.before is None]
    return next(iter([*same, *ours, *damaged]), None), len(kept) - len(ours) - len(damaged)


def _get_pair(comparison: Comparison) -> tuple[str | None, str | None]:
    return comparison.result.fingerprint_before, comparison.result.fingerprint_after


def _describe_none(others: int) -> str:
    if not others:
        return "There is no certificate yet; make one on the Certificates page."
    return (
        f"There is no certificate of this pair ({format_noun(others, 'certificate')} of other pairs); make one on the "
        "Certificates page."
    )


def _is_of_present_ticket(context: ReportContext, kept: KeptCertificate) -> bool:
    return (
        context.selection is not None
        and kept.ticket is not None
        and kept.ticket.token_ids == context.selection.ticket.token_ids
    )


def _describe(context: ReportContext, kept: KeptCertificate, certification: Certification, kind: str) -> list[str]:
    tally, noun = get_tally(certification.chosen, kind), CERTIFIED_KINDS[kind].lower()
    levels = [
        f"{level.title}: {found.certified:,} ({format_share(found.certified, tally.total)}), "
        f"{format_noun(found.violations, 'violation')}"
        for level, found in ((level, tally.get_level(level.name)) for level in certification.levels)
    ]
    paragraphs = [
        f"{kept.title}: the partial model has the tuned rows of these tokens and all other rows as they were. Of "
        f"{tally.total:,} {noun} it agrees with the embedding-tuned model on {tally.agreed:,} "
        f"({format_share(tally.agreed, tally.total)}, measured). Certified: {'; '.join(levels)}."
    ]
    if context.selection is not None and not _is_of_present_ticket(context, kept):
        paragraphs.append(
            f"This certificate is for another ticket than the one in the rest of this report, which is chosen by "
            f"“{describe_rule(context.choice.alpha)}” and has {format_noun(context.selection.ticket.size, 'token')}."
        )
    meanings = [f"Certified, {level.title}: {format_formula(level.definition)}" for level in certification.levels]
    assumptions = [level.assumption for level in certification.levels if level.assumption]
    violation = "A violation is certified although the partial model predicts something else."
    return [*paragraphs, " ".join([*meanings, violation]), " ".join([*assumptions, certification.statement])]
