"""Does a certificate still hold? Everything in it is computed again and compared."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from kslottery_core.certification.certificate import Certification, SideFingerprints
from kslottery_core.certification.certify import certify, read_versions
from kslottery_core.certification.differences import Comparison
from kslottery_core.certification.levels import list_levels
from kslottery_core.certification.sides import open_certified_pair
from kslottery_core.certification.task import CertificationTask
from kslottery_core.corpora import CorpusSpec, load_corpus
from kslottery_core.errors import CertificationError
from kslottery_core.ks import choose_device, compute_pair_ks, format_level
from kslottery_core.progress import OnProgress, ShouldStop, ignore_progress, never_stop
from kslottery_core.tickets import Ticket, compute_ticket_mask

if TYPE_CHECKING:
    from kslottery_core.checkpoints import EmbeddingPair


@dataclass(frozen=True)
class Verification:
    """Whether a certificate holds. `difference` is the first thing that does not, in a sentence; None where all holds.

    `recomputed` is the new certification; None where a changed checkpoint or text made it pointless. `rounding` says of
    one that holds how far its numbers are from the new ones; None where they are the same to the last bit.
    """

    holds: bool
    difference: str | None
    recomputed: Certification | None
    rounding: str | None = None


def verify_certification(
    certification: Certification,
    *,
    before: str | None = None,
    after: str | None = None,
    ticket: Ticket | None = None,
    corpus: CorpusSpec | None = None,
    device: str | None = None,
    before_revision: str | None = None,
    after_revision: str | None = None,
    on_progress: OnProgress = ignore_progress,
    should_stop: ShouldStop = never_stop,
) -> Verification | None:
    """Compute a certificate again with the files that it names, or with those given anew; None when stopped.

    Fingerprints come first, so that a changed checkpoint is told as such; then what the certificate says of its levels,
    the counts, level by level, of the chosen ticket and of every alpha, what is listed of them, and every token and
    sentence (`differences` says what must be equal). Raises as `certify` does for files that cannot be used at all, and
    CertificationError for a revision without the source that it belongs to.
    """
    task = certification.task
    for side, given, revision in (("before", before, before_revision), ("after", after, after_revision)):
        if revision and not given:
            raise CertificationError(
                f"revision of {side.upper()}: expected {side.upper()} beside it, which names the model on the hub, "
                f"found the revision {revision!r} alone; give {side.upper()} too, or leave the revision out."
            )
    new = replace(
        task,
        before=before or task.before,
        after=after or task.after,
        ticket=ticket or task.ticket,
        corpus=corpus or task.corpus,
        prompt=certification.prompt,  # the very template, whatever the text brings with it now
        device=device or task.device,
        before_revision=before_revision if before else task.before_revision,
        after_revision=after_revision if after else task.after_revision,
    )

    def check_sides(*found: SideFingerprints) -> None:
        sides = ("before", new.before, certification.before), ("after", new.after, certification.after)
        for (side, source, recorded), fingerprints in zip(sides, found, strict=True):
            if fingerprints.parameters != recorded.parameters:
                raise _ChangedInputError(f"parameters of {source} ({side}) outside its input embedding have changed.")

    try:
        _check_input(certification, new)
        recomputed = certify(new, on_progress=on_progress, should_stop=should_stop, on_fingerprints=check_sides)
    except _ChangedInputError as problem:
        return Verification(False, str(problem), None)
    if recomputed is None:
        return None
    comparison = Comparison(certification, recomputed)
    difference = next(comparison.list_differences(), None)
    if difference is not None:
        return Verification(False, difference + _describe_circumstances(certification, recomputed), recomputed)
    rounding = comparison.rounding.describe()
    if rounding is not None:
        rounding += _describe_circumstances(certification, recomputed)
    return Verification(True, None, recomputed, rounding)


class _ChangedInputError(Exception):
    """What was certified is not what is here; the message says which part."""


def _check_input(certification: Certification, new: CertificationTask) -> None:
    """Compare what needs no model. A ticket is the certificate's own, so a changed embedding is told before it is held
    against the ticket's fingerprints, which would call it a ticket from another pair."""
    levels = list_levels(new.larger_ticket_limit)
    if [level.name for level in certification.levels] != [level.name for level in levels]:
        raise CertificationError(
            f"certificate: expected the levels {', '.join(level.name for level in levels)}, found "
            f"{', '.join(level.name for level in certification.levels)}; certify again."
        )
    old_ticket = certification.task.ticket
    if new.ticket.token_ids != old_ticket.token_ids:
        raise _ChangedInputError(
            f"the ticket is another one: {old_ticket.size:,} tokens were certified, {new.ticket.size:,} were given."
        )
    corpus = load_corpus(new.corpus)
    if corpus.fingerprint != certification.corpus_fingerprint:
        raise _ChangedInputError(
            f"the text {new.corpus.path} has changed: its {len(corpus.pairs):,} pairs are not the "
            f"{len(certification.sentences):,} that were certified."
        )
    pair = open_certified_pair(new)
    for side, matrix, recorded in (
        ("before", pair.before, certification.before),
        ("after", pair.after, certification.after),
    ):
        if matrix.fingerprint != recorded.embedding:
            raise _ChangedInputError(f"the input embedding of {matrix.source} ({side}) has changed.")
    _check_alpha(old_ticket, pair, new.device)


def _check_alpha(ticket: Ticket, pair: "EmbeddingPair", device: str) -> None:
    """Whether a ticket that says that an alpha chose it from this pair holds what this alpha chooses."""
    named = ticket.fingerprint_before, ticket.fingerprint_after
    if ticket.rule != "alpha" or ticket.significance_level is None:
        return
    if named != (pair.before.fingerprint, pair.after.fingerprint):
        return
    result = compute_pair_ks(pair, choose_device(device))
    mask = compute_ticket_mask(
        result, ticket.significance_level, ticket.correction or "none", ticket.p_value_method or "exact"
    )
    if tuple(np.flatnonzero(mask).tolist()) != ticket.token_ids:
        raise _ChangedInputError(
            f"the ticket is not the one of its alpha: at {format_level(ticket.significance_level)} this pair gives "
            f"{int(mask.sum()):,} tokens, the certificate's ticket holds {ticket.size:,}, and not the same ones."
        )


def _describe_circumstances(old: Certification, new: Certification) -> str:
    """What else is not as it was, and may move numbers by rounding."""
    versions = read_versions()
    changed = [
        f"{name} {old.versions.get(name, 'unknown')} then and {version} now"
        for name, version in versions.items()
        if old.versions.get(name) != version
    ]
    if old.device != new.device:
        changed.append(f"device {old.device} then and {new.device} now")
    return f" Other circumstances differ too: {'; '.join(changed)}." if changed else ""
