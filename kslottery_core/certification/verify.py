"""Does a certificate still hold? Everything in it is computed again and compared, the most important first.

Whole numbers, texts and truth values must be equal. Probabilities and logits may differ by the rounding of another
machine, number of threads or version, up to the two tolerances here; how far they do is reported.
The device, versions, seconds, notes and file names are not compared.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kslottery_core.certification.certificate import (
    Certification,
    LargerTickets,
    LeftBehindToken,
    LostPrediction,
    PredictedSequence,
    SentenceRecord,
    SideFingerprints,
    Tally,
    TicketPoint,
    TokenRecord,
    Violation,
)
from kslottery_core.certification.certify import certify, read_versions
from kslottery_core.certification.levels import Level, list_levels
from kslottery_core.certification.models import open_certified_pair
from kslottery_core.certification.tally import MOST_LISTED
from kslottery_core.certification.task import CertificationTask
from kslottery_core.corpora import CorpusSpec, load_corpus
from kslottery_core.errors import CertificationError
from kslottery_core.ks import choose_device, compute_pair_ks, format_level
from kslottery_core.progress import OnProgress, ShouldStop, ignore_progress, never_stop
from kslottery_core.tickets import Ticket, compute_ticket_mask

if TYPE_CHECKING:
    from kslottery_core.checkpoints import EmbeddingPair

PROBABILITY_TOLERANCE = 1e-4
"""Two probabilities this far apart count as equal. Chosen, not derived: some hundred float32 steps of a logit near 10,
and far below what a reader of a certificate sees."""

LOGIT_TOLERANCE = 1e-3
"""The same of logits and of their differences; a larger value may differ by this share of it."""

_NAMES = frozenset({"levels", "role", "text"})
_LOGITS = frozenset({"largest_exact_difference", "margin", "least_margin"})

_WORDS = {
    "counts": "sum of k",
    "count": "k",
    "ended": "whether it was ended",
    "first_probability": "probability of the first choice (p_A)",
    "first_probabilities": "probability of the first choice (p_A)",
    "kept_before": "rows that stay as they were",
    "label": "token",
    "largest_exact_difference": "largest difference of a logit at an exact prediction",
    "least_margin": "least margin in logits",
    "levels": "levels",
    "listed": "listed lost predictions",
    "lost": "predictions that a larger ticket changes",
    "margin": "margin in logits",
    "not_tried": "predictions whose larger tickets were not tried",
    "output_steps_lost": "steps of outputs that a larger ticket changes",
    "output_steps_not_tried": "steps of outputs whose larger tickets were not tried",
    "partial_predicted": "token id that the partial model predicts",
    "partial_top": "the partial model's most probable tokens",
    "predicted": "token id that the tuned model predicts",
    "reference": "reference translation",
    "reference_top": "the tuned model's most probable tokens",
    "second_probability": "probability of the second choice (p_B)",
    "second_probabilities": "probability of the second choice (p_B)",
    "significance_level": "alpha",
    "source": "source sentence",
    "start": "first predicted position",
    "token_ids": "token id",
    "violations": "listed violations",
}
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Verification:
    """Whether a certificate holds. `difference` is the first difference, in a sentence; None where it holds.

    `recomputed` is the new certification; None where a changed checkpoint or text made it pointless. `rounding` says
    how far the numbers of one that holds are from the new ones; None where they are equal to the last bit.
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
    """Compute a certificate again with the files that it names, or with those given; None when stopped.

    Fingerprints come first, so that a changed checkpoint is reported as such; then the wording of the levels, the
    counts, level by level, of the chosen ticket and of every alpha, what is listed of them, and every token and
    sentence (the module says what must be equal). Raises as `certify` does for files that cannot be used at all, and
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
        prompt=certification.prompt,  # the template that was used, whatever comes with the text now
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
    """Compare what needs no model. A ticket is the certificate's own, so a changed embedding is reported before it is
    compared with the ticket's fingerprints, which would call it a ticket from another pair."""
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
    """Whether a ticket said to be chosen by an alpha from this pair contains what this alpha chooses."""
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
            f"{int(mask.sum()):,} tokens, the certificate's ticket has {ticket.size:,}, and not the same ones."
        )


