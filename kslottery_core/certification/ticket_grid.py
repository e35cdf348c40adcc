"""The chosen ticket and a grid of alphas on every sequence, computed together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kslottery_core.certification.certificate import (
    LEFT_BEHIND,
    OUTPUT,
    REFERENCE,
    TICKET,
    UNCHANGED,
    SentenceRecord,
    TicketPoint,
    TokenRecord,
)
from kslottery_core.certification.comparing import BatchComparison, ComparedUse
from kslottery_core.certification.inputs import EncodedSentence, InputSequence, SequenceTable, Use
from kslottery_core.certification.levels import list_levels
from kslottery_core.certification.passes import check_causal, make_batches
from kslottery_core.certification.reference_outputs import ReferenceOutput
from kslottery_core.certification.sides import Sides
from kslottery_core.certification.tallying import TicketTally, describe_sequence
from kslottery_core.certification.task import CertificationTask
from kslottery_core.certification.trying import BatchTrials
from kslottery_core.corpora import Corpus
from kslottery_core.ks import KSResult
from kslottery_core.progress import OnProgress, ProgressEvent, ShouldStop
from kslottery_core.tickets import compute_ticket_mask

if TYPE_CHECKING:
    from kslottery_core.checkpoints import EmbeddingPair


@dataclass(frozen=True)
class _PlannedPoint:
    significance_level: float | None
    ticket_size: int
    left_behind: int
    tally: int


class TicketGrid:
    """All tickets on all sequences. Tickets that leave the same tokens of the inputs behind share one tally."""

    def __init__(
        self,
        task: CertificationTask,
        pair: "EmbeddingPair",
        sides: Sides,
        result: KSResult,
        sentences: Sequence[EncodedSentence],
        outputs: Sequence[ReferenceOutput],
    ) -> None:
        self._task, self._pair, self._sides, self._result, self._outputs = task, pair, sides, result, outputs
        embedding: Any = sides.model.get_input_embeddings()
        after_rows = embedding.weight.detach().cpu()  # (V, d)
        self.changed = (sides.before_rows != after_rows).any(dim=1).numpy()
        self._sequences = _list_sequences(sentences, outputs)
        self._comparable = np.array(
            [
                sentence.reference_start == len(sentence.prompt_ids)
                and len(sentence.whole_ids) - sentence.reference_start <= task.max_new_tokens
                for sentence in sentences
            ]
        )
        self.tallies: list[TicketTally] = []
        self._larger_passes = 0
        self._planned = self._plan()
        self._chosen_uses: dict[tuple[str, int], ComparedUse] = {}

    def _plan(self) -> list[_PlannedPoint]:
        occurring = np.zeros(len(self.changed), dtype=bool)
        for sequence in self._sequences:
            occurring[list(sequence.token_ids[:-1])] = True
        masks = [(self._task.ticket.significance_level, self._chosen_mask)]
        masks += [(level, compute_ticket_mask(self._result, level)) for level in self._task.significance_levels]
        known: dict[bytes, int] = {}
        planned = []
        for level, mask in masks:
            left = self.changed & ~mask & occurring
            key = np.packbits(left).tobytes()
            if key not in known:
                known[key] = len(self.tallies)
                levels = list_levels(self._task.larger_ticket_limit)
                self.tallies.append(TicketTally(left, self._comparable, self._pair.tokens, self._result.counts, levels))
            planned.append(_PlannedPoint(level, int(mask.sum()), int(left.sum()), known[key]))
        return planned

    @property
    def _chosen_mask(self) -> np.ndarray:
        mask = np.zeros(len(self.changed), dtype=bool)
        mask[list(self._task.ticket.token_ids)] = True
        return mask

    def run(self, on_progress: OnProgress, should_stop: ShouldStop) -> bool:
        """Compare every batch; False when stopped before the end. Raises CertificationError for a model that reads
        ahead."""
        model, limit = self._sides.model, self._task.larger_ticket_limit
        check_causal(model, self._sequences[0])
        batches = make_batches(self._sequences, self._task.batch_size, self._pair.vocabulary_size)
        total, done = len(batches) * (1 + len(self.tallies) * (2 if limit else 1)), 0
        before_rows = self._sides.before_rows.to(model.device) if limit else self._sides.before_rows
        # From the smallest ticket to the largest: what every larger ticket keeps is then not tried again.
        order = sorted(range(len(self.tallies)), key=lambda number: -int(self.tallies[number].left.sum()))
        on_progress(ProgressEvent("certify", 0, total))
        for batch in batches:
            if should_stop():
                return False
            comparison = BatchComparison(model, batch, self._sides.before_rows, self._result)
            trials = BatchTrials(model, batch, before_rows, limit) if limit else None
            done += 1
            for number in order:
                if should_stop():
                    return False
                tally, trial = self.tallies[number], None
                compared = comparison.compare(tally.left)
                if trials is not None:
                    trial = trials.run(tally.left, compared, should_stop)
                    if trial is None:
                        return False
                    self._larger_passes += trial.passes
                    done += 1
                uses = comparison.list_uses(compared, trial)
                tally.take(compared, uses)
                if number == self._planned[0].tally:
                    self._chosen_uses |= {(use.use.text, use.use.sentence): use for use in uses}
                done += 1
                on_progress(ProgressEvent("certify", done, total))
        return True

    @property
    def points(self) -> tuple[TicketPoint, ...]:
        """The chosen ticket's, then one for each alpha."""
        return tuple(
            TicketPoint(
                significance_level=point.significance_level,
                ticket_size=point.ticket_size,
                left_behind=point.left_behind,
                predictions=tally.predictions,
                outputs=tally.outputs,
                largest_exact_difference=tally.largest_exact_difference,
                output_step_violations=dict(tally.output_step_violations),
                violations=tally.violations,
                larger_tickets=tally.larger_tickets,
            )
            for point in self._planned
            for tally in (self.tallies[point.tally],)
        )

    def list_tokens(self) -> tuple[TokenRecord, ...]:
        """Every token that stands in a sequence or is predicted in one, by ascending id."""
        seen: set[int] = set()
        for use in self._chosen_uses.values():
            seen |= {*use.sequence.token_ids, *use.reference[0][:, 0].tolist(), *use.partial[0][:, 0].tolist()}
        held, changed, counts, labels = self._chosen_mask, self.changed, self._result.counts, self._pair.tokens
        return tuple(
            TokenRecord(
                token_id,
                labels[token_id],
                TICKET if held[token_id] else LEFT_BEHIND if changed[token_id] else UNCHANGED,
                int(counts[token_id]),
            )
            for token_id in sorted(seen)
        )

    def list_sentences(self, corpus: Corpus) -> tuple[SentenceRecord, ...]:
        """One record a sentence, with the chosen ticket."""
        tokenizer: Any = self._sides.tokenizer
        return tuple(
            SentenceRecord(
                source=sentence.source,
                reference=sentence.target,
                output=tokenizer.decode(output.token_ids, skip_special_tokens=True).strip(),
                ended=output.ended,
                reference_sequence=describe_sequence(self._chosen_uses[REFERENCE, number]),
                output_sequence=describe_sequence(self._chosen_uses[OUTPUT, number]),
            )
            for number, (sentence, output) in enumerate(zip(corpus.pairs, self._outputs, strict=True))
        )

    @property
    def notes(self) -> list[str]:
        """What a reader of the counts should know."""
        notes = []
        outputs = [use for (text, _), use in self._chosen_uses.items() if text == OUTPUT]
        unrepeated = sum(int((~use.reference_correct & ~use.undefined).sum()) for use in outputs)
        if unrepeated:
            notes.append(
                f"At {unrepeated:,} of {sum(len(use.wanted) for use in outputs):,} steps of its own outputs the "
                "embedding-tuned model, passed over the whole text at once, prefers another token than it wrote: "
                "nearly equal probabilities that rounding orders differently. No bound certifies these steps."
            )
        limit, chosen = self._task.larger_ticket_limit, self.points[0]
        if chosen.larger_tickets is not None:
            notes.append(
                f"Every larger ticket took {self._larger_passes:,} further passes of one sequence each, for all alphas "
                f"together. Predictions with more than {limit:,} left-behind tokens were not tried: with this ticket "
                f"{chosen.larger_tickets.not_tried:,} of {chosen.predictions.total:,}."
            )
        undefined = self.points[0].predictions.undefined
        if undefined:
            notes.append(
                f"At {undefined:,} positions the embedding-tuned model's logits are no numbers; they are certified at "
                "no level."
            )
        unended = sum(not output.ended for output in self._outputs)
        if unended:
            notes.append(
                f"{unended:,} of {len(self._outputs):,} outputs of the embedding-tuned model ran into the limit of "
                f"{self._task.max_new_tokens:,} new tokens; they are certified up to there."
            )
        return notes


def _list_sequences(sentences: Sequence[EncodedSentence], outputs: Sequence[ReferenceOutput]) -> list[InputSequence]:
    table = SequenceTable()
    for number, (sentence, output) in enumerate(zip(sentences, outputs, strict=True)):
        table.add(sentence.whole_ids, Use(REFERENCE, number, sentence.reference_start))
        table.add((*sentence.prompt_ids, *output.token_ids), Use(OUTPUT, number, len(sentence.prompt_ids)))
    return table.list()
