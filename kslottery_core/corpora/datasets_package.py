"""Data sets of the `datasets` package, saved on this disk or on the hub, where that package is installed."""

import importlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kslottery_core.corpora.lines import Entry, read_object
from kslottery_core.errors import CorpusError

HUB_PREFIX = "hub:"
SHOWN_CHARACTERS = 200


def is_saved_dataset(path: Path) -> bool:
    """Whether the folder was written by `save_to_disk`."""
    return any((path / name).is_file() for name in ("dataset_dict.json", "state.json"))


def read_dataset(path: str, subset: str | None, split: str | None) -> Iterator[Entry]:
    """One entry a row, numbered from 1, of a saved data set, or of `hub:ORGANISATION/NAME` with its subset.

    No code from the hub is run. Raises CorpusError when the package is missing, the data set cannot be loaded, or it
    has several splits and none is named.
    """
    rows = _choose_split(path, _load(path, subset, split), split)
    try:
        for number, row in enumerate(rows, 1):
            yield read_object(number, str(row)[:SHOWN_CHARACTERS], row)
    except CorpusError:
        raise
    # Rows are decoded while they are read, by whatever their file format needs.
    except Exception as problem:
        raise _explain(path, problem) from None


def _load(path: str, subset: str | None, split: str | None) -> Any:
    try:
        package: Any = importlib.import_module("datasets")
    except ImportError:
        raise CorpusError(
            f"{path}: a data set of this kind is read by the package datasets, which is not installed; "
            "`pip install datasets`, or export the text as JSONL."
        ) from None
    try:
        if path.startswith(HUB_PREFIX):
            return package.load_dataset(path.removeprefix(HUB_PREFIX), name=subset, split=split)
        return package.load_from_disk(path)
    # The package reads files of many formats and asks a network; whatever it raises is reported in one sentence.
    except Exception as problem:
        raise _explain(path, problem) from None


def _choose_split(path: str, loaded: Any, split: str | None) -> Iterable[Any]:
    if not isinstance(loaded, Mapping):  # one split already, which may not be the one that is wanted
        own = getattr(loaded, "split", None)
        if split is not None and not path.startswith(HUB_PREFIX) and str(own) != split:
            raise CorpusError(
                f"{path}: expected the split {split!r}, found a data set of one split ({own}); leave the split out."
            )
        return loaded
    if split is None and len(loaded) == 1:
        return next(iter(loaded.values()))
    if split not in loaded:
        named = "no split named" if split is None else f"the split {split!r}"
        raise CorpusError(
            f"{path}: expected one of the splits {', '.join(map(str, loaded))}, found {named}; name one of them."
        )
    return loaded[split]


def _explain(path: str, problem: Exception) -> CorpusError:
    lines = str(problem).strip().splitlines()
    reason = (lines[0] if lines else type(problem).__name__)[:300].rstrip(".")
    return CorpusError(f"{path}: the package datasets cannot load this data set ({reason}).")
