"""Does a certificate still hold? Everything in it is computed again and compared."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from kslottery_core.certification.certificate import Certification, SideFingerprints, Tally, TicketPoint
from kslottery_core.certification.certify import certify, read_versions
from kslottery_core.certification.findings import LargerTickets
from kslottery_core.certification.levels import Level, list_levels
from kslottery_core.certification.sides import open_certified_pair
from kslottery_core.certification.task import CertificationTask
from kslottery_core.corpora import CorpusSpec, load_corpus
from kslottery_core.errors import CertificationError
from kslottery_core.progress import OnProgress, ShouldStop, ignore_progress, never_stop
from kslottery_core.tickets import Ticket


@dataclass(frozen=True)
class Verification:
    """Whether a certificate holds. `difference` is the first thing that does not, in a sentence; None where all holds.

    `recomputed` is the new certification; None where a changed checkpoint or text made it pointless.
    """

    holds: bool
    difference: str | None
    recomputed: Certification | None


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

    Fingerprints come first, so that a changed checkpoint is told as such; then the counts, level by level, of the
    chosen ticket and of every alpha. Raises as `certify` does for files that cannot be used at all.
    """
    task = certification.task
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
    difference = next(_list_differences(certification, recomputed), None)
    if difference is not None:
        difference += _describe_circumstances(certification, recomputed)
    return Verification(difference is None, difference, recomputed)


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


def _list_differences(old: Certification, new: Certification) -> Iterator[str]:
    """Sentences about what differs, the most telling first."""
    if old.inputs_fingerprint != new.inputs_fingerprint:
        yield "the text is cut into other tokens than it was: a tokenizer has changed."
    for name in ("prompt_hash", "decoding", "width", "vocabulary_size", "changed_rows"):
        one, other = getattr(old, name), getattr(new, name)
        if one != other:
            yield f"{name.replace('_', ' ')}: {one!r} was certified, {other!r} is found now."
    yield from _list_point_differences("with the ticket", old.chosen, new.chosen, new.levels)
    levels = [[point.significance_level for point in side.grid] for side in (old, new)]
    if levels[0] != levels[1]:
        yield "the certificate's own grid of alphas does not match its task."
        return
    for one_point, other_point in zip(old.grid, new.grid, strict=True):
        yield from _list_point_differences(
            f"at alpha {one_point.significance_level:g}", one_point, other_point, new.levels
        )


def _list_point_differences(where: str, old: TicketPoint, new: TicketPoint, levels: tuple[Level, ...]) -> Iterator[str]:
    for name in ("ticket_size", "left_behind"):
        if getattr(old, name) != getattr(new, name):
            yield _say(where, name.replace("_", " "), getattr(old, name), getattr(new, name))
    for kind, one, other in (
        ("predictions", old.predictions, new.predictions),
        ("outputs", old.outputs, new.outputs),
    ):
        yield from _list_tally_differences(f"{where}, {kind}", one, other, levels)
    if old.output_step_violations != new.output_step_violations:
        yield _say(where, "violations at steps of outputs", old.output_step_violations, new.output_step_violations)
    if _count_larger(old.larger_tickets) != _count_larger(new.larger_tickets):
        yield _say(where, "larger tickets", _count_larger(old.larger_tickets), _count_larger(new.larger_tickets))


def _count_larger(found: LargerTickets | None) -> dict[str, int] | None:
    if found is None:
        return None
    return {field.name: getattr(found, field.name) for field in fields(LargerTickets) if field.name != "listed"}


def _list_tally_differences(where: str, old: Tally, new: Tally, levels: tuple[Level, ...]) -> Iterator[str]:
    for field in fields(Tally):
        one, other = getattr(old, field.name), getattr(new, field.name)
        if field.name != "levels" and one != other:
            yield _say(where, field.name.replace("_", " "), one, other)
    for level in levels:
        one_level, other_level = old.get_level(level.name), new.get_level(level.name)
        for name in ("certified", "correct", "violations"):
            if getattr(one_level, name) != getattr(other_level, name):
                yield _say(where, f"{name} ({level.title})", getattr(one_level, name), getattr(other_level, name))


def _say(where: str, what: str, old: object, new: object) -> str:
    return f"{where}: {what}: {old} stand in the certificate, {new} are found now."


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
