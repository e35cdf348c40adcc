"""Parallel text as the run form looks at it: a first look, the whole of it, and what test and training text share.

What is wrong with a text is kept like any other answer, so that a broken file is not read again on every click.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import streamlit as st

from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    from kslottery_core.corpora import Corpus, CorpusPreview, CorpusSpec, LeakReport

_MOST_SIGNED_FILES = 400

Answer = TypeVar("Answer")


def is_on_hub(path: str) -> bool:
    """Whether the text would be fetched from the hub."""
    from kslottery_core.corpora import HUB_PREFIX

    return path.startswith(HUB_PREFIX)


def text_exists(path: str) -> bool:
    """Whether something lies at this path; a name that no disk can hold is nothing."""
    try:
        return Path(path).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False


def sign_text(spec: CorpusSpec) -> str:
    """A digest of path, size and time of every file that the text is read from: a cheap key."""
    digest = hashlib.sha256(spec.path.encode("utf-8", "surrogatepass"))
    if is_on_hub(spec.path):
        return digest.hexdigest()
    path = Path(spec.path).expanduser()
    # A line-aligned text has its other side beside it, under the same name with another ending.
    files = path.rglob("*") if path.is_dir() else path.parent.glob(f"{_escape_pattern(path.stem)}.*")
    for position, file in enumerate(sorted(files)):
        if position == _MOST_SIGNED_FILES:
            break
        try:
            stat = file.stat()
            digest.update(f"\n{file}\0{stat.st_size}\0{stat.st_mtime_ns}".encode("utf-8", "surrogatepass"))
        except OSError:
            digest.update(f"\n{file}\0gone".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _escape_pattern(text: str) -> str:
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in text)


def _take(find: Callable[[], Answer]) -> Answer | KSLotteryError:
    try:
        return find()
    except KSLotteryError as problem:
        return problem


def _give(answer: Answer | KSLotteryError) -> Answer:
    if isinstance(answer, KSLotteryError):
        raise type(answer)(str(answer))  # a new one: what is raised gathers a traceback
    return answer


@st.cache_resource(max_entries=32, show_spinner=False)
def _preview(spec: CorpusSpec, signature: str) -> CorpusPreview | KSLotteryError:
    from kslottery_core.corpora import preview_corpus

    return _take(lambda: preview_corpus(spec))


def load_preview(spec: CorpusSpec) -> CorpusPreview:
    """What the first lines of a text show. Raises KSLotteryError."""
    return _give(_preview(spec, sign_text(spec)))


@st.cache_resource(max_entries=4, show_spinner="Reading the text…")
def _load(spec: CorpusSpec, signature: str) -> Corpus | KSLotteryError:
    from kslottery_core.corpora import load_corpus

    return _take(lambda: load_corpus(spec))


def load_text(spec: CorpusSpec) -> Corpus:
    """All pairs of a text, as a run would read them. Raises KSLotteryError."""
    return _give(_load(spec, sign_text(spec)))


@st.cache_resource(max_entries=8, show_spinner="Comparing the two texts…")
def _find_leaks(signatures: tuple[str, str], specs: tuple[CorpusSpec, CorpusSpec]) -> LeakReport | KSLotteryError:
    from kslottery_core.corpora import find_leaks

    return _take(lambda: find_leaks(*(load_text(spec) for spec in specs)))


def load_leaks(train: CorpusSpec, test: CorpusSpec) -> LeakReport:
    """Which test sentences the training text holds. Raises KSLotteryError when one of them cannot be read."""
    return _give(_find_leaks((sign_text(train), sign_text(test)), (train, test)))
