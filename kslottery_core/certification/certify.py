"""From two checkpoints, a ticket and a text to a certification: the ticket and a grid of alphas, computed together."""

import importlib.metadata
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

import kslottery_core
from kslottery_core import jobs
from kslottery_core.certification.certificate import (
    LEFT_BEHIND,
    OUTPUT,
    REFERENCE,
    TICKET,
    UNCHANGED,
    Certification,
    SentenceRecord,
    TicketPoint,
    TokenRecord,
)
from kslottery_core.certification.forward_pass import BatchComparison, check_causal, make_batches
from kslottery_core.certification.larger_tickets import BatchLargerTickets
from kslottery_core.certification.levels import NOT_THE_PAPER, list_levels
from kslottery_core.certification.models import CertifiedModels, OnFingerprints, load_models, open_certified_pair
from kslottery_core.certification.sequences import (
    EncodedSentence,
    ReferenceOutput,
    check_lengths,
    check_same_encoding,
    compute_inputs_fingerprint,
    encode_sentences,
    generate_reference_outputs,
    list_sequences,
)
from kslottery_core.certification.tally import ComparedSequence, TicketTally, compare_sequences, describe_sequence
from kslottery_core.certification.task import CertificationTask, resolve_paths
from kslottery_core.corpora import DEFAULT_PROMPT, Corpus, fill_prompt, hash_prompt, load_corpus
from kslottery_core.errors import CertificationError
from kslottery_core.ks import KSResult, choose_device, compute_pair_ks
from kslottery_core.progress import OnProgress, ProgressEvent, ShouldStop, ignore_progress, never_stop
from kslottery_core.tickets import Ticket, check_ticket_fits, compute_ticket_mask

if TYPE_CHECKING:
    from kslottery_core.checkpoints import EmbeddingPair


def certify(
    task: CertificationTask,
    *,
    on_progress: OnProgress = ignore_progress,
    should_stop: ShouldStop = never_stop,
    on_fingerprints: OnFingerprints | None = None,
) -> Certification | None:
    """Certify the task's ticket and its grid of alphas on a whole text; None when stopped.

    The embedding-tuned model generates once and runs over every batch once; each ticket that leaves other tokens of a
    batch behind takes one more pass over it, and so do the models of larger tickets where these are requested. Raises,
    before any model runs, CheckpointError, TicketError, CorpusError, KSInputError, or CertificationError: checkpoints
    that differ outside the input embedding, in vocabulary or tokenizer, a ticket from another pair, sentences
    longer than the model allows. The certificate names local files by absolute paths. `on_fingerprints` gets the
    digests of both checkpoints as soon as they are known; an exception from it ends the work.

    Before a model is loaded the work waits for its turn on the device, as a run does; an event of the phase "wait" says
    for whom in its message.
    """
    corpus = load_corpus(task.corpus)
    device = choose_device(task.device)
    pair = open_certified_pair(task)
    check_ticket(task.ticket, pair)
    recorded = replace(resolve_paths(task), device=device)

    def report_wait(waits_for: str) -> None:
        on_progress(ProgressEvent("wait", 0, 1, message=waits_for))

    name = f"the certificate of {task.ticket.size:,} token{'' if task.ticket.size == 1 else 's'}"
    with jobs.hold_turn(device, name, on_wait=report_wait, should_stop=should_stop) as held:
        if not held:
            return None
        return _certify(recorded, corpus, pair, on_progress, should_stop, on_fingerprints)


def _certify(
    task: CertificationTask,
    corpus: Corpus,
    pair: "EmbeddingPair",
    on_progress: OnProgress,
    should_stop: ShouldStop,
    on_fingerprints: OnFingerprints | None,
) -> Certification | None:
    """`certify` with its turn on the device; `task` is as it is recorded, with the device that was chosen."""
    started, device = time.perf_counter(), task.device
    models = load_models(task, pair, device, on_progress, on_fingerprints)
    prompt = task.prompt or corpus.prompt or DEFAULT_PROMPT
    sentences = encode_sentences(models.tokenizer, corpus, task.corpus, prompt)
    others = encode_sentences(models.before_tokenizer, corpus, task.corpus, prompt)
    check_same_encoding(sentences, others, task.before, task.after)
    check_lengths(models.model, sentences, task.max_new_tokens, pair.vocabulary_size)
    result = compute_pair_ks(pair, device, on_progress)
    outputs = generate_reference_outputs(
        models.model,
        models.tokenizer,
        [sentence.prompt_ids for sentence in sentences],
        task.max_new_tokens,
        task.batch_size,
        on_progress,
        should_stop,
    )
    if outputs is None:
        return None
    grid = TicketGrid(task, pair, models, result, sentences, outputs)
    if not grid.run(on_progress, should_stop):
        return None
    return Certification(
        task=task,
        before=models.before,
        after=models.after,
        corpus_fingerprint=corpus.fingerprint,
        inputs_fingerprint=compute_inputs_fingerprint(sentences),
        prompt=prompt,
        prompt_hash=hash_prompt(_fill_languages(prompt, task)),
        decoding=f"greedy, at most {task.max_new_tokens} new tokens, float32",
        width=result.width,
        vocabulary_size=pair.vocabulary_size,
        changed_rows=int(grid.changed.sum()),
        levels=list_levels(task.larger_ticket_limit),
        statement=NOT_THE_PAPER,
        chosen=grid.points[0],
        grid=grid.points[1:],
        tokens=grid.list_tokens(),
        sentences=grid.list_sentences(corpus),
        device=device,
        versions=read_versions(),
        seconds=time.perf_counter() - started,
        distinct_tickets=len(grid.tallies),
        notes=(*pair.notes, *grid.notes),
    )


