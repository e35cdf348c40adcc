"""Where a certificate is kept, so that the same question is not computed twice."""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

from kslottery_core.certification.certificate import CERTIFICATE_VERSION
from kslottery_core.certification.task import CertificationTask
from kslottery_core.corpora import DEFAULT_PROMPT, load_corpus


def find_certificate_path(task: CertificationTask, folder: str | Path) -> Path:
    """The file in `folder` for exactly this task; it is there only if somebody has saved one.

    Its name digests the state of both checkpoints' files, the ticket's ids, the text's content, the filled settings and
    the version of certificates, not how paths are spelled nor the device. Reads headers and the text, no weights.
    Raises CheckpointError or CorpusError.
    """
    from kslottery_core.checkpoints import open_pair, open_parameters

    corpus = load_corpus(task.corpus)
    pair = open_pair(task.before, task.after, before_revision=task.before_revision, after_revision=task.after_revision)
    sides = [
        (pair.before.file_signature, open_parameters(task.before, revision=task.before_revision).file_signature),
        (pair.after.file_signature, open_parameters(task.after, revision=task.after_revision).file_signature),
    ]
    ticket = task.ticket
    settings = {
        name: value
        for name, value in asdict(replace(task, prompt=task.prompt or corpus.prompt or DEFAULT_PROMPT)).items()
        if name in ("prompt", "significance_levels", "max_new_tokens", "batch_size")
    }
    if task.larger_ticket_limit:  # off, it is no part of the name, which older files have without it
        settings["larger_ticket_limit"] = task.larger_ticket_limit
    decisive = {
        "version": CERTIFICATE_VERSION,
        "sides": sides,
        "ticket": [ticket.token_ids, ticket.significance_level, ticket.fingerprint_before, ticket.fingerprint_after],
        "corpus": [corpus.fingerprint, task.corpus.source, task.corpus.target],
        **settings,
    }
    return Path(folder) / f"{hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:32]}.json"
