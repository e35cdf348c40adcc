"""Counts of one ticket over a whole text, and the sentences that a person looks at."""

from bisect import insort
from collections.abc import Sequence

import numpy as np

from kslottery_core.certification.certificate import (
    OUTPUT,
    REFERENCE,
    LevelCounts,
    PredictedSequence,
    Tally,
)
from kslottery_core.certification.comparing import Compared, ComparedUse
from kslottery_core.certification.findings import (
    LargerTickets,
    LeftBehindToken,
    LostPrediction,
    TokenProbability,
    Violation,
)
from kslottery_core.certification.levels import Level

MOST_LISTED = 100
"""Violations listed one by one for a ticket, the first in the order of the text; all of them are counted."""

MOST_LOST_LISTED = 25
"""The same of predictions that some larger ticket changes."""


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

    def take(self, compared: Compared, uses: Sequence[ComparedUse]) -> None:
        """Count one batch."""
        found = compared.largest_exact_difference
        if found is not None:
            self.largest_exact_difference = max(found, self.largest_exact_difference or 0.0)
        for use in uses:
            if use.use.text == REFERENCE:
                self._take_reference(use)
            else:
                self._take_output(use)
            self._list_violations(use)
            self._take_larger(use)

    def _take_reference(self, use: ComparedUse) -> None:
        self._sums["total"] += len(use.wanted)
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

    def _take_output(self, use: ComparedUse) -> None:
        at = use.use.sentence
        self._agreed[at], self._undefined[at] = use.agreed.all(), use.undefined.any()
        for name, certified in use.levels.items():
            self._certified[name][at] = certified.all()
            self.output_step_violations[name] += int((certified & ~use.agreed).sum())

    def _list_violations(self, use: ComparedUse) -> None:
        somehow = np.logical_or.reduce(list(use.levels.values()))
        for at in np.flatnonzero(somehow & ~use.agreed).tolist():
            position = use.use.start + at
            if len(self._violations) >= MOST_LISTED:
                # Batches come by length. What stands behind the last one here, and all after it in this text, is out.
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

    def _take_larger(self, use: ComparedUse) -> None:
        if use.larger is None:
            return
        # What a step of an output wrote is asked for, and where rounding has it otherwise here, no trial speaks of it.
        spoken = use.reference_correct if use.use.text == OUTPUT else np.ones(len(use.wanted), dtype=bool)
        for name, found in (("not_tried", use.larger.not_tried), ("lost", use.larger.lost)):
            counted = f"output_steps_{name}" if use.use.text == OUTPUT else name
            self._larger_sums[counted] = self._larger_sums.get(counted, 0) + int((found & spoken).sum())
        for at in np.flatnonzero(use.larger.lost & spoken).tolist():
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
        """Those that are listed, sentence by sentence."""
        return tuple(self._violations)

    @property
    def larger_tickets(self) -> LargerTickets | None:
        """What every larger ticket gave; None where they were not asked for."""
        if not self._larger_sums:
            return None
        return LargerTickets(**self._larger_sums, listed=tuple(sorted(self._lost, key=_get_place)[:MOST_LOST_LISTED]))


def _get_place(found: Violation | LostPrediction) -> tuple[int, bool, int]:
    return found.sentence, found.text == OUTPUT, found.position


def describe_sequence(use: ComparedUse) -> PredictedSequence:
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
