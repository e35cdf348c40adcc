"""The results that all sessions share while the server runs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Result = TypeVar("Result")

KEPT_COMPARISONS = 6


class ResultShelf(Generic[Result]):
    """The last few results, shared by all sessions; what one session computes is not computed by another."""

    def __init__(self, kept: int = KEPT_COMPARISONS) -> None:
        self._kept = kept
        self._results: OrderedDict[str, Result] = OrderedDict()
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def get_lock(self, key: str) -> threading.Lock:
        """Whoever computes the result of `key` holds this lock."""
        with self._guard:
            return self._locks.setdefault(key, threading.Lock())

    def get(self, key: str) -> Result | None:
        """The result of `key`, if it is still here."""
        with self._guard:
            if key in self._results:
                self._results.move_to_end(key)
            return self._results.get(key)

    def put(self, key: str, result: Result) -> None:
        """Keep a result; the one that was not looked at for longest makes room."""
        with self._guard:
            self._results[key] = result
            while len(self._results) > self._kept:
                self._results.popitem(last=False)
