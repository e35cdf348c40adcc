"""From two checkpoints, a ticket and a text to a certification."""

import importlib.metadata
import platform
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import kslottery_core
from kslottery_core.certification.certificate import Certification
from kslottery_core.certification.inputs import (
    check_lengths,
    check_same_encoding,
    compute_inputs_fingerprint,
    encode_sentences,
)
from kslottery_core.certification.levels import NOT_THE_PAPER, list_levels
from kslottery_core.certification.reference_outputs import generate_reference_outputs
from kslottery_core.certification.sides import OnFingerprints, load_sides, open_certified_pair
from kslottery_core.certification.task import CertificationTask, resolve_paths
from kslottery_core.certification.ticket_grid import TicketGrid
from kslottery_core.corpora import DEFAULT_PROMPT, fill_prompt, hash_prompt, load_corpus
from kslottery_core.errors import CertificationError
from kslottery_core.ks import choose_device, compute_pair_ks
from kslottery_core.progress import OnProgress, ShouldStop, ignore_progress, never_stop
from kslottery_core.tickets import Ticket, check_ticket_fits

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

    The embedding-tuned model generates once and passes over every batch once; each ticket that leaves other tokens of a
    batch behind passes over it once more, and so do the models of larger tickets where these are asked for. Raises,
    before any model runs, CheckpointError, TicketError, CorpusError, KSInputError, or CertificationError: checkpoints
    that differ elsewhere than in the input embedding, in vocabulary or tokenizer, a ticket from another pair, sentences
    longer than the model allows. The certificate names what is on this disk by absolute paths. `on_fingerprints` gets
    the digests of both checkpoints as soon as they are known; what it raises ends the work there.
    """
    started = time.perf_counter()
    corpus = load_corpus(task.corpus)
    device = choose_device(task.device)
    pair = open_certified_pair(task)
    check_ticket(task.ticket, pair)
    recorded = replace(resolve_paths(task), device=device)
    sides = load_sides(task, pair, device, on_progress, on_fingerprints)
    prompt = task.prompt or corpus.prompt or DEFAULT_PROMPT
    sentences = encode_sentences(sides.tokenizer, corpus, task.corpus, prompt)
    others = encode_sentences(sides.before_tokenizer, corpus, task.corpus, prompt)
    check_same_encoding(sentences, others, task.before, task.after)
    check_lengths(sides.model, sentences, task.max_new_tokens, pair.vocabulary_size)
    result = compute_pair_ks(pair, device, on_progress)
    outputs = generate_reference_outputs(
        sides.model,
        sides.tokenizer,
        [sentence.prompt_ids for sentence in sentences],
        task.max_new_tokens,
        task.batch_size,
        on_progress,
        should_stop,
    )
    if outputs is None:
        return None
    grid = TicketGrid(task, pair, sides, result, sentences, outputs)
    if not grid.run(on_progress, should_stop):
        return None
    return Certification(
        task=recorded,
        before=sides.before,
        after=sides.after,
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
    """Raise TicketError for a ticket of other shapes, CertificationError for one that another pair gave."""
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
    """Versions of what decides the numbers."""
    packages = {name: importlib.metadata.version(name) for name in ("torch", "transformers")}
    return {"kslottery": kslottery_core.__version__, "python": platform.python_version(), **packages}


def _fill_languages(prompt: str, task: CertificationTask) -> str:
    languages = {"source_language": task.corpus.source, "target_language": task.corpus.target}
    return fill_prompt(prompt, source="{source}", **languages)