def check_ticket(ticket: Ticket, pair: "EmbeddingPair") -> None:
    """Raise TicketError for a ticket of other shapes, CertificationError for one selected from another pair."""
    if ticket.token_ids:
        check_ticket_fits(ticket, pair.vocabulary_size, pair.width)
    for side, matrix, known in (
        ("before", pair.before, ticket.fingerprint_before),
        ("after", pair.after, ticket.fingerprint_after),
    ):
        if known is not None and known != matrix.fingerprint:
            raise CertificationError(
                f"ticket: expected one that was selected from this pair, found that its {side} embedding "
                f"({known[:12]}...) is not that of {matrix.source} ({matrix.fingerprint[:12]}...); select the ticket "
                "again from these two checkpoints."
            )


def read_versions() -> dict[str, str]:
    """Versions of the software that decides the numbers."""
    packages = {name: importlib.metadata.version(name) for name in ("torch", "transformers")}
    return {"kslottery": kslottery_core.__version__, "python": platform.python_version(), **packages}


def _fill_languages(prompt: str, task: CertificationTask) -> str:
    languages = {"source_language": task.corpus.source, "target_language": task.corpus.target}
    return fill_prompt(prompt, source="{source}", **languages)


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
        models: CertifiedModels,
        result: KSResult,
        sentences: Sequence[EncodedSentence],
        outputs: Sequence[ReferenceOutput],
    ) -> None:
        self._task, self._pair, self._models, self._result, self._outputs = task, pair, models, result, outputs
        embedding: Any = models.model.get_input_embeddings()
        after_rows = embedding.weight.detach().cpu()  # (V, d)
        self.changed = (models.before_rows != after_rows).any(dim=1).numpy()
        self._sequences = list_sequences(sentences, outputs)
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
        self._chosen_sequences: dict[tuple[str, int], ComparedSequence] = {}

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
        """Compare every batch; False when stopped before the end. Raises CertificationError for a model that is not
        causal."""
        import torch

        model, limit = self._models.model, self._task.larger_ticket_limit
        check_causal(model, torch.tensor(self._sequences[0].token_ids))
        batches = make_batches(self._sequences, self._task.batch_size, self._pair.vocabulary_size)
        total, done = len(batches) * (1 + len(self.tallies) * (2 if limit else 1)), 0
        before_rows = self._models.before_rows.to(model.device) if limit else self._models.before_rows
        # From the smallest ticket to the largest: predictions that every larger ticket keeps are then not tried again.
        order = sorted(range(len(self.tallies)), key=lambda number: -int(self.tallies[number].left.sum()))
        on_progress(ProgressEvent("certify", 0, total))
        for batch in batches:
            if should_stop():
                return False
            comparison = BatchComparison(model, batch, self._models.before_rows, self._result)
            larger = BatchLargerTickets(model, batch, before_rows, limit) if limit else None
            done += 1
            for number in order:
                if should_stop():
                    return False
                tally, outcome = self.tallies[number], None
                compared = comparison.compare(tally.left)
                if larger is not None:
                    outcome = larger.run(tally.left, compared, should_stop)
                    if outcome is None:
                        return False
                    self._larger_passes += outcome.passes
                    done += 1
                uses = compare_sequences(batch, compared, self._result.width, outcome)
                tally.count_batch(compared, uses)
                if number == self._planned[0].tally:
                    self._chosen_sequences |= {(use.use.text, use.use.sentence): use for use in uses}
                done += 1
                on_progress(ProgressEvent("certify", done, total))
        return True

    @property
    def points(self) -> tuple[TicketPoint, ...]:
        """The point of the chosen ticket, then one for each alpha."""
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
        """Every token that occurs in a sequence or is predicted in one, by ascending id."""
        seen: set[int] = set()
        for use in self._chosen_sequences.values():
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
        """One record per sentence, with the chosen ticket."""
        tokenizer: Any = self._models.tokenizer
        return tuple(
            SentenceRecord(
                source=sentence.source,
                reference=sentence.target,
                output=tokenizer.decode(output.token_ids, skip_special_tokens=True).strip(),
                ended=output.ended,
                reference_sequence=describe_sequence(self._chosen_sequences[REFERENCE, number]),
                output_sequence=describe_sequence(self._chosen_sequences[OUTPUT, number]),
            )
            for number, (sentence, output) in enumerate(zip(corpus.pairs, self._outputs, strict=True))
        )

    @property
    def notes(self) -> list[str]:
        """What a reader of the counts should know."""
        notes = []
        outputs = [use for (text, _), use in self._chosen_sequences.items() if text == OUTPUT]
        unrepeated = sum(int((~use.reference_correct & ~use.undefined).sum()) for use in outputs)
        if unrepeated:
            notes.append(
                f"At {unrepeated:,} of {sum(len(use.target_ids) for use in outputs):,} steps of its own outputs the "
                "embedding-tuned model, run over the whole text at once, prefers another token than it wrote: "
                "nearly equal probabilities, which rounding orders differently. No bound certifies these steps."
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
                f"At {undefined:,} positions the embedding-tuned model's logits are not numbers; they are certified at "
                "no level."
            )
        unended = sum(not output.ended for output in self._outputs)
        if unended:
            notes.append(
                f"{unended:,} of {len(self._outputs):,} outputs of the embedding-tuned model reached the limit of "
                f"{self._task.max_new_tokens:,} new tokens; they are certified up to that point."
            )
        return notes
