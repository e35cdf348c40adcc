"""Where a certificate is kept, so that the same question is not computed twice."""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

from kslottery_core.certification.certificate import CERTIFICATE_VERSION
from kslottery_core.certification.task import CertificationTask
from kslottery_core.corpora import DEFAULT_PROMPT, load_corpus
from kslottery_core.errors import CheckpointError


def find_certificate_path(task: CertificationTask, folder: str | Path) -> Path:
    """The file in `folder` for exactly this task; it is there only if somebody has saved one.

    Its name digests the state of both checkpoints' files, AFTER's generation settings, whose end tokens decide its
    outputs, the ticket's ids, the text's content, the filled settings and the version of certificates, not how paths
    are spelled nor the device. Ask for it before certifying: files may be written anew meanwhile. Reads headers and
    the text, no weights. Raises CheckpointError or CorpusError.
    """
    from kslottery_core.checkpoints import find_generation_config, open_pair, open_parameters

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
    generation = find_generation_config(task.after, task.after_revision)
    if generation is not None:  # without any, the name is as in older versions
        settings["generation"] = hashlib.sha256(_read(generation)).hexdigest()
    decisive = {
        "version": CERTIFICATE_VERSION,
        "sides": sides,
        "ticket": [ticket.token_ids, ticket.significance_level, ticket.fingerprint_before, ticket.fingerprint_after],
        "corpus": [corpus.fingerprint, task.corpus.source, task.corpus.target],
        **settings,
    }
    return Path(folder) / f"{hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:32]}.json"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise CheckpointError(f"{path}: this file cannot be read ({problem}); check its permissions.") from None
