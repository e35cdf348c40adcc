"""What the Tokens page keeps: packed tokens for the map, neighbours and sentences, tickets and runs.

Packed tokens are the length of a JSON header (uint32), the header, then the arrays, little-endian, each on a multiple
of four bytes. The header names each array with its type, its first byte (counted from the header's end) and its length
in bytes; "text" is UTF-8 with one label a line. Rows go from the largest D down, in the order of the token table, so
that the winners of every alpha, and of every k, are the first rows.

What was found for one token is kept by the pair (and the text) and the token's id, so that picking one more token
looks for that one alone.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import streamlit as st

from dashboard import loaders
from dashboard.loaders import Comparison, load_run_store, load_token_table
from dashboard.loaders.kept_results import list_description_folders
from dashboard.loaders.shelf import ResultShelf
from dashboard.loaders.texts import load_text, sign_text
from dashboard.loaders.vocabulary import get_pair_vocabulary, get_tokenizer, is_fetched
from kslottery_core.errors import KSLotteryError
from kslottery_core.progress import OnProgress, ignore_progress

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from kslottery_core.checkpoints import EmbeddingMatrix
    from kslottery_core.corpora import CorpusSpec, TokenOccurrences
    from kslottery_core.neighbours import Neighbours
    from kslottery_core.runs import RunRecord
    from kslottery_core.tickets import Ticket

_ALIGNMENT = 4


@dataclass(frozen=True, eq=False)
class PackedTokens:
    """`payload` is the buffer, `signature` digests what is in it, `token_ids` (V,) are the ids in the order of rows."""

    signature: str
    token_ids: np.ndarray
    payload: bytes


def load_packed_tokens(comparison: Comparison, counts: np.ndarray | None) -> PackedTokens:
    """The buffer of a pair; `counts` (V,) are the tokens' occurrences in a text, None where no text is chosen."""
    digest = "" if counts is None else hashlib.sha256(counts.tobytes()).hexdigest()
    return _pack(comparison.key, digest, comparison, counts)


@st.cache_resource(max_entries=4, show_spinner=False)
def _pack(key: str, counts_digest: str, _comparison: Comparison, _counts: np.ndarray | None) -> PackedTokens:
    table = load_token_table(_comparison)
    signature = hashlib.sha256(f"{key} {counts_digest}".encode()).hexdigest()[:16]
    payload = pack_tokens(table, _counts, _comparison.result.width, signature)
    return PackedTokens(signature, table["token_id"].to_numpy(), payload)


def pack_tokens(table: pd.DataFrame, counts: np.ndarray | None, width: int, signature: str) -> bytes:
    """Pack the token table of a pair of rows of `width` coordinates, with `counts` (V,) by token id where given."""
    import numpy as np

    token_ids = table["token_id"].to_numpy()
    arrays = {
        "token_id": token_ids.astype("<i4"),
        "count": table["count"].to_numpy().astype("<i4"),
        "l2_shift": table["l2_shift"].to_numpy().astype("<f4"),
        "cosine": table["cosine"].to_numpy().astype("<f4"),
        "mean_shift": table["mean_shift"].to_numpy().astype("<f4"),
    }
    if counts is not None:
        arrays["frequency"] = np.minimum(counts[token_ids], np.iinfo(np.int32).max).astype("<i4")
    # A lone surrogate is not valid UTF-8, and a line break would end a label.
    lines = "\n".join(label.replace("\n", "↵") for label in table["token"])
    parts = [(name, array.dtype.str[1:], array.tobytes()) for name, array in arrays.items()]
    parts.append(("label", "text", lines.encode("utf-8", "replace")))
    header = {"signature": signature, "rows": len(table), "width": width, "arrays": {}}
    start, body = 0, []
    for name, kind, content in parts:
        padding = -len(content) % _ALIGNMENT
        header["arrays"][name] = {"type": kind, "start": start, "bytes": len(content)}
        body += [content, b"\0" * padding]
        start += len(content) + padding
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return b"".join([struct.pack("<I", len(text)), text, *body])


NEIGHBOUR_COUNT = 10
SHOWN_SENTENCES = 10
_KEPT_TOKENS = 512

Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class NeighbourPair:
    """The nearest rows before and after, and the cosines, on the other side, of those nearest on one side only."""

    before: Neighbours
    after: Neighbours
    other_before: dict[int, float]
    other_after: dict[int, float]


@st.cache_resource(show_spinner=False)
def _load_shelf() -> ResultShelf[object]:
    return ResultShelf(kept=_KEPT_TOKENS)


def _load_each(key: str, token_ids: Sequence[int], find: Callable[[list[int]], dict[int, Found]]) -> dict[int, Found]:
    """Everything asked for by token id; `find` is called once, with the ids that nobody has asked for yet."""
    shelf = _load_shelf()
    with shelf.get_lock(key):
        found = {token_id: shelf.get(f"{key} {token_id}") for token_id in dict.fromkeys(token_ids)}
        missing = [token_id for token_id, kept in found.items() if kept is None]
        if missing:
            found |= find(missing)
            for token_id in missing:
                shelf.put(f"{key} {token_id}", found[token_id])
    return found


def load_neighbours(
    comparison: Comparison, token_ids: Sequence[int], progress: OnProgress = ignore_progress
) -> dict[int, NeighbourPair]:
    """The nearest rows of each token on both sides, among the V that both have. Raises KSLotteryError.

    `progress` hears of rows read, of both sides as one amount of work; it is not called when all were found before.
    """

    def find(missing: list[int]) -> dict[int, NeighbourPair]:
        from kslottery_core.ks.engine import CommonRows
        from kslottery_core.neighbours import compute_cosines, compute_neighbours

        pair = comparison.pair
        shape = (pair.vocabulary_size, pair.width)
        sides = [CommonRows(side, shape) for side in (pair.before, pair.after)]
        nearest = [
            compute_neighbours(
                rows,
                missing,
                NEIGHBOUR_COUNT,
                lambda event, done=place * shape[0]: progress(
                    replace(event, step=done + event.step, total=len(sides) * shape[0])
                ),
            )
            for place, rows in enumerate(sides)
        ]

        def look_up(rows: CommonRows, found: Neighbours, other: Neighbours) -> dict[int, float]:
            only = sorted(set(other.token_ids.tolist()) - set(found.token_ids.tolist()))
            cosines = compute_cosines(rows, found.token_id, only).tolist()
            return {at: cosine for at, cosine in zip(only, cosines, strict=True) if cosine == cosine}

        return {
            before.token_id: NeighbourPair(
                before, after, look_up(sides[0], before, after), look_up(sides[1], after, before)
            )
            for before, after in zip(*nearest, strict=True)
        }

    return _load_each(f"neighbours {comparison.key}", token_ids, find)


def load_occurrences(comparison: Comparison, spec: CorpusSpec, token_ids: Sequence[int]) -> dict[int, TokenOccurrences]:
    """Where a text holds each token, by the tokenizer of the before model. Raises KSLotteryError."""
    vocabulary = get_pair_vocabulary(comparison)

    def find(missing: list[int]) -> dict[int, TokenOccurrences]:
        from kslottery_core.corpora import find_token_occurrences

        found = find_token_occurrences(get_tokenizer(vocabulary), load_text(spec), missing, SHOWN_SENTENCES)
        return {one.token_id: one for one in found}

    return _load_each(f"text {vocabulary.key} {spec} {sign_text(spec)}", token_ids, find)


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
