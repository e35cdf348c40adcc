"""Third-party loaders warn and draw bars about things that a person cannot act on here; they are kept silent.

Warning filters, log levels and the error stream belong to the whole process, and several sessions load at once: each
is changed by the first that comes and put back by the last that leaves, so that what is put back was there first.
"""

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stderr


class _SharedChange:
    """A process-wide change that is in force while at least one thread is inside; it may be entered again inside."""

    def __init__(self, make_change: Callable[[], AbstractContextManager[object]]) -> None:
        self._make_change = make_change
        self._lock = threading.RLock()
        self._depth = 0
        self._change: AbstractContextManager[object] | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._depth == 0:
                change = self._make_change()
                change.__enter__()
                self._change = change
            self._depth += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0 and self._change is not None:
                change, self._change = self._change, None
                change.__exit__(None, None, None)


@contextmanager
def _ignore_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _silence_transformers() -> Iterator[None]:
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    # Even errors are silenced: every failure reaches the person as one sentence of ours.
    logging.set_verbosity(logging.CRITICAL)
    if bars:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


_WARNINGS = _SharedChange(_ignore_warnings)
_TRANSFORMERS = _SharedChange(_silence_transformers)
_ERROR_STREAM = _SharedChange(lambda: redirect_stderr(io.StringIO()))


@contextmanager
def keep_warnings_quiet() -> Iterator[None]:
    """Silence Python warnings; safe in several threads at once."""
    with _WARNINGS:
        yield


@contextmanager
def keep_transformers_quiet() -> Iterator[None]:
    """Silence Python warnings, transformers' log lines and its progress bars; safe in several threads at once."""
    # Warnings first: importing transformers may already warn.
    with _WARNINGS, _TRANSFORMERS:
        yield


@contextmanager
def keep_error_stream_quiet() -> Iterator[None]:
    """Drop what is written to sys.stderr, for bars that have no switch; safe in several threads at once."""
    with _ERROR_STREAM:
        yield
