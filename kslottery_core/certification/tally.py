"""Counts of one ticket over a whole text, and the predictions and sentences that a person looks at.

Why one pass for each partial model is enough, also for whole outputs: the reference's greedy output y is generated
once. A greedy decoder's next token is a function of what it has written so far. So if the partial model, fed with the
prompt and y, has y's token as its top token at every step, it writes y by itself, by induction over the steps; and if
it has another top token at some step, its own output leaves y at the first such step. Teacher-forced agreement at
every step is therefore the same as equal greedy outputs. (Up to ties that rounding breaks: a pass over the whole
sequence need not give the same last bits as step-by-step generation.)
"""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kslottery_core.certification.certificate import (
    OUTPUT,
    REFERENCE,
    LargerTickets,
    LeftBehindToken,
    LevelCounts,
    LostPrediction,
    PredictedSequence,
    Tally,
    TokenProbability,
    Violation,
)
from kslottery_core.certification.forward_pass import Batch, PairedPredictions
from kslottery_core.certification.larger_tickets import LargerTicketOutcome
from kslottery_core.certification.levels import Evidence, Level, decide_levels
from kslottery_core.certification.sequences import InputSequence, SequenceUse

MOST_LISTED = 100
"""At most this many violations are listed for a ticket, the first in the order of the text; all are counted."""

MOST_LOST_LISTED = 25
"""The same for predictions that some larger ticket changes."""


@dataclass(frozen=True, eq=False)
class ComparedSequence:
    """One use of a sequence, with both models' predictions at its n positions.

    `target_ids` (n,) are the sequence's own tokens; `levels` says which predictions each level certifies, bool (n,);
    `agreed` (n,) whether both models have the same top token; `undefined` (n,) where the reference has none.
    `larger` is the outcome of every larger ticket; None where these were not requested.
    """

    use: SequenceUse
    sequence: InputSequence
    target_ids: np.ndarray
    left_behind: np.ndarray
    counts: np.ndarray
    reference: tuple[np.ndarray, np.ndarray]
    partial: tuple[np.ndarray, np.ndarray]
    levels: dict[str, np.ndarray]
    larger: LargerTicketOutcome | None = None

    @cached_property
    def undefined(self) -> np.ndarray:
        return np.isnan(self.reference[1][:, 0])

    @cached_property
    def agreed(self) -> np.ndarray:
        return (self.reference[0][:, 0] == self.partial[0][:, 0]) & ~self.undefined & ~np.isnan(self.partial[1][:, 0])

    @property
    def reference_correct(self) -> np.ndarray:
        """Whether the reference's top token is the sequence's own, bool (n,)."""
        return (self.reference[0][:, 0] == self.target_ids) & ~self.undefined

    @property
    def partial_correct(self) -> np.ndarray:
        """The same for the partial model, bool (n,)."""
        return (self.partial[0][:, 0] == self.target_ids) & ~np.isnan(self.partial[1][:, 0])


def compare_sequences(
    batch: Batch, compared: PairedPredictions, width: int, larger: LargerTicketOutcome | None = None
) -> list[ComparedSequence]:
    """The comparison of a batch cut up into the uses of each sequence, with the levels decided; `width` is d."""
    uses = []
    for number, sequence in enumerate(batch.sequences):
        end = int(batch.offsets[number + 1])
        for use in sequence.uses:
            at = slice(int(batch.offsets[number]) + use.start - sequence.start, end)
            cut = None if larger is None else larger.select(at)
            uses.append(_compare_sequence(use, sequence, compared, at, width, cut))
    return uses


def _compare_sequence(
    use: SequenceUse,
    sequence: InputSequence,
    compared: PairedPredictions,
    at: slice,
    width: int,
    larger: LargerTicketOutcome | None,
) -> ComparedSequence:
    reference = (compared.reference[0][at], compared.reference[1][at])
    target_ids = np.array(sequence.token_ids[use.start :])
    margins = reference[1][:, 0] - reference[1][:, 1]
    kept = None if larger is None else larger.kept
    if use.text == OUTPUT:
        # Rounding may break a near tie differently here than in the generation. What was written is then not what this
        # pass predicts, and neither a margin nor a larger ticket supports it.
        repeated = reference[0][:, 0] == target_ids
        margins = np.where(repeated, margins, -np.abs(margins))
        kept = None if kept is None else kept & repeated
    left_behind, counts = compared.left_behind[at], compared.counts[at]
    return ComparedSequence(
        use,
        sequence,
        target_ids,
        left_behind,
        counts,
        reference,
        (compared.partial[0][at], compared.partial[1][at]),
        decide_levels(Evidence(margins, left_behind, counts, width, kept)),
        larger,
    )


