"""The results that all sessions share while the server runs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

Result = TypeVar("Result")

KEPT_COMPARISONS = 6


class ResultShelf(Generic[Result]):
    """The last few results, shared by all sessions; what one session computes is not computed by another."""

    def __init__(self, kept: int = KEPT_COMPARISONS) -> None:
        self._kept = kept
        self._results: OrderedDict[Hashable, Result] = OrderedDict()
        # A lock lives as long as somebody holds it.
        self._locks: WeakValueDictionary[Hashable, threading.Lock] = WeakValueDictionary()
        self._guard = threading.Lock()

    def get_lock(self, key: Hashable) -> threading.Lock:
        """Whoever computes the result of `key` holds this lock."""
        with self._guard:
            return self._locks.setdefault(key, threading.Lock())

    def get(self, key: Hashable) -> Result | None:
        """The result of `key`, if it is still here."""
        with self._guard:
            if key in self._results:
                self._results.move_to_end(key)
            return self._results.get(key)

    def put(self, key: Hashable, result: Result) -> None:
        """Keep a result; the one that was not looked at for longest makes room."""
        with self._guard:
            self._results[key] = result
            while len(self._results) > self._kept:
                self._results.popitem(last=False)