def _describe_circumstances(old: Certification, new: Certification) -> str:
    """What else has changed and may change numbers by rounding."""
    versions = read_versions()
    changed = [
        f"{name} {old.versions.get(name, 'unknown')} then and {version} now"
        for name, version in versions.items()
        if old.versions.get(name) != version
    ]
    if old.device != new.device:
        changed.append(f"device {old.device} then and {new.device} now")
    return f" Other circumstances differ too: {'; '.join(changed)}." if changed else ""


@dataclass
class Rounding:
    """The largest differences that counted as rounding."""

    probability: float = 0.0
    logit: float = 0.0

    def describe(self) -> str | None:
        """A sentence about them; None where every number is equal to the last bit."""
        parts = [
            f"{name} by up to {found:.1g} (up to {tolerance:g} counts as rounding)"
            for name, found, tolerance in (
                ("probabilities", self.probability, PROBABILITY_TOLERANCE),
                ("logits", self.logit, LOGIT_TOLERANCE),
            )
            if found
        ]
        return f"Computed again, numbers differ by rounding: {' and '.join(parts)}." if parts else None


@dataclass
class Comparison:
    """Of the certificate `old` and its recomputation `new`; `rounding` fills while differences are listed."""

    old: Certification
    new: Certification
    rounding: Rounding = field(default_factory=Rounding)

    def list_differences(self) -> Iterator[str]:
        """Sentences about what differs; none where the certificate holds."""
        old, new = self.old, self.new
        yield from _list_wording_differences(old, new)
        if old.inputs_fingerprint != new.inputs_fingerprint:
            yield "the text is split into other tokens than before: a tokenizer has changed."
        for name in ("prompt_hash", "decoding", "width", "vocabulary_size", "changed_rows"):
            one, other = getattr(old, name), getattr(new, name)
            if one != other:
                yield f"{name.replace('_', ' ')}: {_show(one)} in the certificate, {_show(other)} when computed again."
        if old.task.prompt not in (None, old.prompt):
            yield "the prompt of the certificate's task is not the one that it says was filled in."
        if old.chosen.significance_level != old.task.ticket.significance_level:
            yield _say(
                "the ticket", "alpha", old.chosen.significance_level, old.task.ticket.significance_level, "in its task"
            )
        yield from self._list_point_differences("with the ticket", old.chosen, new.chosen)
        levels = [[point.significance_level for point in side.grid] for side in (old, new)]
        if levels[0] != levels[1]:
            yield "the certificate's own grid of alphas does not match its task."
            return
        for one_point, other_point in zip(old.grid, new.grid, strict=True):
            yield from self._list_point_differences(
                f"at alpha {other_point.significance_level:g}", one_point, other_point
            )
        if old.distinct_tickets != new.distinct_tickets:
            yield _say("all tickets", "different ones", old.distinct_tickets, new.distinct_tickets)
        yield from self._compare("the certificate", "tokens", old.tokens, new.tokens)
        yield from self._compare("the certificate", "sentences", old.sentences, new.sentences)

    def _list_point_differences(self, where: str, old: TicketPoint, new: TicketPoint) -> Iterator[str]:
        for name in ("ticket_size", "left_behind"):
            if getattr(old, name) != getattr(new, name):
                yield _say(where, name.replace("_", " "), getattr(old, name), getattr(new, name))
        for kind, one, other in (
            ("predictions", old.predictions, new.predictions),
            ("outputs", old.outputs, new.outputs),
        ):
            yield from _list_tally_differences(f"{where}, {kind}", one, other, self.new.levels)
        for level in self.new.levels:
            steps = [point.output_step_violations.get(level.name) for point in (old, new)]
            if steps[0] != steps[1]:
                yield _say(where, f"violations at steps of outputs ({level.title})", steps[0], steps[1])
        if set(old.output_step_violations) != set(new.output_step_violations):
            yield f"{where}: violations at steps of outputs are counted for levels that the certificate does not have."
        yield from _list_larger_differences(where, old.larger_tickets, new.larger_tickets)
        for name in ("significance_level", "largest_exact_difference"):
            yield from self._compare(where, name, getattr(old, name), getattr(new, name))
        full = len(old.violations) == len(new.violations) >= MOST_LISTED
        hint = " Older versions listed another selection; if this is one, certify again." if full else ""
        for difference in self._compare(where, "violations", old.violations, new.violations):
            yield difference + hint
        if old.larger_tickets is not None and new.larger_tickets is not None:
            yield from self._compare(where, "listed", old.larger_tickets.listed, new.larger_tickets.listed)

    def _compare(self, where: str, name: str, old: Any, new: Any) -> Iterator[str]:
        """Two values of the same field `name`, of the thing that `where` names."""
        what = _WORDS.get(name, name.replace("_", " "))
        if isinstance(old, PositionSet) and isinstance(new, PositionSet):
            yield from _list_position_differences(where, old, new)
        elif is_dataclass(old) and type(old) is type(new):
            for one in fields(old):
                yield from self._compare(where, one.name, getattr(old, one.name), getattr(new, one.name))
        elif isinstance(old, dict) and isinstance(new, dict):
            yield from self._compare_levels(where, old, new)
        elif isinstance(old, tuple) and isinstance(new, tuple):
            if len(old) != len(new):
                yield _say(where, f"number of {what}", len(old), len(new))
            for number, (one, other) in enumerate(zip(old, new, strict=False)):
                yield from self._compare_entry(where, name, what, number, one, other)
        elif isinstance(old, float) and isinstance(new, float) and name != "significance_level":
            if not self._is_rounding(name, old, new):
                yield _say(where, what, old, new)
        elif old != new:
            if name in _NAMES:
                old, new = (value.replace("_", " ") if isinstance(value, str) else value for value in (old, new))
            yield _say(where, what, old, new)

    def _compare_entry(self, where: str, name: str, what: str, number: int, old: Any, new: Any) -> Iterator[str]:
        if isinstance(old, SentenceRecord):
            for one in fields(SentenceRecord):
                place, values = f"sentence {number + 1}", (getattr(old, one.name), getattr(new, one.name))
                if isinstance(values[0], PredictedSequence):
                    text = "output" if one.name == "output_sequence" else "reference translation"
                    yield from self._compare_sequences(f"{place}, {text}", *values)
                else:
                    yield from self._compare(place, one.name, *values)
        elif isinstance(old, TokenRecord):
            yield from self._compare(f"token with the id {old.token_id}", "", old, new)
        elif isinstance(old, Violation | LostPrediction):
            kind = "violation" if isinstance(old, Violation) else "lost prediction"
            yield from self._compare(f"{where}, listed {kind} {number + 1}", "", old, new)
        elif isinstance(old, LeftBehindToken):
            yield from self._compare(f"{where}, {what} {number + 1}", "", old, new)
        else:
            yield from self._compare(f"{where}, {what} {number + 1}", name, old, new)

    def _compare_sequences(self, where: str, old: PredictedSequence, new: PredictedSequence) -> Iterator[str]:
        for one in fields(PredictedSequence):
            values = getattr(old, one.name), getattr(new, one.name)
            what = _WORDS.get(one.name, one.name.replace("_", " "))
            if one.name == "levels":
                yield from self._compare_levels(
                    where, *({k: PositionSet(v) for k, v in side.items()} for side in values)
                )
            elif not isinstance(values[0], tuple):
                yield from self._compare(where, one.name, *values)
            elif len(values[0]) != len(values[1]):
                yield _say(where, f"number of entries in {what}", len(values[0]), len(values[1]))
            elif values[0] != values[1]:
                begin = 0 if one.name == "token_ids" else new.start
                for position, pair in enumerate(zip(*values, strict=True), start=begin + 1):
                    yield from self._compare(f"{where}, token {position}", one.name, *pair)

    def _compare_levels(self, where: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        if set(old) != set(new):
            yield f"{where}: it has other levels than the certificate."
            return
        titles = {level.name: level.title for level in self.new.levels}
        for name, value in new.items():
            yield from self._compare(f"{where}, certified ({titles[name]})", "", old[name], value)

    def _is_rounding(self, name: str, old: float, new: float) -> bool:
        difference = abs(old - new)
        if name in _LOGITS:
            if not math.isclose(old, new, rel_tol=LOGIT_TOLERANCE, abs_tol=LOGIT_TOLERANCE):
                return False
            self.rounding.logit = max(self.rounding.logit, difference)
            return True
        if not difference <= PROBABILITY_TOLERANCE:
            return False
        self.rounding.probability = max(self.rounding.probability, difference)
        return True


@dataclass(frozen=True)
class PositionSet:
    """Positions that a level certifies."""

    positions: tuple[int, ...]


def _list_position_differences(where: str, old: PositionSet, new: PositionSet) -> Iterator[str]:
    if old == new:
        return
    changed = set(old.positions) ^ set(new.positions)
    if not changed:
        yield f"{where}: the positions are the same, but not once each and in order."
        return
    first = min(changed)
    then, now = ("is" if first in side.positions else "is not" for side in (old, new))
    yield f"{where}: token {first + 1} {then} certified in the certificate, and {now} when computed again."


def _list_wording_differences(old: Certification, new: Certification) -> Iterator[str]:
    """What the certificate says of itself; words may also differ because another version wrote them."""
    for one, other in zip(old.levels, new.levels, strict=True):
        for name in ("title", "definition", "assumption"):
            if getattr(one, name) != getattr(other, name):
                yield (
                    f"the {name} of the level {other.title} is worded differently: {_show(getattr(one, name))} is in "
                    f"the certificate, this version says {_show(getattr(other, name))}."
                )
    if old.statement != new.statement:
        yield (
            f"the statement is worded differently: {_show(old.statement)} is in the certificate, this version says "
            f"{_show(new.statement)}."
        )


def _list_larger_differences(where: str, old: LargerTickets | None, new: LargerTickets | None) -> Iterator[str]:
    if old is None or new is None:
        if old is not new:
            has, now = ("are" if side is not None else "are not" for side in (old, new))
            yield f"{where}: larger tickets {has} counted in the certificate, and {now} when computed again."
        return
    for one in fields(LargerTickets):
        if one.name != "listed" and getattr(old, one.name) != getattr(new, one.name):
            yield _say(f"{where}: larger tickets", _WORDS[one.name], getattr(old, one.name), getattr(new, one.name))


def _list_tally_differences(where: str, old: Tally, new: Tally, levels: tuple[Level, ...]) -> Iterator[str]:
    for one in fields(Tally):
        counts = getattr(old, one.name), getattr(new, one.name)
        if one.name != "levels" and counts[0] != counts[1]:
            yield _say(where, one.name.replace("_", " "), *counts)
    if [counts.level for counts in old.levels] != [counts.level for counts in new.levels]:
        yield f"{where}: it has other levels than the certificate."
        return
    for level in levels:
        one_level, other_level = old.get_level(level.name), new.get_level(level.name)
        for name in ("certified", "correct", "violations"):
            if getattr(one_level, name) != getattr(other_level, name):
                yield _say(where, f"{name} ({level.title})", getattr(one_level, name), getattr(other_level, name))


def _say(where: str, what: str, old: object, new: object, at: str = "when computed again") -> str:
    return f"{where}: {what}: {_show(old)} in the certificate, {_show(new)} {at}."


def _show(value: object) -> str:
    """A value in plain words."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        short = value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "..."
        return f'"{short}"'
    return str(value)
