"""The splits that a folder holds, so that one of them can be chosen before the text is read."""

from pathlib import Path

from kslottery_core.corpora.flores import SPLITS, find_flores_folder
from kslottery_core.errors import CorpusError
from kslottery_core.records import load_json

_DATASET_SPLITS = "dataset_dict.json"  # what `datasets` writes where a data set has splits


def list_splits(path: str) -> tuple[str, ...]:
    """The names of the splits in a folder of FLORES or of the package `datasets`; none for a file or another folder."""
    try:
        folder = Path(path).expanduser()
        if not folder.is_dir():
            return ()
        if (folder / _DATASET_SPLITS).is_file():
            named = load_json(folder / _DATASET_SPLITS, CorpusError)
            splits = named.get("splits") if isinstance(named, dict) else None
            return tuple(filter(lambda name: isinstance(name, str), splits)) if isinstance(splits, list) else ()
        return tuple(split for split in SPLITS if _holds(folder, split))
    except (OSError, ValueError, RuntimeError, CorpusError):
        return ()  # whoever reads the text says what is wrong


def _holds(folder: Path, split: str) -> bool:
    try:
        return find_flores_folder(folder, split) is not None
    except CorpusError:
        return False
