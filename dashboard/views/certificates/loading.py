"""Certificates: those kept from earlier, and the work that makes or checks one while the page stays usable.

A certificate is kept in `certificates` in KS-Lottery's home folder, under a digest of all that decides it. The models
run in a thread of their own, one piece of work after the other, so that no page waits for them; whoever opens the page
meanwhile sees the same work, which ends with the server.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard.loaders.texts import sign_text
from dashboard.wording import format_level
from kslottery_core.errors import KSLotteryError
from kslottery_core.progress import OnProgress, ProgressEvent, ShouldStop

if TYPE_CHECKING:
    from kslottery_core.certification import Certification, CertificationTask, Verification
    from kslottery_core.checkpoints.parameters import ModelParameters
    from kslottery_core.tickets import Ticket

_MOST_LISTED = 20
_MOST_REMEMBERED = 20
_PATIENCE_SECONDS = 0.2


@dataclass(eq=False)
class CertificateWork:
    """One certification or one check, as it stands. `title` says what of; `key` is equal for equal work.

    `state` is "waiting" (for other work to end), "running", "done", "stopped" or "failed"; `problem` says why
    it failed, `ended` is the moment of its end (unix seconds).
    """

    key: str
    title: str
    state: str = "waiting"
    event: ProgressEvent | None = None
    problem: str | None = None
    verification: Verification | None = None
    ended: float | None = None
    thread: threading.Thread | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def live(self) -> bool:
        """Whether it has not ended yet."""
        return self.state in ("waiting", "running")


@dataclass(frozen=True)
class KeptCertificate:
    """A certificate file from earlier; `changed` is the moment of its last change (unix seconds).

    `before` and `after` are the fingerprints of the embeddings that were compared, `ticket` is the chosen one; None
    where the file does not say.
    """

    path: Path
    title: str
    changed: float
    before: str | None = None
    after: str | None = None
    ticket: Ticket | None = None


def get_certificate_folder() -> Path:
    """Where certificates are kept."""
    from kslottery_core.runs import get_home

    return get_home() / "certificates"


def find_kept_path(task: CertificationTask) -> Path:
    """The file that holds, or would hold, the certificate of this task. Reads no weights. Raises KSLotteryError."""
    return get_certificate_folder() / _name_files(task, (task.ticket,), _sign_inputs(task))[0]


def find_counting_path(task: CertificationTask) -> Path | None:
    """The newest kept certificate of another ticket that counted this task's ticket too. Raises KSLotteryError."""
    ticket = task.ticket
    pair = ticket.fingerprint_before, ticket.fingerprint_after
    found = list_kept_certificates(most=None)
    kept = {one.path: one.ticket for one in found if one.ticket is not None and (one.before, one.after) == pair}
    if not kept:
        return None
    names = _name_files(task, tuple(kept.values()), _sign_inputs(task))
    same = [path for path, name in zip(kept, names, strict=True) if path.name == name]
    # One that was chosen for these very tokens has their sentences too; the grid is the same in all of them.
    for path in sorted(same, key=lambda path: kept[path].token_ids != ticket.token_ids):
        with contextlib.suppress(KSLotteryError):  # of a damaged file, another one may have the counts
            certification = load_kept_certificate(path)
            if certification is not None:
                return None if certification.choose_ticket(ticket) is None else path
    return None


def _sign_inputs(task: CertificationTask) -> tuple[str, ...]:
    sides = (task.before, task.before_revision), (task.after, task.after_revision)
    weights = [_open_weights(source, revision)[1] for source, revision in sides]
    return (sign_text(task.corpus), *weights, _sign_generation(task.after, task.after_revision))


def _sign_generation(source: str, revision: str | None) -> str:
    """The state of a model's generation settings, whose end tokens decide the outputs."""
    from kslottery_core.checkpoints import find_generation_config

    path = find_generation_config(source, revision)
    return "" if path is None else path.read_text(encoding="utf-8", errors="replace")


