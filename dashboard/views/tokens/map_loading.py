"""Every token of a pair as one buffer for the browser: packed once a pair and text, whatever alpha or the filter is.

Layout: the length of a JSON header (uint32), the header, then the arrays, little-endian, each on a multiple of four
bytes. The header names each array with its type, its first byte (counted from the header's end) and its length in
bytes; "text" is UTF-8 with one label a line. Rows go from the largest D down, in the order of the token table, so that
the winners of every alpha, and of every k largest, are the first rows.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.loaders import Comparison, load_token_table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

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
    # A lone surrogate is no UTF-8, and a line break would end a label.
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
