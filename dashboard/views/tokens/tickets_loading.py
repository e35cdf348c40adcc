"""Which tickets of other hands could hold a pair's token, and which runs trained its row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import loaders
from dashboard.loaders import Comparison, load_run_store
from dashboard.loaders.kept_results import list_description_folders
from dashboard.loaders.vocabulary import is_fetched
from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    from kslottery_core.checkpoints import EmbeddingMatrix
    from kslottery_core.runs import RunRecord
    from kslottery_core.tickets import Ticket

_TICKET_METHODS = ("ticket", "transfer")
_WHOLE_METHODS = ("embedding", "full")


@dataclass(frozen=True, eq=False)
class RowRun:
    """A run that trains or copies rows of the input embedding; `ticket` says which, None stands for all of them.

    `same_model` says whether it started from the very rows of the pair's before side; None when that is not known.
    """

    run_id: str
    name: str
    method: str
    state: str
    ticket: Ticket | None
    same_model: bool | None

    def trains(self, token_id: int) -> bool:
        """Whether the row of this token is among those that the run trains or copies."""
        return self.ticket is None or token_id in self.ticket.token_ids


@dataclass(frozen=True)
class RowRuns:
    """Runs on a vocabulary of the pair's size, newest first, and how many whose vocabulary is not known."""

    runs: tuple[RowRun, ...]
    unknown: int


def load_fitting_published(vocabulary_size: int) -> dict[str, Ticket]:
    """The published tickets for a vocabulary of this size, by name. Raises KSLotteryError."""
    from kslottery_core.tickets import load_published_tickets

    return {
        name: ticket for name, ticket in load_published_tickets().items() if ticket.vocabulary_size == vocabulary_size
    }


def list_row_runs(comparison: Comparison) -> RowRuns:
    """Every run of the store that changes embedding rows of a vocabulary of the pair's size. Raises KSLotteryError."""
    size, fingerprint = comparison.pair.vocabulary_size, comparison.result.fingerprint_before
    found, unknown = [], 0
    for record in load_run_store().list():
        spec = record.spec
        if spec is None or spec.method not in (*_TICKET_METHODS, *_WHOLE_METHODS):
            continue
        ticket = spec.ticket if spec.method in _TICKET_METHODS else None
        model = _read_fingerprint(record)
        same = None if model is None or fingerprint is None else model == fingerprint
        if spec.method in _TICKET_METHODS and ticket is None:
            continue
        rows = size if same else ticket.vocabulary_size if ticket is not None else _count_rows(record)
        unknown += rows is None
        if rows == size:
            found.append(RowRun(record.run_id, record.name, spec.method, record.status.state, ticket, same))
    return RowRuns(tuple(found), unknown)


def _read_fingerprint(record: RunRecord) -> str | None:
    fingerprints = (record.result or {}).get("fingerprints")
    model = fingerprints.get("model") if isinstance(fingerprints, dict) else None
    return model if isinstance(model, str) else None


def _count_rows(record: RunRecord) -> int | None:
    """Rows of the model that a run starts from; None where its files are gone or on the hub."""
    spec = record.spec
    if spec is None or is_fetched(spec.model, spec.revision):
        return None
    try:
        return _open_rows(spec.model, spec.revision)[0].shape[0]
    except KSLotteryError:
        return None


@st.cache_resource(max_entries=64, show_spinner=False, validate=lambda opened: opened[1] == opened[0].file_signature)
def _open_rows(model: str, revision: str | None) -> tuple[EmbeddingMatrix, str]:
    from kslottery_core.checkpoints import open_embedding

    described = list_description_folders(loaders.DEMO_PATH)
    matrix = open_embedding(model, revision=revision, description_folders=described)
    return matrix, matrix.file_signature