@st.cache_resource(max_entries=8, show_spinner=False, validate=lambda opened: opened[1] == opened[0].file_signature)
def _open_weights(source: str, revision: str | None) -> tuple[ModelParameters, str]:
    from kslottery_core.checkpoints import open_parameters

    parameters = open_parameters(source, revision=revision)
    return parameters, parameters.file_signature


@st.cache_resource(max_entries=64, show_spinner="Reading the text and both checkpoints' headers…")
def _name_files(task: CertificationTask, tickets: tuple[Ticket, ...], signatures: tuple[str, ...]) -> tuple[str, ...]:
    from kslottery_core.certification import name_certificates

    return name_certificates(task, tickets)


def load_kept_certificate(path: Path) -> Certification | None:
    """The certificate in this file; None when there is none. Raises KSLotteryError for a damaged one."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return _load(str(path), (stat.st_mtime_ns, stat.st_size))


@st.cache_resource(max_entries=4, show_spinner="Reading the certificate…")
def _load(path: str, signature: tuple[int, int]) -> Certification:
    from kslottery_core.certification import load_certification

    return load_certification(path)


def read_certificate(content: bytes, name: str) -> Certification:
    """An uploaded certificate. Raises KSLotteryError naming the file."""
    return _read(hashlib.sha256(content).hexdigest(), name, content)


@st.cache_resource(max_entries=2, show_spinner="Reading the certificate…")
def _read(digest: str, name: str, _content: bytes) -> Certification:
    from kslottery_core.certification import Certification
    from kslottery_core.errors import CertificationError

    try:
        mapping = json.loads(_content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise CertificationError(
            f"{name}: expected a certificate, found no JSON; choose a file that was downloaded here, or that "
            "`kslottery certify` wrote."
        ) from None
    return Certification.from_json(mapping, name)


def forget_certificate(path: Path) -> None:
    """Remove a kept certificate, so that it can be made again. Raises KSLotteryError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as problem:
        raise KSLotteryError(f"{path}: the certificate cannot be removed ({problem}); remove it by hand.") from None


def list_kept_certificates(most: int | None = _MOST_LISTED) -> tuple[KeptCertificate, ...]:
    """The newest certificates that are kept, newest first; all of them where `most` is None."""
    found = []
    for path in get_certificate_folder().glob("*.json"):
        try:
            stat = path.stat()
        except OSError:
            continue
        found.append((stat.st_mtime, path, stat.st_size))
    newest = sorted(found, reverse=True)[:most]
    return tuple(_read_head(str(path), (changed, size)) for changed, path, size in newest)


@st.cache_resource(max_entries=1024, show_spinner=False)
def _read_head(path: str, signature: tuple[float, int]) -> KeptCertificate:
    """What was certified, from the file's first lines alone: the sentences that follow may be many megabytes."""
    from kslottery_core.tickets import Ticket

    try:
        with Path(path).open(encoding="utf-8") as lines:
            lines.readline()
            task, before, after = (json.loads("{" + lines.readline().strip().rstrip(",") + "}") for _ in range(3))
        ticket, corpus = Ticket.from_json(task["task"]["ticket"], path), task["task"]["corpus"]
        title = name_task(ticket.size, ticket.significance_level, corpus["path"], corpus["limit"])
        sides = before["before"]["embedding"], after["after"]["embedding"]
        return KeptCertificate(Path(path), title, signature[0], *sides, ticket)
    except (OSError, ValueError, KeyError, TypeError, KSLotteryError):
        return KeptCertificate(Path(path), Path(path).name, signature[0])


def name_task(ticket_size: int, significance_level: float | None, path: str, limit: int | None) -> str:
    """What is certified, in a few words."""
    tokens = f"{ticket_size:,} token{'' if ticket_size == 1 else 's'}"
    level = "" if significance_level is None else f" at α = {format_level(significance_level)}"
    return f"{tokens}{level}, {'all' if limit is None else f'{limit:,}'} sentences of {Path(path).name or path}"