class TicketTally:
    """Gathers what one ticket does on every use of every sequence; S sentences in all.

    `left` (V,) bool are the tokens outside the ticket whose rows changed; `labels` name every token; `comparable` (S,)
    says where an output could be the reference translation token for token: it begins at the same place, and its length
    is allowed. `levels` are those of the certificate.
    """

    def __init__(
        self,
        left: np.ndarray,
        comparable: np.ndarray,
        labels: Sequence[str],
        counts: np.ndarray,
        levels: Sequence[Level],
    ) -> None:
        self.left = left
        self._labels, self._counts, self._comparable = labels, counts, comparable
        self._sums = dict.fromkeys(("total", "agreed", "reference_correct", "partial_correct", "undefined"), 0)
        self._level_sums = {level.name: [0, 0, 0] for level in levels}
        sentences = len(comparable)
        self._reference_equal, self._partial_equal, self._undefined, self._agreed = np.zeros((4, sentences), dtype=bool)
        self._certified = {level.name: np.zeros(sentences, dtype=bool) for level in levels}
        self.output_step_violations = {level.name: 0 for level in levels}
        self.largest_exact_difference: float | None = None
        self._violations: list[Violation] = []
        self._larger_sums: dict[str, int] = {}
        self._lost: list[LostPrediction] = []

    def count_batch(self, compared: PairedPredictions, uses: Sequence[ComparedSequence]) -> None:
        """Count one batch."""
        found = compared.largest_exact_difference
        if found is not None:
            self.largest_exact_difference = max(found, self.largest_exact_difference or 0.0)
        for use in uses:
            if use.use.text == REFERENCE:
                self._count_reference(use)
            else:
                self._count_output(use)
            self._list_violations(use)
            self._count_larger(use)

    def _count_reference(self, use: ComparedSequence) -> None:
        self._sums["total"] += len(use.target_ids)
        for name in ("agreed", "reference_correct", "partial_correct", "undefined"):
            self._sums[name] += int(getattr(use, name).sum())
        for name, certified in use.levels.items():
            sums = self._level_sums[name]
            sums[0] += int(certified.sum())
            sums[1] += int((certified & use.reference_correct).sum())
            sums[2] += int((certified & ~use.agreed).sum())
        at = use.use.sentence
        self._reference_equal[at] = self._comparable[at] and use.reference_correct.all()
        self._partial_equal[at] = self._comparable[at] and use.partial_correct.all()

    def _count_output(self, use: ComparedSequence) -> None:
        at = use.use.sentence
        self._agreed[at], self._undefined[at] = use.agreed.all(), use.undefined.any()
        for name, certified in use.levels.items():
            self._certified[name][at] = certified.all()
            self.output_step_violations[name] += int((certified & ~use.agreed).sum())

    def _list_violations(self, use: ComparedSequence) -> None:
        somehow = np.logical_or.reduce(list(use.levels.values()))
        for at in np.flatnonzero(somehow & ~use.agreed).tolist():
            position = use.use.start + at
            if len(self._violations) >= MOST_LISTED:
                # Batches are ordered by length. Anything after the last listed violation in the text is not listed.
                if (use.use.sentence, use.use.text == OUTPUT, position) > _get_place(self._violations[-1]):
                    return
                self._violations.pop()
            read = dict.fromkeys(use.sequence.token_ids[:position])
            insort(
                self._violations,
                Violation(
                    text=use.use.text,
                    sentence=use.use.sentence,
                    position=position,
                    levels=tuple(name for name, certified in use.levels.items() if certified[at]),
                    reference_top=self._name_top(use.reference, at),
                    partial_top=self._name_top(use.partial, at),
                    first_probability=float(use.reference[1][at, 0]),
                    second_probability=float(use.reference[1][at, 1]),
                    counts=int(use.counts[at]),
                    left_behind=tuple(self._name_left_behind(token_id) for token_id in read if self.left[token_id]),
                ),
                key=_get_place,
            )

    def _count_larger(self, use: ComparedSequence) -> None:
        if use.larger is None:
            return
        # The question is the token that a step of an output wrote; where rounding gives another one here, larger
        # tickets were run for that one, and say nothing.
        repeated = use.reference_correct if use.use.text == OUTPUT else np.ones(len(use.target_ids), dtype=bool)
        for name, found in (("not_tried", use.larger.not_tried), ("lost", use.larger.lost)):
            counted = f"output_steps_{name}" if use.use.text == OUTPUT else name
            self._larger_sums[counted] = self._larger_sums.get(counted, 0) + int((found & repeated).sum())
        for at in np.flatnonzero(use.larger.lost & repeated).tolist():
            token_id = int(use.reference[0][at, 0])
            self._lost.append(
                LostPrediction(
                    text=use.use.text,
                    sentence=use.use.sentence,
                    position=use.use.start + at,
                    token_id=token_id,
                    label=self._labels[token_id],
                    margin=_to_json_number(float(use.larger.margins[at])),
                    least_margin=_to_json_number(float(use.larger.least_margins[at])),
                    kept_before=tuple(map(self._name_left_behind, use.larger.kept_before[at])),
                )
            )

    def _name_left_behind(self, token_id: int) -> LeftBehindToken:
        return LeftBehindToken(token_id, self._labels[token_id], int(self._counts[token_id]))

    def _name_top(self, ranked: tuple[np.ndarray, np.ndarray], at: int) -> tuple[TokenProbability, ...]:
        return tuple(
            TokenProbability(token_id, self._labels[token_id], _to_json_number(probability))
            for token_id, probability in zip(ranked[0][at].tolist(), ranked[1][at].tolist(), strict=True)
        )

    @property
    def predictions(self) -> Tally:
        """Counts over every position of the reference translations."""
        return Tally(**self._sums, levels=tuple(LevelCounts(name, *sums) for name, sums in self._level_sums.items()))

    @property
    def outputs(self) -> Tally:
        """Counts over whole greedy outputs."""
        return Tally(
            total=len(self._agreed),
            agreed=int(self._agreed.sum()),
            reference_correct=int(self._reference_equal.sum()),
            partial_correct=int(self._partial_equal.sum()),
            undefined=int(self._undefined.sum()),
            levels=tuple(
                LevelCounts(
                    name,
                    int(certified.sum()),
                    int((certified & self._reference_equal).sum()),
                    int((certified & ~self._agreed).sum()),
                )
                for name, certified in self._certified.items()
            ),
        )

    @property
    def violations(self) -> tuple[Violation, ...]:
        """The listed violations, sentence by sentence."""
        return tuple(self._violations)

    @property
    def larger_tickets(self) -> LargerTickets | None:
        """The outcome of every larger ticket; None where these were not requested."""
        if not self._larger_sums:
            return None
        return LargerTickets(**self._larger_sums, listed=tuple(sorted(self._lost, key=_get_place)[:MOST_LOST_LISTED]))


def _get_place(found: Violation | LostPrediction) -> tuple[int, bool, int]:
    return found.sentence, found.text == OUTPUT, found.position


def describe_sequence(use: ComparedSequence) -> PredictedSequence:
    """The record of one sequence for the sentence view."""
    return PredictedSequence(
        token_ids=use.sequence.token_ids,
        start=use.use.start,
        predicted=tuple(use.reference[0][:, 0].tolist()),
        partial_predicted=tuple(use.partial[0][:, 0].tolist()),
        first_probabilities=tuple(map(_to_json_number, use.reference[1][:, 0].tolist())),
        second_probabilities=tuple(map(_to_json_number, use.reference[1][:, 1].tolist())),
        left_behind=tuple(use.left_behind.tolist()),
        counts=tuple(use.counts.tolist()),
        levels={
            name: tuple((use.use.start + np.flatnonzero(certified)).tolist()) for name, certified in use.levels.items()
        },
    )


def _to_json_number(value: float) -> float | None:
    return None if value != value else value
