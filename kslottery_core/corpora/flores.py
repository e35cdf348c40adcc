"""FLORES folders: one file per language and split."""

from pathlib import Path

from kslottery_core.corpora.languages import match_language
from kslottery_core.errors import CorpusError
from kslottery_core.records import load_json

SPLITS = ("devtest", "dev")
_NAMED_CODES = 12


def find_flores_folder(path: Path, split: str | None = None) -> tuple[Path, str] | None:
    """The folder with the files of one split, and the split's name; None when the folder `path` holds no FLORES.

    `path` may be the folder of the split, the data set's folder, or one that holds only that. Without a split:
    devtest, which is the one that scores are reported on, else dev. Raises CorpusError for a split that is not there.
    """
    roots = [path, *(path / name for name in ("flores101_dataset", "flores200_dataset"))]
    found = {
        name: folder
        for name in reversed(SPLITS)
        for root in roots
        for folder in (root / name, root)
        if folder.is_dir() and any(folder.glob(f"*.{name}"))
    }
    if not found:
        return None
    chosen = split or next(name for name in SPLITS if name in found)
    if chosen not in found:
        raise CorpusError(
            f"{path}: expected the split {chosen!r} of FLORES, found {', '.join(sorted(found))}; name one of them."
        )
    return found[chosen], chosen


def list_flores_languages(folder: Path, split: str) -> list[str]:
    """The language codes as the file names write them, sorted."""
    return sorted(path.stem for path in folder.glob(f"*.{split}"))


def find_flores_file(folder: Path, split: str, language: str) -> Path:
    """The file of a language, named as the files do or by another code of it. Raises CorpusError."""
    codes = list_flores_languages(folder, split)
    matching = match_language(language, codes)
    if len(matching) > 1:
        raise CorpusError(
            f"{folder}: expected one file of the language {language!r}, found {' and '.join(matching)}; name one of "
            "them."
        )
    if not matching:
        more = f" and {len(codes) - _NAMED_CODES} more" if len(codes) > _NAMED_CODES else ""
        raise CorpusError(
            f"{folder}: expected a file of the language {language!r}, found {', '.join(codes[:_NAMED_CODES])}{more}; "
            "name one of them, or its code such as en, eng or eng_Latn."
        )
    return folder / f"{matching[0]}.{split}"


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