@st.cache_resource(show_spinner=False)
def _load_works() -> tuple[dict[str, CertificateWork], threading.Lock, threading.Lock]:
    """All works by key, the lock of whose turn it is, and the lock of the works themselves."""
    return {}, threading.Lock(), threading.Lock()


def find_work(key: str) -> CertificateWork | None:
    """The latest work of this key since the server started."""
    return _load_works()[0].get(key)


def list_live_works() -> tuple[CertificateWork, ...]:
    """All work that is running or waiting, oldest first."""
    return tuple(work for work in list(_load_works()[0].values()) if work.live)


def start_certifying(task: CertificationTask, path: Path) -> CertificateWork:
    """Certify in the background and keep the result at `path`; unfinished work of the same path is returned instead."""

    def act(work: CertificateWork, on_progress: OnProgress, should_stop: ShouldStop) -> bool:
        from kslottery_core.certification import certify, save_certification

        certification = certify(task, on_progress=on_progress, should_stop=should_stop)
        if certification is not None:
            save_certification(certification, path)
        return certification is not None

    ticket, corpus = task.ticket, task.corpus
    title = name_task(ticket.size, ticket.significance_level, corpus.path, corpus.limit)
    return _start(CertificateWork(str(path), f"Certifying {title}"), act)


def name_check(certification: Certification, **replaced: Any) -> str:
    """The key of a check: the certificate, and what it is compared with instead of what it names."""
    content = json.dumps([certification.to_json(), sorted((name, str(value)) for name, value in replaced.items())])
    return "check " + hashlib.sha256(content.encode()).hexdigest()[:32]


def start_checking(certification: Certification, **replaced: Any) -> CertificateWork:
    """Compute a certificate again in the background; `replaced` are arguments of `verify_certification`."""

    def act(work: CertificateWork, on_progress: OnProgress, should_stop: ShouldStop) -> bool:
        from kslottery_core.certification import verify_certification

        work.verification = verify_certification(
            certification, **replaced, on_progress=on_progress, should_stop=should_stop
        )
        return work.verification is not None

    ticket, corpus = certification.task.ticket, certification.task.corpus
    title = name_task(ticket.size, ticket.significance_level, corpus.path, corpus.limit)
    return _start(CertificateWork(name_check(certification, **replaced), f"Checking {title}"), act)


def _start(work: CertificateWork, act: Callable[[CertificateWork, OnProgress, ShouldStop], bool]) -> CertificateWork:
    works, turn, changing = _load_works()
    with changing:  # two windows may press at one instant
        present = works.get(work.key)
        if present is not None and present.live:
            return present
        works.pop(work.key, None)
        works[work.key] = work
        ended = [key for key, other in works.items() if not other.live]
        for key in ended[: max(0, len(works) - _MOST_REMEMBERED)]:
            works.pop(key, None)
    work.thread = threading.Thread(target=_run, args=(work, act, turn), daemon=True, name=work.title)
    work.thread.start()
    return work


def _run(
    work: CertificateWork,
    act: Callable[[CertificateWork, OnProgress, ShouldStop], bool],
    turn: threading.Lock,
) -> None:
    """Wait for the turn, since two models at once may not fit into memory; then act, and record how it ended."""

    def note_event(event: ProgressEvent) -> None:
        work.event = event

    while not turn.acquire(timeout=_PATIENCE_SECONDS):
        if work.stop.is_set():
            work.ended, work.state = time.time(), "stopped"
            return
    state = "failed"
    try:
        work.state = "running"
        state = "done" if act(work, note_event, work.stop.is_set) else "stopped"
    except KSLotteryError as problem:
        work.problem = str(problem)
    except Exception as problem:  # a thread's traceback would not reach anybody who looks at the page
        logging.getLogger(__name__).exception(work.title)
        work.problem = (
            f"{work.title} ended unexpectedly ({type(problem).__name__}: {problem}); the server's log has more."
        )
    finally:
        turn.release()
        work.ended, work.state = time.time(), state
